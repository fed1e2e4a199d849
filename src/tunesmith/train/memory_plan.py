"""The memory that a recipe's training needs, part by part, before any weights are loaded.

Weights are counted from configuration and file headers, the step by a dry run, what the process itself takes is
measured. Loading and training need different things; the greater is what must be there. (Checkpoints are written from
where the weights lie, and answers need less than a step.)
"""

from __future__ import annotations

import gc
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn
from transformers import PreTrainedModel

from tunesmith.config.schema import Adapter, Recipe
from tunesmith.methods import METHODS
from tunesmith.models.adapters import adapter_config, add_adapter
from tunesmith.models.load import DTYPES
from tunesmith.models.quantize import weights_bytes
from tunesmith.models.skeleton import skeleton
from tunesmith.models.unfreeze import choose_what_learns
from tunesmith.train.dry_run import StepMemory, Trial, step_memory
from tunesmith.train.rows import PlannedRows

# What a process takes on as it computes, beside tensors: code of the math libraries, their buffers, thread stacks.
_LIBRARIES = 180e6
# What the allocator holds between pieces in use, and what products take aside: so much of activations and logits, and of
# the weights up to a most. On a CPU these go through two measured runs (Linux, glibc, 2 threads; TinyLlama's shape,
# LoRA r 16 in bf16, 512 tokens, with all layers recomputed and with none); for CUDA and MPS they are guesses.
_GAPS = {"cpu": 0.23, "cuda": 0.08, "mps": 0.2}
_ASIDE, _ASIDE_AT_MOST = 0.25, 520e6


@dataclass(frozen=True)
class Setting:
    """What a recipe came to: the automatic choices, and where the model lies."""

    folder: Path
    trust_remote_code: bool
    device: str
    precision: str
    segments: bool
    start: Path | None = None  # the adapter that is gone on from
    new_tokens: tuple[int, ...] = ()


@dataclass(frozen=True)
class Phase:
    """One stretch of a run, and the bytes of each thing that is in memory then."""

    name: str
    parts: Mapping[str, float]

    @property
    def total(self) -> float:
        return sum(self.parts.values())


@dataclass(frozen=True)
class MemoryPlan:
    """The phases of a run with so many layers recomputed."""

    phases: tuple[Phase, ...]
    step: StepMemory
    recomputed: int

    @property
    def peak(self) -> Phase:
        return max(self.phases, key=lambda phase: phase.total)


@dataclass(frozen=True)
class Needs:
    """What does not depend on how many layers are recomputed."""

    recipe: Recipe
    process: float  # bytes of this process, without weights
    weights: float  # all of them, as they are held
    step: StepMemory
    gaps: float  # what the allocator wastes, as a share of activations and logits
    aside: float  # and besides

    def plan(self, recomputed: int) -> MemoryPlan:
        """The phases, with so many layers recomputed."""
        held = self.step.with_recomputed(recomputed)
        adapter = {} if self.recipe.adapter.type == "none" else {"adapter": held.trainable}
        settled = {"process": self.process, "weights": self.weights, **adapter}
        phases = [
            Phase("loading", {"process": self.process, "weights": self.weights}),
            Phase(
                "training",
                {
                    **settled,
                    "optimizer": held.optimizer,
                    "gradients": held.gradients,
                    "activations": held.activations,
                    "head": held.head,
                    "gaps": self.gaps * (held.activations + held.head) + self.aside,
                },
            ),
        ]
        return MemoryPlan(tuple(phases), self.step, recomputed)


def needs_of(recipe: Recipe, setting: Setting, rows: PlannedRows) -> Needs:
    """What the recipe needs, but for the choice of how many layers are recomputed.

    Raises:
        CannotPretend: the model's step cannot be foreseen.
        InputError: the model's configuration, or what the recipe says of it, is not right.
    """
    full = recipe.adapter.type == "none"
    compute = DTYPES[setting.precision]
    dtype = torch.float32 if full else compute
    quantize = recipe.model.quantize
    sizes = weights_bytes(
        setting.folder, dtype=dtype, quantize=quantize, trust_remote_code=setting.trust_remote_code
    )
    trial = Trial(
        skeleton=partial(skeleton, setting.folder, dtype=dtype, trust_remote_code=setting.trust_remote_code),
        tune=partial(tune, recipe, setting),
        device=setting.device,
        compute=compute,
        packed=compute if quantize in ("nf4", "bnb8") else None,
        method=METHODS[recipe.method.name](),
        row=rows.heaviest,
        accumulates=rows.accumulates,
        segments=setting.segments,
        optimizer=recipe.train.optimizer,
        top_layers=None if recipe.adapter.unfreeze else recipe.adapter.top_layers,
    )
    step = step_memory(trial)
    gc.collect()
    return Needs(
        recipe=recipe,
        process=_process_bytes(setting.device),
        weights=sizes["total"],
        step=step,
        gaps=_GAPS[setting.device],
        aside=min(_ASIDE * sizes["total"], _ASIDE_AT_MOST) if setting.device == "cpu" else 0.0,
    )


def _process_bytes(device: str) -> float:
    """What the process takes of the device beside tensors: on a CPU, what it has taken so far and what it will."""
    if device != "cpu":
        return 500e6  # the device's context and its libraries' workspaces
    return float(psutil.Process().memory_info().rss) + _LIBRARIES


def tune(recipe: Recipe, setting: Setting, model: PreTrainedModel, depth: int | None) -> nn.Module:
    """Put on a bare model what the recipe trains; `depth` layers of it are there."""
    adapter = recipe.adapter.model_copy(update={"init": "lora"})  # other beginnings read the weights
    if adapter.top_layers is not None and depth is not None:
        adapter = adapter.model_copy(update={"top_layers": min(adapter.top_layers, depth)})
    tuned: nn.Module = model
    if adapter.type == "lora":
        if setting.start is not None:
            adapter = adapter.model_copy(update=_settings_of(setting.start))
        tuned = add_adapter(
            model, adapter, base_name="", seed=recipe.train.seed, new_tokens=setting.new_tokens
        )
    choose_what_learns(tuned, adapter)
    return tuned


def _settings_of(start: Path) -> dict[str, Any]:
    """Of an adapter to go on from, what decides how large it is."""
    config = adapter_config(start)
    targets = config.get("target_modules")
    return {
        "rank": config.get("r", Adapter().rank),
        "dropout": config.get("lora_dropout", 0.0),
        "targets": tuple(targets) if isinstance(targets, list) else targets or "all-linear",
    }
