"""Reward models: a model that reads a chat to its end, and one linear layer there that says how good it is.

In memory and on disk they are transformers' own `...ForSequenceClassification` with one label. Its head, `score`, reads
the last token that is no padding, so which token is padding is a part of the model.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from tunesmith.errors import InputError
from tunesmith.models.peft_at_home import ModulesToSaveWrapper
from tunesmith.models.source import read_model_json
from tunesmith.segments import Row

log = logging.getLogger("tunesmith")

HEAD = "score"


def scores(model: nn.Module) -> bool:
    """Whether a transformers model scores what it reads, instead of writing."""
    return isinstance(getattr(model, HEAD, None), (nn.Linear, ModulesToSaveWrapper))


def must_score(config: Any) -> None:
    """Raise an InputError unless transformers has a class of the family that scores a text."""
    if hasattr(config, "vision_config"):
        raise _no_reward_model(config, "a reward model reads text alone here, and this family sees pictures")
    if type(config) not in AutoModelForSequenceClassification._model_mapping:
        raise _no_reward_model(config, "transformers has no ForSequenceClassification class of this family")


def must_have_a_linear_head(model: PreTrainedModel) -> None:
    """Raise an InputError where a family scores in another way, as encoders do."""
    if not scores(model):
        raise _no_reward_model(model.config, f"{type(model).__name__} has no linear layer named {HEAD}")


def _no_reward_model(config: Any, why: str) -> InputError:
    return InputError(
        f"no reward model can be made of the family {config.model_type!r}: {why}",
        where="method.name: reward",
        remedy="choose a family that has one, such as Llama, Qwen2, Qwen3, Gemma 2, Mistral or Phi-3",
    )


def must_write(folder: Path) -> None:
    """Raise an InputError for a folder whose model scores texts: it has no head that writes."""
    named = read_model_json(folder / "config.json").get("architectures") or []
    if any(str(name).endswith("ForSequenceClassification") for name in named):
        raise InputError(
            f"the model in {folder} is a reward model or a classifier: it scores texts and does not write",
            remedy="choose one that is made to write text, or learn from pairs with `method: {name: reward}`; "
            "docs/preferences.md says how scores are computed",
        )


def head_of(model: PreTrainedModel) -> nn.Linear:
    """The head at work: the model's own, or the copy that PEFT trains."""
    head: Any = getattr(model, HEAD)
    if isinstance(head, ModulesToSaveWrapper) and not head.disable_adapters and head.active_adapters:
        head = head.modules_to_save[head.active_adapters[0]]
    elif isinstance(head, ModulesToSaveWrapper):
        head = head.original_module
    linear: nn.Linear = head
    return linear


def settle_head(model: PreTrainedModel, seed: int | None) -> None:
    """Hold the head in fp32, whatever type the layers below have; it always learns.

    Args:
        seed: what a fresh head is drawn from, as transformers draws one; None: it came with the weights.
    """
    head = head_of(model)
    head.float()
    if seed is None:
        return
    log.info("the head that scores is drawn from the seed %d", seed)
    std = getattr(model.config.get_text_config(), "initializer_range", None) or 0.02
    drawn = torch.randn(head.weight.shape, generator=torch.Generator().manual_seed(seed)) * std
    with torch.no_grad():
        head.weight.copy_(drawn)
        if head.bias is not None:
            head.bias.zero_()


def settle_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, ends: Collection[int]) -> None:
    """Settle which token is padding, for model and tokenizer alike.

    It is the one that the model's configuration names: whoever puts the adapter on the base again goes by that. Where
    none is named, it is a token that no chat ends in, so that the head reads the end.

    Args:
        ends: tokens that a chat may end in.
    """
    rows, named = model.get_input_embeddings().num_embeddings, model.config.pad_token_id
    if named is None or not 0 <= named < rows or tokenizer.convert_ids_to_tokens(named) is None:
        special = (number for number, token in tokenizer.added_tokens_decoder.items() if token.special)
        wanted = (tokenizer.pad_token_id, tokenizer.unk_token_id, *special)
        free = (one for one in wanted if one is not None and one < rows and one not in ends)
        named = next(free, next(iter(ends)))
    padding = tokenizer.convert_ids_to_tokens(named)
    if named in ends:
        log.warning(
            "%s pads and also ends answers in this model, so transformers reads the score in front of it; so is it "
            "learned",
            padding,
        )
    model.config.pad_token_id = named
    tokenizer.pad_token = padding


def read_at(row: Row, padding: int | None) -> list[int]:
    """Where in a row the head reads each leaf: at the last token of its path that is no padding."""
    places = []
    for leaf in row.plan.leaves():
        path = row.plan.path_positions(leaf)
        places.append(next((at for at in reversed(path) if row.tokens[at] != padding), path[0]))
    return places
