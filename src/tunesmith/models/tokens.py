"""New tokens: words added to a tokenizer's vocabulary, and rows for them in the embeddings and the head.

A row begins as the mean of the others (Hewitt 2021, nlp.stanford.edu/~johnhew/vocab-expansion.html), without his noise:
the same model gives the same bits.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers import AddedToken
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tunesmith.config.words import counted
from tunesmith.errors import InputError

log = logging.getLogger("tunesmith")


@dataclass(frozen=True)
class NewTokens:
    """Tokens that were added to a vocabulary: their ids, and how many tokens it had before."""

    ids: tuple[int, ...] = ()
    known: int = 0


NO_TOKENS = NewTokens()


def add_tokens(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[str]) -> NewTokens:
    """Add tokens to a tokenizer. One that it has already keeps its id and its embedding, which learns too.

    Raises:
        InputError: a token is blank or listed twice.
    """
    for at, token in enumerate(tokens):
        if not token.strip():
            raise InputError(f"model.new_tokens lists {token!r}, which is blank")
        if token in tokens[:at]:
            raise InputError(f"model.new_tokens lists {token!r} twice")
    there = [token for token in tokens if token in tokenizer.get_vocab()]
    if there:
        log.info("in the vocabulary already, so they keep their embeddings and learn: %s", ", ".join(there))
    known = len(tokenizer)
    # Special tokens would be hidden from answers, and could not be written in a message.
    new = [AddedToken(token, special=False, normalized=False) for token in tokens if token not in there]
    tokenizer.add_tokens(new)
    return NewTokens(tuple(int(tokenizer.convert_tokens_to_ids(token)) for token in tokens), known)


def make_room(model: PreTrainedModel, tokens: NewTokens) -> None:
    """Give new tokens a row in the embeddings and in the head, each the mean of the rows of the tokens before them.

    Rows that the model keeps as padding are taken first; where these do not reach, both matrices grow.
    """
    new = [token for token in tokens.ids if token >= tokens.known]
    if not new:
        return
    rows = model.get_input_embeddings().weight.shape[0]
    if max(new) >= rows:
        log.info("the vocabulary grows by %s", counted(max(new) + 1 - rows, "row"))
        model.resize_token_embeddings(max(new) + 1, mean_resizing=False)
    matrices = [model.get_input_embeddings().weight]
    head = model.get_output_embeddings()
    if head is not None and head.weight is not matrices[0]:
        matrices.append(head.weight)
    bias = getattr(head, "bias", None)
    with torch.no_grad():
        for matrix in [*matrices, *([bias] if isinstance(bias, nn.Parameter) else [])]:
            old = matrix[: min(tokens.known, rows)]
            matrix[new] = old.mean(0, dtype=torch.float32).to(matrix.dtype)


def rows_that_learn(
    model: PreTrainedModel, ids: Sequence[int], trained_whole: Sequence[str]
) -> dict[str, list[int]]:
    """For PEFT's `trainable_token_indices`: the embedding and, where it is a matrix of its own, the head.

    Args:
        trained_whole: modules that learn as a whole, whose rows need no naming.

    Raises:
        InputError: the head has a bias, which PEFT would leave out.
    """
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    tied = head is None or head.weight is embedding.weight
    names = {
        name: module
        for name, module in model.named_modules()
        if module is embedding or (module is head and not tied)
    }
    rows = {
        name: list(ids)
        for name in names
        if not any(name == whole or name.endswith("." + whole) for whole in trained_whole)
    }
    if getattr(head, "bias", None) is not None and (tied or any(names[name] is head for name in rows)):
        raise InputError(
            "model.new_tokens cannot be learned row by row in this model, whose head has a bias",
            remedy="train the embeddings and the head whole, listing both under adapter.modules_to_save",
        )
    return rows
