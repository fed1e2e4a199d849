"""Drawing answers: batched decoding with a key/value cache, over the family's own attention.

Greedy unless a temperature is given. What a prompt is answered depends on the seed and the prompt's number alone, not
on what else is in the batch (up to the rounding of batched matrix products). Rows that have ended leave the batch.

Families that carry a state through the text (Mamba, Qwen3-Next, RWKV) would take the padding in front of a shorter
prompt into it, so they answer one prompt at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    DynamicCache,
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from tunesmith.config.schema import Generation
from tunesmith.errors import InputError
from tunesmith.models.dropout import mix

_PROMPTS_AT_ONCE = 32
# What families call that which one forward hands to the next; a family that names none of these reads all anew.
_STATE_NAMES = ("past_key_values", "cache_params", "state")


@dataclass(frozen=True)
class Answer:
    """An answer's tokens, without the end token; `ended` says whether one was drawn."""

    tokens: tuple[int, ...]
    ended: bool


def generate(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    options: Generation,
    end_ids: Collection[int],
    *,
    first_number: int = 0,
    on_token: Callable[[int, int], None] | None = None,
) -> list[Answer]:
    """Answer each prompt.

    Args:
        model: a causal language model in evaluation mode.
        prompts: token ids, one list a prompt, none of them empty.
        options: how to draw; `max_new_tokens` counts the answer only.
        end_ids: tokens that end an answer.
        first_number: the number of the first prompt; prompt i draws from the seed (options.seed, first_number + i).
        on_token: called with (prompt index, token) for each token as it is drawn, end tokens left out.

    Raises:
        InputError: a prompt leaves no room in the model's context.
    """
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)  # type: ignore[operator, union-attr]
    for prompt in prompts:
        if limit is not None and len(prompt) >= limit:
            raise InputError(
                f"the prompt has {len(prompt)} tokens and the model's context is {limit}",
                remedy="shorten the prompt",
            )
    answers: list[Answer] = []
    at_once = _PROMPTS_AT_ONCE if _remembers_by_attention_only(model) else 1
    for begin in range(0, len(prompts), at_once):
        batch = _Batch(model, prompts[begin : begin + at_once], options, end_ids, limit, first_number + begin)
        answers += batch.run(None if on_token is None else lambda i, t, begin=begin: on_token(begin + i, t))  # type: ignore[misc]
    return answers


def _remembers_by_attention_only(model: nn.Module) -> bool:
    """Whether keys and values are all that is carried from token to token, so that a mask can hide padding."""
    layers = DynamicCache(config=model.config).layers
    plain = all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)
    return plain and not getattr(model, "_is_stateful", False)


class _Batch:
    """Prompts that are decoded together."""

    def __init__(
        self,
        model: nn.Module,
        prompts: Sequence[Sequence[int]],
        options: Generation,
        end_ids: Collection[int],
        limit: int | None,
        first_number: int,
    ) -> None:
        self.model, self.options, self.end_ids = model, options, frozenset(end_ids)
        self.device = next(model.parameters()).device
        longest = max(map(len, prompts))
        # Left padding repeats the prompt's own first token: the attention never sees it, and the repetition penalty
        # finds no token there that the prompt does not hold anyway.
        self.tokens = torch.tensor(
            [[p[0]] * (longest - len(p)) + list(p) for p in prompts], device=self.device
        )
        self.mask = torch.tensor(
            [[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=self.device
        )
        self.room = [
            min(options.max_new_tokens, limit - len(p)) if limit is not None else options.max_new_tokens
            for p in prompts
        ]
        self.draws = [
            torch.Generator().manual_seed(mix(options.seed, first_number + i)) for i in range(len(prompts))
        ]
        self.drawn: list[list[int]] = [[] for _ in prompts]
        self.ended = [False] * len(prompts)
        self.warp = _processors(options)

    def run(self, on_token: Callable[[int, int], None] | None) -> list[Answer]:
        live = list(range(len(self.drawn)))  # the prompt in each row of the batch
        by_attention = _remembers_by_attention_only(self.model)
        cache = DynamicCache(config=self.model.config)
        carried: dict[str, Any] = (
            {"past_key_values": cache, "attention_mask": self.mask} if by_attention else {}
        )
        with torch.inference_mode():
            inputs = self.tokens
            while live:
                positions = (self.mask.cumsum(-1) - 1).clamp_(min=0)[:, -inputs.shape[1] :]
                output = self.model(
                    input_ids=inputs, position_ids=positions, use_cache=True, logits_to_keep=1, **carried
                )
                chosen = self._choose(output.logits[:, -1].float(), live)
                staying = self._take(chosen, live, on_token)
                inputs = self._advance(chosen, staying, len(live))
                if by_attention:
                    carried["attention_mask"] = self.mask
                    if 0 < len(staying) < len(live):
                        cache.batch_select_indices(torch.tensor(staying, device=self.device))
                else:
                    carried = {name: output[name] for name in _STATE_NAMES if output.get(name) is not None}
                    inputs = inputs if carried else self.tokens
                live = [live[at] for at in staying]
        return [Answer(tuple(tokens), ended) for tokens, ended in zip(self.drawn, self.ended, strict=True)]

    def _take(
        self, chosen: Tensor, live: list[int], on_token: Callable[[int, int], None] | None
    ) -> list[int]:
        """Note the drawn tokens; returns the rows of the batch that go on."""
        staying = []
        for at, (prompt, token) in enumerate(zip(live, chosen.tolist(), strict=True)):
            if token in self.end_ids:
                self.ended[prompt] = True
                continue
            self.drawn[prompt].append(token)
            if on_token is not None:
                on_token(prompt, token)
            if len(self.drawn[prompt]) < self.room[prompt]:
                staying.append(at)
        return staying

    def _choose(self, logits: Tensor, live: list[int]) -> Tensor:
        """The next token of each row: [B]."""
        logits = self.warp(self.tokens, logits)
        if self.options.temperature == 0:
            return logits.argmax(-1)
        chances = logits.softmax(-1).cpu()
        drawn = [
            torch.multinomial(row, 1, generator=self.draws[prompt])
            for row, prompt in zip(chances, live, strict=True)
        ]
        return torch.cat(drawn).to(self.device)

    def _advance(self, chosen: Tensor, staying: list[int], rows: int) -> Tensor:
        """Append the drawn tokens and drop the rows that are done; returns the next input [B', 1]."""
        self.tokens = torch.cat([self.tokens, chosen[:, None]], 1)
        self.mask = torch.cat([self.mask, self.mask.new_ones(rows, 1)], 1)
        if len(staying) < rows:
            keep = torch.tensor(staying, device=self.device, dtype=torch.long)
            self.tokens, self.mask = self.tokens[keep], self.mask[keep]
        return self.tokens[:, -1:]


def _processors(options: Generation) -> LogitsProcessorList:
    """transformers' own processors, in transformers' order."""
    processors = LogitsProcessorList()
    if options.repetition_penalty != 1.0:
        processors.append(RepetitionPenaltyLogitsProcessor(options.repetition_penalty))
    if options.temperature > 0:
        if options.temperature != 1.0:
            processors.append(TemperatureLogitsWarper(options.temperature))
        if options.top_k > 0:
            processors.append(TopKLogitsWarper(options.top_k))
        if options.top_p < 1.0:
            processors.append(TopPLogitsWarper(options.top_p))
    return processors
