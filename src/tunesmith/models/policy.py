"""The policy: the one door through which training calls a model.

A row goes in, the log-probabilities of its targets come out (or, of a model that scores, the scores of its leaves): hidden states, head and log-softmax behind one call, so
that a distributed wrapper sees one forward.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface

from tunesmith.errors import InputError
from tunesmith.kernels.head import CHUNK, LogitTransform, target_logprobs
from tunesmith.kernels.segment_attention import NAME, no_mask, segment_attention
from tunesmith.models.dropout import DropoutKey, key_dropout, mix
from tunesmith.models.scoring import head_of, read_at, scores
from tunesmith.models.seeing import row_positions, see, trunk_of
from tunesmith.models.vision import Eyes
from tunesmith.segments import Row


def register_segment_attention() -> None:
    """Make the segment attention known to transformers under its name; harmless when done twice."""
    AttentionInterface.register(NAME, segment_attention)
    AttentionMaskInterface.register(NAME, no_mask)


@contextmanager
def attention(model: PreTrainedModel, implementation: str) -> Iterator[None]:
    """Run the block with another attention in the text layers, then go back to the family's own; towers keep theirs."""
    config = model.config
    text = config.get_text_config(decoder=True)
    parts = {name: part for name in config.sub_configs if (part := getattr(config, name)) is not None}
    own = {"": config._attn_implementation}
    own |= {name: part._attn_implementation for name, part in parts.items()}
    changed = {name: implementation for name in own if name == "" or parts[name] is text}
    model.set_attn_implementation(own | changed)
    try:
        yield
    finally:
        model.set_attn_implementation(own)


# What families call the number that their logits are multiplied by, divided by, and held below.
_MULTIPLIERS: tuple[str, ...] = (
    "logit_scale",
    "lm_head_multiplier",
    "output_multiplier",
)  # Cohere, Falcon-H1, Muse
_DIVISORS: tuple[str, ...] = ("logits_scaling",)  # Granite, MiniCPM3
_SOFTCAPS = (
    "final_logit_softcapping",
    "logits_soft_cap",
    "output_logit_soft_cap",
)  # Gemma, RecurrentGemma, xLSTM


def logit_transform(config: Any) -> LogitTransform:
    """What a family does to its logits, read off its configuration (and checked by the probe)."""
    text = config.get_text_config(decoder=True)
    multipliers, divisors = _MULTIPLIERS, _DIVISORS
    if text.model_type.startswith("hyperclovax"):  # it multiplies by what the others divide by
        multipliers, divisors = (*multipliers, *divisors), ()
    scale = 1.0
    for name in multipliers:
        scale *= float(getattr(text, name, None) or 1.0)
    for name in divisors:
        scale /= float(getattr(text, name, None) or 1.0)
    caps = [float(cap) for name in _SOFTCAPS if (cap := getattr(text, name, None)) is not None]
    return LogitTransform(scale, caps[0] if caps else None)


