"""The optimizer and the learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from tunesmith.config.schema import Train
from tunesmith.optional import require


def make_optimizer(
    weights: Mapping[str, nn.Parameter], train: Train, lr_ratio: float | None = None
) -> torch.optim.Optimizer:
    """AdamW over named weights; matrices decay, biases and norms (one dimension) do not.

    Each group has a `rate_factor`, by which the loop multiplies the learning rate of the step: 1, or `lr_ratio`.

    Args:
        lr_ratio: LoRA+ (arXiv:2402.12354): how many times faster LoRA's B learns than A, and with it, as in PEFT, what
            has one dimension (DoRA's magnitudes).

    Raises:
        InputError: 8-bit state is asked for and bitsandbytes is not installed.
    """
    kinds: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, weight in weights.items():
        matrix = weight.dim() > 1
        faster = ".lora_B." in name or not matrix
        factor = lr_ratio if lr_ratio is not None and faster else 1.0
        kinds.setdefault((matrix, factor), []).append(weight)
    groups = [
        {
            "params": kinds[kind],
            "weight_decay": train.weight_decay if kind[0] else 0.0,
            "rate_factor": kind[1],
        }
        for kind in sorted(kinds, key=lambda kind: (not kind[0], kind[1]))
    ]
    return _adamw(groups, train)


def _adamw(groups: list[dict[str, Any]], train: Train) -> torch.optim.Optimizer:
    if train.optimizer == "adamw_8bit":
        bitsandbytes = require("bitsandbytes", wanted_by="train.optimizer: adamw_8bit")
        return bitsandbytes.optim.AdamW8bit(groups, lr=train.learning_rate, betas=train.betas)
    device = groups[0]["params"][0].device.type
    return torch.optim.AdamW(
        groups, lr=train.learning_rate, betas=train.betas, fused=device in ("cpu", "cuda")
    )


def state_bytes(weights: Iterable[nn.Parameter], optimizer: str) -> int:
    """Bytes of an optimizer's two moments: fp32, or 8 bits with a scale in fp32 a block of 256.

    bitsandbytes keeps weights of fewer than 4096 numbers in fp32.
    """
    eight_bit = optimizer == "adamw_8bit"
    return sum(
        2 * (weight.numel() + 4 * -(-weight.numel() // 256))
        if eight_bit and weight.numel() >= 4096
        else 8 * weight.numel()
        for weight in weights
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
