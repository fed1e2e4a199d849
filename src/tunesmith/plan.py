"""`plan`: the memory, disk and time that a recipe will take, before it takes them, and settings that fit.

No weights are read, and of a hub's model only configuration and tokenizer are fetched. Memory comes from the same code
that settles how many layers are recomputed when training begins.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tunesmith.config.method import Distill, Grpo
from tunesmith.config.schema import Recipe
from tunesmith.models.load import DTYPES
from tunesmith.models.quantize import weights_bytes
from tunesmith.stage import Prepared, adapter_to_start_from, prepare, setting_of
from tunesmith.train.budget import fewest_recomputed, memory_budget, needs_with_rows
from tunesmith.train.calibrate import Speed, calibrate
from tunesmith.train.dry_run import CannotPretend
from tunesmith.train.environment import choose_compute, choose_row_tokens, settle_determinism
from tunesmith.train.memory_plan import MemoryPlan, Needs, Setting
from tunesmith.train.rows import PlannedRows, planned_rows, rows_of

_BUSY = 0.5  # of the cores, from which on the timing of a small piece is taken to suffer


@dataclass(frozen=True)
class Change:
    """One line of the proposed diff, and the peak with it and those before it."""

    key: str
    old: Any
    new: Any
    peak: float


@dataclass(frozen=True)
class Times:
    """Seconds, from a short calibration; loading is not among them."""

    step: float
    tokens_per_second: float
    steps: int
    training: float
    evaluations: float
    answers: float  # at most: answers may end before their longest
    others_ran: (
        bool  # other programs kept much of the machine busy meanwhile, so that all of this may be too long
    )
    not_counted: str | None = None  # what of the training comes on top

    @property
    def total(self) -> float:
        return self.training + self.evaluations + self.answers


@dataclass(frozen=True)
class Plan:
    """What `tunesmith plan` shows. Sizes are in bytes.

    `memory` is None where the family's step cannot be foreseen (`unforeseen` says why); `budget` where the device does
    not tell what is free.
    """

    device: str
    precision: str
    memory: MemoryPlan | None
    unforeseen: str | None
    budget: float | None
    disk: dict[str, float]
    disk_free: int
    times: Times | None
    changes: tuple[Change, ...]

    @property
    def fits(self) -> bool | None:
        """Whether memory and disk suffice; None where it cannot be told."""
        if self.memory is None or self.budget is None:
            return None
        return self.memory.peak.total <= self.budget and sum(self.disk.values()) <= self.disk_free


def make_plan(recipe: Recipe, *, timed: bool = True) -> Plan:
    """Plan a recipe on this machine.

    Args:
        timed: whether to take the seconds that the calibration needs.

    Raises:
        InputError: the recipe, the data or the model is not right.
    """
    device, precision, threads = choose_compute(recipe, None)
    settle_determinism(device, threads)
    prepared = prepare(recipe, weights=False)
    train, held_out = prepared.data.train, prepared.data.eval
    longest = int(max(side.lengths.max(initial=0) for side in (train, held_out)))
    setting = setting_of(recipe, prepared, device, precision, adapter_to_start_from(recipe))
    budget = memory_budget(recipe, device)
    try:
        needs, setting = needs_with_rows(recipe, setting, train, choose_row_tokens(recipe, longest))
    except CannotPretend as why:
        return Plan(
            device,
            precision,
            None,
            str(why),
            budget,
            _disk(recipe, prepared, None),
            _free_disk(recipe),
            None,
            (),
        )
    memory = needs.plan(_recomputed(recipe, needs, budget))
    changes: tuple[Change, ...] = ()
    if budget is not None and memory.peak.total > budget:
        changes = tuple(_changes_that_fit(recipe, setting, prepared, budget, longest, memory))
    rows = planned_rows(
        recipe, train, segments=setting.segments, row_tokens=choose_row_tokens(recipe, longest)
    )
    times = _times(recipe, setting, prepared, rows, memory) if timed else None
    return Plan(
        device,
        precision,
        memory,
        None,
        budget,
        _disk(recipe, prepared, needs),
        _free_disk(recipe),
        times,
        changes,
    )


def _recomputed(recipe: Recipe, needs: Needs, budget: float | None) -> int:
    wanted = recipe.train.gradient_checkpointing
    if wanted == "auto":
        return 0 if budget is None else fewest_recomputed(needs, budget)
    if isinstance(wanted, bool):
        return needs.step.layers if wanted else 0
    return min(wanted, needs.step.layers)


# ---- settings that fit, those that harm least first


def _with(recipe: Recipe, key: str, value: Any) -> Recipe:
    block, _, name = key.partition(".")
    return recipe.model_copy(update={block: getattr(recipe, block).model_copy(update={name: value})})


def _candidates(recipe: Recipe, precision: str, longest: int) -> Iterator[tuple[str, Any]]:
    """What may be changed, in the order of harm: time, then the last bits, then accuracy, then what is learned."""
    full = recipe.adapter.type == "none"
    if recipe.train.gradient_checkpointing not in (True, "auto"):
        yield "train.gradient_checkpointing", True
    yield "train.row_tokens", longest
    if recipe.train.optimizer == "adamw":
        yield "train.optimizer", "adamw_8bit"
    if precision == "fp32":
        yield "model.precision", "bf16"
    if recipe.model.quantize == "none" and not full and recipe.adapter.init == "lora":
        yield "model.quantize", "nf4"
    if full:
        yield "adapter.type", "lora"
    elif recipe.adapter.rank > 8:
        yield "adapter.rank", 8
    for length in (longest // 2, longest // 4):
        if length >= 128:
            yield "data.max_length", length


def _changes_that_fit(
    recipe: Recipe, setting: Setting, prepared: Prepared, budget: float, longest: int, memory: MemoryPlan
) -> Iterator[Change]:
    """Changes, each on top of those before, until the peak is within the budget; those that save nothing are left out."""
    peak = memory.peak.total
    for key, new in _candidates(recipe, setting.precision, longest):
        if peak <= budget:
            return
        block, _, name = key.partition(".")
        old = getattr(getattr(recipe, block), name)
        tried = _with(recipe, key, new)
        trial_setting = replace(setting, precision=new) if key == "model.precision" else setting
        samples = _Shortened(prepared.data.train, new) if key == "data.max_length" else prepared.data.train
        row_tokens = choose_row_tokens(tried, int(samples.lengths.max(initial=0)))
        needs, _ = needs_with_rows(tried, trial_setting, samples, row_tokens)
        now = needs.plan(_recomputed(tried, needs, budget)).peak.total
        if now < 0.99 * peak:
            if key == "data.max_length" and tried.data.on_long == "error" and tried.method.name != "pretrain":
                tried = _with(tried, "data.on_long", "truncate")  # or the longer rows would be refused
                yield Change("data.on_long", "error", "truncate", now)
            yield Change(key, old, new, now)
            recipe, setting, peak = tried, trial_setting, now


class _Shortened:
    """Samples cut at their end, for their sizes only."""

    def __init__(self, samples: Any, most: int) -> None:
        self._samples, self._most = samples, most
        self.lengths = samples.lengths.clip(max=most)

    def tree(self, at: int) -> Any:
        first = self._samples.tree(at)[0]
        return (
            first._replace(
                tokens=first.tokens[: self._most], weights=first.weights[: self._most], parent=None
            ),
        )


# ---- disk and time


def _disk(recipe: Recipe, prepared: Prepared, needs: Needs | None) -> dict[str, float]:
    """Bytes that will be written: a model that is not there yet, checkpoints at their most, the result."""
    parts: dict[str, float] = {}
    if not list(prepared.model_folder.glob("*.safetensors")):
        parts["model"] = weights_bytes(
            prepared.model_folder,
            dtype=DTYPES["bf16"],
            quantize="none",
            trust_remote_code=prepared.trust.model,
        )["total"]
    if needs is not None:
        held = needs.step.none
        kept = recipe.train.keep + 1 + recipe.train.keep_best  # one more while it is written
        parts["checkpoints"] = kept * (held.trainable + held.optimizer)
        parts["result"] = needs.weights if recipe.adapter.type == "none" else held.trainable
    return parts


def _free_disk(recipe: Recipe) -> int:
    folder = Path(recipe.output_folder).absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(there).free


def _times(
    recipe: Recipe, setting: Setting, prepared: Prepared, rows: PlannedRows, memory: MemoryPlan
) -> Times:
    trainable = memory.step.none.trainable / 4  # fp32
    busy = setting.device == "cpu" and _others_run()
    speed = calibrate(recipe, setting, rows.heaviest, trainable=trainable, recomputed=memory.recomputed)
    steps = [speed.step(update, memory.recomputed) for update in rows.updates]
    step, total = sum(steps) / len(steps), rows.schedule.total_steps
    return Times(
        step,
        rows.tokens_an_update / step,
        total,
        step * total,
        _evaluations(recipe, setting, prepared, rows, speed),
        2 * len(recipe.evaluate.prompts) * recipe.evaluate.generation.max_new_tokens * speed.token,
        busy,
        _not_counted(recipe),
    )


def _not_counted(recipe: Recipe) -> str | None:
    """What of a method's work the calibration does not time."""
    options = recipe.method
    if isinstance(options, Grpo):
        return "drawing the answers"
    if not isinstance(options, Distill):
        return None
    if options.top_k is not None:
        return "asking the teacher, once"
    drawn = options.answers == "student"
    return "asking the teacher at every step" + (", and drawing the answers" if drawn else "")


def _others_run() -> bool:
    """Whether more than about half of the cores were at work in the last minute; this process has only just begun."""
    if not hasattr(os, "getloadavg"):  # Windows
        return False
    return os.getloadavg()[0] > _BUSY * (os.cpu_count() or 1)


def _evaluations(
    recipe: Recipe, setting: Setting, prepared: Prepared, rows: PlannedRows, speed: Speed
) -> float:
    """Seconds of all evaluations on the held-out part; of a large one some samples are laid into rows."""
    held_out, schedule = prepared.data.eval, rows.schedule
    if not len(held_out):
        return 0.0
    every = schedule.steps_an_epoch if recipe.train.eval_every == "epoch" else recipe.train.eval_every
    some = min(len(held_out), 256)
    laid = rows_of(
        [held_out.tree(number) for number in range(some)],
        segments=setting.segments,
        row_tokens=recipe.train.row_tokens or 2048,
        share=recipe.train.share_prefixes == "auto",
    )
    return speed.scoring(laid) * len(held_out) / some * -(-schedule.total_steps // every)