class Policy(nn.Module):
    """A causal language model, or one that scores what it reads (a reward model), as training sees it.

    Args:
        model: a transformers model, or a PEFT model around one.
        segments: whether the segment attention may be used (the probe says so); otherwise every row must be one
            sequence, and the family's own attention runs.
        compute: the type of the matrix products; weights of another type are cast by autocast.
        seed: the seed of dropout.
        own_logits: whether the family's own logits are taken, because its head is more than a linear layer (the
            probe says so); they are made for all predictions of a row at once.
        eyes: where the pixels of pictures come from; None: rows hold none.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        segments: bool,
        compute: torch.dtype,
        seed: int,
        own_logits: bool = False,
        eyes: Eyes | None = None,
    ) -> None:
        super().__init__()
        register_segment_attention()
        self.model = model
        self.segments = segments
        self.compute = compute
        self.own_logits = own_logits
        self.eyes = eyes
        self.key = DropoutKey(seed)
        key_dropout(model, self.key)
        self._transform = logit_transform(self.causal_lm.config)
        self._trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._before: dict[str, Tensor] = {}

    @property
    def causal_lm(self) -> PreTrainedModel:
        """The transformers model itself, under whatever PEFT put around it."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model  # type: ignore[operator]

    @property
    def scores(self) -> bool:
        """Whether the model scores what it reads, instead of writing."""
        return scores(self.causal_lm)

    @property
    def trunk(self) -> nn.Module:
        """The layers below the head."""
        return trunk_of(self.model)

    @property
    def device(self) -> torch.device:
        return self.causal_lm.device

    def trainable(self) -> dict[str, nn.Parameter]:
        """The weights that learned when the policy was made, by name, in the model's own order.

        They stay the same while gradual unfreezing lets some of them wait.
        """
        return dict(self._trainable)

    @contextmanager
    def training_mode(self) -> Iterator[None]:
        """Train mode and the segment attention for the block; the model is left as it was found."""
        was_training = self.model.training
        self.model.train()
        try:
            with attention(self.causal_lm, NAME) if self.segments else nullcontext():
                yield
        finally:
            self.model.train(was_training)

    @contextmanager
    def scoring_mode(self) -> Iterator[None]:
        """Like `training_mode` for computing losses only: no dropout, no gradients."""
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad(), attention(self.causal_lm, NAME) if self.segments else nullcontext():
                yield
        finally:
            self.model.train(was_training)

    @contextmanager
    def writing_mode(self) -> Iterator[None]:
        """For drawing answers: no dropout, and the family's own attention."""
        was_training = self.model.training
        self.model.eval()
        try:
            yield
        finally:
            self.model.train(was_training)

    @property
    def remembers(self) -> bool:
        """Whether there is a `reference`."""
        return bool(self._before)

    def remember(self) -> None:
        """Keep the weights that learn as they are now, for `reference`."""
        self._before = {name: weight.detach().clone() for name, weight in self._trainable.items()}

    @contextmanager
    def reference(self) -> Iterator[None]:
        """The model as it was when `remember` was called, for the block."""
        now = {name: weight.data for name, weight in self._trainable.items()}
        for name, weight in self._trainable.items():
            weight.data = self._before[name]
        try:
            yield
        finally:
            for name, weight in self._trainable.items():
                weight.data = now[name]

    def seat(self, step: int, row: int) -> None:
        """Say where training stands: dropout masks and every other draw follow from it."""
        self.key.step, self.key.row = step, row
        torch.manual_seed(mix(self.key.seed, step, row))

    def forward(self, row: Row) -> Tensor:
        """Log-probability of each target of the row: [R], fp32, in the order of `row.targets`.

        Of a model that scores, the score of each leaf of the row: [L], fp32, in their order.
        """
        device = self.device
        wanted = torch.tensor([target.token for target in row.targets], device=device)
        with self._compute():
            if self.scores:
                return self._leaf_scores(row)
            if self.own_logits:
                logits = self._own_logits(row)
                return logits.log_softmax(-1).gather(1, wanted[:, None])[:, 0]
            hidden, head = self._hidden(row)
            return target_logprobs(hidden, wanted.to(hidden.device), head, self._transform).to(device)

    def over_vocabulary(self, row: Row, function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Map a function over the logits of a row's targets, a chunk of them at a time.

        The logits of a chunk vanish behind it, and are made anew in the backward pass.

        Args:
            function: of logits [C, V], fp32, and of the numbers [C] of their targets; gives [C, ...].

        Returns:
            [R, ...], what it gave for all targets in order.
        """
        with self._compute():
            logits_of = self.logits_of(row)

            def of_chunk(at: Tensor) -> Tensor:
                return function(logits_of(at), at)

            numbers = torch.arange(len(row.targets), device=self.device)
            parts = [checkpoint(of_chunk, at, use_reentrant=False) for at in numbers.split(CHUNK)]
            return torch.cat(parts)

    def logits_of(self, row: Row) -> Callable[[Tensor], Tensor]:
        """Run a row, and give what makes the logits [C, V], fp32, of targets by their numbers [C]."""
        with self._compute():
            if self.own_logits:
                logits = self._own_logits(row)
                return lambda at: logits[at]
            hidden, head = self._hidden(row)

        def chosen(at: Tensor) -> Tensor:
            with self._compute():
                logits = head(hidden[at.to(hidden.device)]).float()
            return self._transform(logits).to(self.device)

        return chosen

    def _compute(self) -> AbstractContextManager[Any]:
        if self.compute == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.compute)

    def _hidden(self, row: Row) -> tuple[Tensor, nn.Module]:
        """The hidden states [R, H] that predict a row's targets, and the head, on whose device they are."""
        hidden = self.trunk(**self._inputs(row)).last_hidden_state[0]
        hidden = hidden.index_select(0, self._predictors(row).to(hidden.device))
        head = self.causal_lm.get_output_embeddings()
        at = next(head.parameters()).device  # not the last layer's, where layers lie over several devices
        return hidden.to(at), head

    def _own_logits(self, row: Row) -> Tensor:
        """The logits [R, V], fp32, of the family's own head, which is asked for the rows that predict if it can be."""
        model, predictors = self.causal_lm, self._predictors(row)
        if "logits_to_keep" in inspect.signature(model.forward).parameters:
            return model(**self._inputs(row), logits_to_keep=predictors).logits[0].float()
        return model(**self._inputs(row)).logits[0].index_select(0, predictors).float()

    def _leaf_scores(self, row: Row) -> Tensor:
        """[L]: the head, in fp32, on the hidden state that the family would read on each leaf's path."""
        hidden = self.trunk(**self._inputs(row)).last_hidden_state[0]
        head = head_of(self.causal_lm)
        at = torch.tensor(read_at(row, self.causal_lm.config.pad_token_id), device=hidden.device)
        with torch.autocast(hidden.device.type, enabled=False):
            read = hidden.index_select(0, at).to(head.weight.device, torch.float32)
            return head(read)[:, 0].to(self.device)

    def _predictors(self, row: Row) -> Tensor:
        return torch.tensor([target.position for target in row.targets], device=self.device)

    def _inputs(self, row: Row) -> dict[str, Any]:
        """What the model is called with."""
        device = self.device
        inputs: dict[str, Any] = {
            "input_ids": torch.tensor(row.tokens, device=device)[None],
            "use_cache": False,
        }
        if self.segments:
            # A lone sequence has the positions that the family gives it; not all count them from 0.
            inputs["position_ids"] = torch.tensor(row.plan.positions, device=device)[None]
            inputs["segments"] = row.plan
        if row.pictures:
            if self.eyes is None:
                raise InputError("a row holds pictures, and this model is not shown any")
            seen = see(self.trunk, self.eyes, row.pictures, device)
            inputs["mm_encoder_outputs"] = seen.features
            inputs["position_ids"] = row_positions(self.trunk, row, inputs["input_ids"][0], seen.grids)
        return inputs
