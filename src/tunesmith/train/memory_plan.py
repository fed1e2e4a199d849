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

import psutil
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tunesmith.config.method import Distill, Grpo
from tunesmith.config.schema import Recipe
from tunesmith.errors import InputError
from tunesmith.methods import METHODS
from tunesmith.methods.base import Example, Rollout, Taught, Teacher
from tunesmith.models.adapters import add_adapter, add_shape_of
from tunesmith.models.load import DTYPES
from tunesmith.models.quantize import checkpoint_method, weights_bytes
from tunesmith.models.skeleton import model_config, skeleton
from tunesmith.models.unfreeze import choose_what_learns
from tunesmith.segments import Tree
from tunesmith.train.dry_run import CannotPretend, StepMemory, Trial, step_memory
from tunesmith.train.rows import PlannedRows

# What a process takes on as it computes, beside tensors: code of the math libraries, their buffers, thread stacks.
_LIBRARIES = 180e6
# What the allocator holds between pieces in use, as a share of activations and logits. On a CPU it goes through five
# measured runs (Linux, glibc, huge pages, 2 threads: TinyLlama's and Qwen3-0.6B's shapes, LoRA r 16 in bf16 and fp32, 384
# and 512 tokens, with all layers recomputed and with none); for CUDA and MPS they are guesses.
_GAPS = {"cpu": 0.2, "cuda": 0.08, "mps": 0.2}


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
    scores: bool = False  # a head that scores instead of one that writes
    teacher: Path | None = None  # the folder of the model that is learned from


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
    teacher: float  # the weights of another model that stays in memory
    remembers: bool  # whether what learns is kept as it was before step 1, too
    step: StepMemory
    gaps: float  # what the allocator wastes, as a share of activations and logits

    def plan(self, recomputed: int) -> MemoryPlan:
        """The phases, with so many layers recomputed."""
        held = self.step.with_recomputed(recomputed)
        adapter = {} if self.recipe.adapter.type == "none" else {"adapter": held.trainable}
        settled = {"process": self.process, "weights": self.weights, **adapter}
        if self.teacher:
            settled["teacher"] = self.teacher
        if self.remembers:
            settled["reference"] = held.trainable
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
                    "gaps": self.gaps * (held.activations + held.head),
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
    bare = partial(
        skeleton,
        setting.folder,
        dtype=dtype,
        trust_remote_code=setting.trust_remote_code,
        scores=setting.scores,
    )
    sizes = weights_bytes(setting.folder, dtype=dtype, quantize=quantize, of=bare())
    if setting.start is not None and not full:
        _with_the_shape_of(setting.start, bare(), cut=False)
    trial = Trial(
        skeleton=bare,
        tune=partial(tune, recipe, setting),
        device=setting.device,
        compute=compute,
        packed=compute if quantize in ("nf4", "bnb8") else None,
        method=METHODS[recipe.method.name](recipe.method),
        row=rows.heaviest,
        examples=[_example(recipe, tree) for tree in rows.heaviest_update],
        teacher=_pretended_teacher(recipe, setting),
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
        teacher=_teacher_bytes(recipe, setting, compute),
        remembers=isinstance(recipe.method, Grpo) and recipe.method.kl > 0,
        step=step,
        gaps=_GAPS[setting.device],
    )


def _example(recipe: Recipe, tree: Tree) -> Example:
    """A sample with what a method may need to know of it, none of it true."""
    if not isinstance(recipe.method, Grpo):
        return Example(tree, None, (0.0, 0.0))
    zeros = tuple((0.0,) * len(piece.tokens) for piece in tree[1:])
    old = zeros if recipe.method.updates > 1 else ()
    reference = zeros if recipe.method.kl else ()
    return Example(tree, rollout=Rollout((0.0,) * len(zeros), {}, old, reference))


def _pretended_teacher(recipe: Recipe, setting: Setting) -> Teacher | None:
    """A teacher that says the same of all targets."""
    if not isinstance(recipe.method, Distill):
        return None
    k = recipe.method.top_k
    vocabulary = int(model_config(setting.folder).get_text_config().vocab_size)

    def told(at: Tensor) -> Taught:
        logprobs = torch.zeros(len(at), k or vocabulary, device=at.device)
        return Taught(
            logprobs, vocabulary, None if k is None else torch.zeros_like(logprobs, dtype=torch.long)
        )

    return lambda row: told


def _teacher_bytes(recipe: Recipe, setting: Setting, compute: torch.dtype) -> float:
    options = recipe.method
    if setting.teacher is None or not isinstance(options, Distill) or options.top_k is not None:
        return 0.0
    quantize = "keep" if checkpoint_method(setting.teacher) else "none"
    return float(weights_bytes(setting.teacher, dtype=compute, quantize=quantize)["total"])


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
    if adapter.type == "lora" and setting.start is not None:
        tuned: nn.Module = _with_the_shape_of(setting.start, model, cut=depth is not None)
    elif adapter.type == "lora":
        tuned = add_adapter(
            model, adapter, base_name="", seed=recipe.train.seed, new_tokens=setting.new_tokens
        )
    else:
        tuned = model
    choose_what_learns(tuned, adapter)
    return tuned


def _with_the_shape_of(start: Path, model: PreTrainedModel, *, cut: bool) -> nn.Module:
    """The model with an adapter such as the one that is gone on from; `cut`: not all of its layers are there."""
    try:
        return add_shape_of(model, start)
    except InputError as error:
        if cut:  # it may sit on upper layers only
            raise CannotPretend(str(error)) from error
        raise
