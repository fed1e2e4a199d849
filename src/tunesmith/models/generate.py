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

from tunesmith.config.method import Generation
from tunesmith.errors import InputError
from tunesmith.models.dropout import mix
from tunesmith.models.seeing import Seen, must_take_pictures, path_positions, see, trunk_of
from tunesmith.models.vision import Eyes
from tunesmith.segments import Picture

_PROMPTS_AT_ONCE = 32
# What families call that which one forward hands to the next; a family that names none of these reads all anew.
_STATE_NAMES = ("past_key_values", "cache_params", "state")


@dataclass(frozen=True)
class Answer:
    """An answer's tokens, and the end token that was drawn behind them; None: there was no room for one."""

    tokens: tuple[int, ...]
    end: int | None

    @property
    def ended(self) -> bool:
        return self.end is not None


def generate(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    options: Generation,
    end_ids: Collection[int],
    *,
    pictures: Sequence[Sequence[Picture]] | None = None,
    eyes: Eyes | None = None,
    first_number: int = 0,
    seeds: Sequence[int] | None = None,
    on_token: Callable[[int, int], None] | None = None,
) -> list[Answer]:
    """Answer each prompt.

    Args:
        model: a causal language model in evaluation mode.
        prompts: token ids, one list a prompt, none of them empty.
        options: how to draw; `max_new_tokens` counts the answer only.
        end_ids: tokens that end an answer.
        pictures: those of each prompt, by their places in it; None: there are none.
        eyes: where the pixels of pictures come from.
        first_number: the number of the first prompt; prompt i draws from the seed (options.seed, first_number + i).
        seeds: one a prompt, in place of those.
        on_token: called with (prompt index, token) for each token as it is drawn, end tokens left out.

    Raises:
        InputError: a prompt leaves no room in the model's context, or holds a picture that cannot be shown.
    """
    pictures = pictures or [()] * len(prompts)
    if any(pictures):
        must_take_pictures(model, eyes)
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)  # type: ignore[operator, union-attr]
    for prompt in prompts:
        if limit is not None and len(prompt) >= limit:
            raise InputError(
                f"the prompt has {len(prompt)} tokens and the model's context is {limit}",
                remedy="shorten the prompt",
            )
    if seeds is None:
        seeds = [mix(options.seed, first_number + number) for number in range(len(prompts))]
    answers: list[Answer] = []
    at_once = _PROMPTS_AT_ONCE if _remembers_by_attention_only(model) else 1
    for begin in range(0, len(prompts), at_once):
        some = slice(begin, begin + at_once)
        batch = _Batch(model, prompts[some], options, end_ids, limit, seeds[some])
        if eyes is not None and any(pictures[some]):
            batch.show(pictures[some], eyes)
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
        seeds: Sequence[int],
    ) -> None:
        self.model, self.options, self.end_ids = model, options, frozenset(end_ids)
        self.device = next(model.parameters()).device
        longest = max(map(len, prompts))
        # Left padding repeats the prompt's own first token (never a picture's, in front of which the template writes
        # something): the attention never sees it, and the repetition penalty finds no token there that the prompt does
        # not hold anyway.
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
        self.draws = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.drawn: list[list[int]] = [[] for _ in prompts]
        self.ends: list[int | None] = [None] * len(prompts)
        self.warp = _processors(options)
        self.seen: Seen | None = None
        self.placed: Tensor | None = None  # [axes, B, T], where the tokens stand in a batch with pictures

    def show(self, pictures: Sequence[Sequence[Picture]], eyes: Eyes) -> None:
        """Show the prompts their pictures, which come in the order of their tokens in the padded batch."""
        trunk = trunk_of(self.model)
        self.seen = see(trunk, eyes, [picture for shown in pictures for picture in shown], self.device)
        plain = (self.mask.cumsum(-1) - 1).clamp_(min=0)
        first = 0
        for at, shown in enumerate(pictures):
            own = self.tokens[at][self.mask[at].bool()]
            grids = self.seen.grids[first : first + len(shown)]
            first += len(shown)
            if shown:
                positions = path_positions(trunk, own, shown, grids)
                if self.placed is None:
                    self.placed = plain.repeat(positions.shape[0], 1, 1)
                self.placed[:, at, -len(own) :] = positions

    def _positions(self, width: int) -> Tensor:
        """Where the last `width` tokens stand: [B, width], or [axes, B, width] in a batch with pictures."""
        if self.placed is not None:
            return self.placed[:, :, -width:]
        return (self.mask.cumsum(-1) - 1).clamp_(min=0)[:, -width:]

    def run(self, on_token: Callable[[int, int], None] | None) -> list[Answer]:
        live = list(range(len(self.drawn)))  # the prompt in each row of the batch
        by_attention = _remembers_by_attention_only(self.model)
        cache = DynamicCache(config=self.model.config)
        carried: dict[str, Any] = (
            {"past_key_values": cache, "attention_mask": self.mask} if by_attention else {}
        )
        shown = {} if self.seen is None else {"mm_encoder_outputs": self.seen.features}
        with torch.inference_mode():
            inputs = self.tokens
            while live:
                output = self.model(
                    input_ids=inputs,
                    position_ids=self._positions(inputs.shape[1]),
                    use_cache=True,
                    logits_to_keep=1,
                    **shown,
                    **carried,
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
                if carried:
                    shown = {}  # what the pictures gave is in there
                live = [live[at] for at in staying]
        return [Answer(tuple(tokens), end) for tokens, end in zip(self.drawn, self.ends, strict=True)]

    def _take(
        self, chosen: Tensor, live: list[int], on_token: Callable[[int, int], None] | None
    ) -> list[int]:
        """Note the drawn tokens; returns the rows of the batch that go on."""
        staying = []
        for at, (prompt, token) in enumerate(zip(live, chosen.tolist(), strict=True)):
            if token in self.end_ids:
                self.ends[prompt] = token
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
        if self.placed is not None:  # behind a picture, text goes on from the longer of its sides
            following = self.placed.amax((0, 2))[None, :, None] + 1
            self.placed = torch.cat([self.placed, following.expand(self.placed.shape[0], -1, -1)], 2)
        if len(staying) < rows:
            keep = torch.tensor(staying, device=self.device, dtype=torch.long)
            self.tokens, self.mask = self.tokens[keep], self.mask[keep]
            self.placed = None if self.placed is None else self.placed[:, keep]
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
