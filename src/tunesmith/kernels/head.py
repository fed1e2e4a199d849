"""The language-model head over loss rows: log-probabilities without ever building `[T, vocabulary]`.

Only the rows that carry loss come here, and they pass the head in chunks. With a frozen head, the gradient with
respect to the hidden states is computed in the same pass and is all that is kept, `[R, H]`; with a trained head, or
one that is more than a linear layer, each chunk's logits are recomputed in the backward pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

CHUNK = 256  # loss rows that have logits at one time


@dataclass(frozen=True)
class LogitTransform:
    """What a family does to the head's output: `cap * tanh(scale * x / cap)`; the cap is optional."""

    scale: float = 1.0
    softcap: float | None = None

    def __call__(self, logits: Tensor) -> Tensor:
        if self.scale != 1.0:
            logits = logits * self.scale
        if self.softcap is not None:
            logits = self.softcap * torch.tanh(logits / self.softcap)
        return logits

    def times_derivative(self, gradient: Tensor, logits: Tensor) -> Tensor:
        """`gradient` with respect to the transformed `logits`, carried back to the head's output."""
        if self.softcap is not None:
            gradient = gradient * (1 - (logits / self.softcap) ** 2)
        return gradient * self.scale if self.scale != 1.0 else gradient


class _FrozenHeadLogprobs(torch.autograd.Function):
    """log softmax(transform(h W^T + b))[target], with d/dh = transform'(onehot - softmax) W saved as `[R, H]`."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        transform: LogitTransform,
    ) -> Tensor:
        logprobs = torch.empty(hidden.shape[0], dtype=torch.float32, device=hidden.device)
        gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for begin in range(0, hidden.shape[0], CHUNK):
            rows = slice(begin, begin + CHUNK)
            wanted = targets[rows, None]
            logits = transform(nn.functional.linear(hidden[rows].to(weight.dtype), weight, bias).float())
            logsumexp = logits.logsumexp(-1, keepdim=True)
            logprobs[rows] = (logits.gather(1, wanted) - logsumexp)[:, 0]
            if gradient is not None:
                slope = -(logits - logsumexp).exp_()
                slope.scatter_add_(1, wanted, torch.ones_like(wanted, dtype=slope.dtype))
                slope = transform.times_derivative(slope, logits)
                gradient[rows] = (slope.to(weight.dtype) @ weight).to(hidden.dtype)
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return logprobs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return (gradient * grads[0][:, None].to(gradient.dtype), None, None, None, None)


class _TrainedHeadLogprobs(torch.autograd.Function):
    """The same where the head learns: each chunk's logits are computed once more in the backward pass.

    d/dlogits = transform'(onehot - softmax) times what comes from above. The matrix products are in autocast's dtype
    where it is on, and so is the sum of the weight's gradient over the chunks, as autograd itself would have it.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        transform: LogitTransform,
    ) -> Tensor:
        device = hidden.device.type
        ctx.dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        ctx.transform = transform
        ctx.save_for_backward(hidden, weight, bias, targets)
        logprobs = torch.empty(hidden.shape[0], dtype=torch.float32, device=hidden.device)
        with torch.autocast(device, enabled=False):
            cast, shift = weight.to(ctx.dtype), None if bias is None else bias.to(ctx.dtype)
            for begin in range(0, hidden.shape[0], CHUNK):
                rows = slice(begin, begin + CHUNK)
                logits = transform(nn.functional.linear(hidden[rows].to(ctx.dtype), cast, shift).float())
                chosen = logits.gather(1, targets[rows, None])[:, 0]
                logprobs[rows] = chosen - _logsumexp_(logits)
        return logprobs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets = ctx.saved_tensors
        transform, above = ctx.transform, grads[0].float()
        to_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        with torch.autocast(hidden.device.type, enabled=False):
            cast, shift = weight.to(ctx.dtype), None if bias is None else bias.to(ctx.dtype)
            to_weight = torch.zeros_like(cast) if ctx.needs_input_grad[1] else None
            to_bias = cast.new_zeros(len(cast)) if ctx.needs_input_grad[2] else None
            for begin in range(0, hidden.shape[0], CHUNK):
                rows = slice(begin, begin + CHUNK)
                seen = hidden[rows].to(ctx.dtype)
                logits = transform(nn.functional.linear(seen, cast, shift).float())
                slope = torch.softmax(logits, -1).mul_(-above[rows, None])
                slope.scatter_add_(1, targets[rows, None], above[rows, None])
                slope = transform.times_derivative(slope, logits).to(ctx.dtype)
                if to_hidden is not None:
                    to_hidden[rows] = slope @ cast
                if to_weight is not None:
                    to_weight.addmm_(slope.T, seen)
                if to_bias is not None:
                    to_bias += slope.sum(0)
        weights = (None if one is None else one.to(weight.dtype) for one in (to_weight, to_bias))
        return to_hidden, *weights, None, None


def _logsumexp_(logits: Tensor) -> Tensor:
    """Over the last dimension, writing over the logits: `logsumexp` would take memory of their size anew."""
    most = logits.amax(-1, keepdim=True)
    return logits.sub_(most).exp_().sum(-1).log_() + most[:, 0]


def _chunk_logprobs(hidden: Tensor, targets: Tensor, head: nn.Module, transform: LogitTransform) -> Tensor:
    logits = transform(head(hidden).float())
    return logits.gather(1, targets[:, None])[:, 0] - logits.logsumexp(-1)


def target_logprobs(hidden: Tensor, targets: Tensor, head: nn.Module, transform: LogitTransform) -> Tensor:
    """Log-probability of each target token.

    Args:
        hidden: [R, H], the hidden states that predict.
        targets: [R], token ids.
        head: the model's output layer.
        transform: what the family does to its logits.

    Returns:
        [R] in fp32, differentiable.
    """
    if type(head) is nn.Linear:
        if any(p.requires_grad for p in head.parameters()):
            return _TrainedHeadLogprobs.apply(hidden, head.weight, head.bias, targets, transform)
        with torch.autocast(hidden.device.type, enabled=False):
            return _FrozenHeadLogprobs.apply(hidden, head.weight, head.bias, targets, transform)
    chunks = [
        checkpoint(
            _chunk_logprobs,
            hidden[i : i + CHUNK],
            targets[i : i + CHUNK],
            head,
            transform,
            use_reentrant=False,
        )
        for i in range(0, hidden.shape[0], CHUNK)
    ]
    return torch.cat(chunks)
