"""The optimizer and the learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

from tunesmith.config.schema import Train
from tunesmith.optional import require


def make_optimizer(weights: Mapping[str, nn.Parameter], train: Train) -> torch.optim.Optimizer:
    """AdamW over named weights; matrices decay, biases and norms (one dimension) do not.

    Raises:
        InputError: 8-bit state is asked for and bitsandbytes is not installed.
    """
    decayed = [weight for weight in weights.values() if weight.dim() > 1]
    exempt = [weight for weight in weights.values() if weight.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": train.weight_decay}]
    if exempt:
        groups.append({"params": exempt, "weight_decay": 0.0})
    if train.optimizer == "adamw_8bit":
        bitsandbytes = require("bitsandbytes", wanted_by="train.optimizer: adamw_8bit")
        return bitsandbytes.optim.AdamW8bit(groups, lr=train.learning_rate, betas=train.betas)
    device = next(iter(weights.values())).device.type
    return torch.optim.AdamW(
        groups, lr=train.learning_rate, betas=train.betas, fused=device in ("cpu", "cuda")
    )


def warmup_steps(train: Train, total_steps: int) -> int:
    """Warm-up in steps, whichever way the recipe gives it."""
    if train.warmup_ratio is not None:
        return math.ceil(train.warmup_ratio * total_steps)
    return train.warmup_steps or 0


def learning_rate(train: Train, step: int, total_steps: int) -> float:
    """The rate of update `step` (from 0): a pure function, the same as transformers' schedules.

    Linear warm-up from 0 (reached at `warmup_steps`), then half a cosine or a straight line down to 0, or constant.
    """
    warmup = warmup_steps(train, total_steps)
    if step < warmup:
        return train.learning_rate * step / max(1, warmup)
    if train.schedule == "constant":
        return train.learning_rate
    progress = (step - warmup) / max(1, total_steps - warmup)
    if train.schedule == "linear":
        return train.learning_rate * max(0.0, 1.0 - progress)
    return train.learning_rate * max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))
