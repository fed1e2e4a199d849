"""The policy: the one door through which training calls a model.

A row goes in, the log-probabilities of its targets come out: hidden states, head and log-softmax behind one call, so
that a distributed wrapper sees one forward.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface

from tunesmith.kernels.head import LogitTransform, target_logprobs
from tunesmith.kernels.segment_attention import NAME, no_mask, segment_attention
from tunesmith.models.dropout import DropoutKey, key_dropout, mix
from tunesmith.segments import Row


def register_segment_attention() -> None:
    """Make the segment attention known to transformers under its name; harmless when done twice."""
    AttentionInterface.register(NAME, segment_attention)
    AttentionMaskInterface.register(NAME, no_mask)


@contextmanager
def attention(model: PreTrainedModel, implementation: str) -> Iterator[None]:
    """Run the block with another attention, then go back to the family's own."""
    own = model.config._attn_implementation
    model.set_attn_implementation(implementation)
    try:
        yield
    finally:
        model.set_attn_implementation(own)


def recompute_activations(model: PreTrainedModel) -> None:
    """Gradient checkpointing: each layer keeps its input only and is run again in the backward pass."""
    # transformers renamed the call on the way to 6.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def logit_transform(config: Any) -> LogitTransform:
    """What a family does to its logits, read off its configuration (and checked by the probe)."""
    text = config.get_text_config()
    scale = 1.0
    if getattr(text, "logit_scale", None):  # Cohere multiplies
        scale = float(text.logit_scale)
    if getattr(text, "logits_scaling", None):  # Granite divides
        scale = 1.0 / float(text.logits_scaling)
    softcap = getattr(text, "final_logit_softcapping", None)
    return LogitTransform(scale, None if softcap is None else float(softcap))


class Policy(nn.Module):
    """A causal language model as training sees it.

    Args:
        model: a transformers model, or a PEFT model around one.
        segments: whether the segment attention may be used (the probe says so); otherwise every row must be one
            sequence, and the family's own attention runs.
        compute: the type of the matrix products; weights of another type are cast by autocast.
        seed: the seed of dropout.
    """

    def __init__(self, model: nn.Module, *, segments: bool, compute: torch.dtype, seed: int) -> None:
        super().__init__()
        register_segment_attention()
        self.model = model
        self.segments = segments
        self.compute = compute
        self.key = DropoutKey(seed)
        key_dropout(model, self.key)
        self._transform = logit_transform(self.causal_lm.config)

    @property
    def causal_lm(self) -> PreTrainedModel:
        """The transformers model itself, under whatever PEFT put around it."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model  # type: ignore[operator]

    @property
    def trunk(self) -> nn.Module:
        """The layers below the head."""
        model = self.causal_lm
        # Llama 4's text model names a trunk that it does not have, and is then given out as its own trunk.
        return model.model if model.base_model is model else model.base_model

    @property
    def device(self) -> torch.device:
        return self.causal_lm.device

    def trainable(self) -> dict[str, nn.Parameter]:
        """The weights that learn, by name, in the model's own order."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

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

    def seat(self, step: int, row: int) -> None:
        """Say where training stands: dropout masks and every other draw follow from it."""
        self.key.step, self.key.row = step, row
        torch.manual_seed(mix(self.key.seed, step, row))

    def forward(self, row: Row) -> Tensor:
        """Log-probability of each target of the row: [R], fp32, in the order of `row.targets`."""
        device = self.device
        tokens = torch.tensor(row.tokens, device=device)[None]
        positions = torch.tensor(row.plan.positions, device=device)[None]
        predictors = torch.tensor([target.position for target in row.targets], device=device)
        wanted = torch.tensor([target.token for target in row.targets], device=device)
        model = self.causal_lm
        extra = {"segments": row.plan} if self.segments else {}
        autocast = (
            torch.autocast(device.type, dtype=self.compute)
            if self.compute != torch.float32
            else nullcontext()
        )
        with autocast:
            outputs = self.trunk(input_ids=tokens, position_ids=positions, use_cache=False, **extra)
            hidden = outputs.last_hidden_state[0].index_select(0, predictors)
            return target_logprobs(hidden, wanted, model.get_output_embeddings(), self._transform)
