"""The training loop. There is one; methods, models and devices differ, this does not."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from tunesmith.config.schema import Train
from tunesmith.errors import Interrupted, WorkError
from tunesmith.methods import Method
from tunesmith.methods.base import Batch, Example, Loss
from tunesmith.models.policy import Policy
from tunesmith.models.unfreeze import Unfreezing
from tunesmith.rundir import RunDir
from tunesmith.train import checkpoint
from tunesmith.train.checkpoint import TrainState
from tunesmith.train.device import peak_memory_bytes
from tunesmith.train.drift import divergence_from_reference
from tunesmith.train.events import Events
from tunesmith.train.examples import Examples, batches_of
from tunesmith.train.optim import learning_rate, make_optimizer
from tunesmith.train.order import Schedule
from tunesmith.train.rollout import Rollouts
from tunesmith.train.teacher import KeptTeacher, LiveTeacher

log = logging.getLogger("tunesmith")

_EVAL_SAMPLES_AT_ONCE = 64


@dataclass(frozen=True)
class Job:
    """What the loop works on; all of it is settled before step 1."""

    train: Train
    run: RunDir
    policy: Policy
    method: Method
    samples: Examples
    held_out: Examples
    row_tokens: int
    identity: Mapping[str, Any]  # what a checkpoint must belong to
    events: Events
    stop_wanted: Callable[[], bool]
    unfreezing: Unfreezing | None = None
    lr_ratio: float | None = None  # LoRA+
    teacher: LiveTeacher | KeptTeacher | None = None
    rollouts: Rollouts | None = None
    updates: int = 1  # in a row from the same samples

    @property
    def schedule(self) -> Schedule:
        return Schedule.of(self.train, len(self.samples), self.updates)

    def batches(self, examples: Sequence[Example]) -> list[Batch]:
        """Lay samples into rows, under the token budget, with what the method observes of all of them."""
        laid = self._laid(examples)
        if self.teacher is not None:
            teacher = self.teacher.of(examples)
            laid = [replace(batch, teacher=teacher) for batch in laid]
        if not self.method.needs_other_answers:
            return laid
        others = [example._replace(tree=example.other) for example in examples if example.other is not None]
        with self.policy.scoring_mode():
            observed = self.method.observe(self.policy, self._laid(others))
        return [replace(batch, observed=observed) for batch in laid]

    def _laid(self, examples: Sequence[Example]) -> list[Batch]:
        return batches_of(
            examples,
            segments=self.policy.segments,
            row_tokens=self.row_tokens,
            share=self.train.share_prefixes == "auto",
            whole=self.method.keeps_samples_whole,
        )


@dataclass(frozen=True)
class _Update:
    loss: float
    grad_norm: float
    tokens: int
    measures: dict[str, tuple[float, float]]  # sum and weight of each


def run_loop(job: Job, start: tuple[Any, TrainState] | None) -> TrainState:
    """Train from `start` (a checkpoint folder and its state), or from step 0, to the end.

    Raises:
        Interrupted: a stop was wanted; the checkpoint of the last step is written.
        WorkError: the loss is not a number, or the disk is full.
    """
    schedule, train = job.schedule, job.train
    weights = job.policy.trainable()
    optimizer = make_optimizer(weights, train, job.lr_ratio)
    scaler = torch.amp.GradScaler() if job.policy.compute == torch.float16 else None
    state = TrainState()
    if start is not None:
        folder, state = start
        checkpoint.restore(folder, weights, optimizer, scaler)

    def save() -> None:
        folder = checkpoint.save_checkpoint(job.run, state, weights, optimizer, scaler, job.identity)
        checkpoint.prune(job.run, train.keep, state.best_step if train.keep_best else None)
        job.events.checkpoint(state.step, folder)

    started = time.perf_counter() - state.seconds  # as if there had been no interruption
    window_seconds, window_tokens = 0.0, 0  # of the updates alone, without evaluations and checkpoints
    while state.step < schedule.total_steps and not state.stopped_early:
        began = time.perf_counter()
        rate = learning_rate(train, state.step, schedule.total_steps)
        if job.unfreezing is not None:
            job.unfreezing.prepare(state.step, schedule.steps_an_epoch)
        update = _one_update(job, schedule, optimizer, scaler, state.step, rate)
        state.step += 1
        state.tokens += update.tokens
        state.window_loss += update.loss
        state.window_weight += 1
        _add_measures(state.window_measures, update.measures)
        window_seconds += time.perf_counter() - began
        window_tokens += update.tokens
        state.seconds = time.perf_counter() - started
        last = state.step == schedule.total_steps

        if state.step % train.log_every == 0 or last:
            _log(job, schedule, state, rate, update, window_tokens / max(window_seconds, 1e-9))
            window_seconds, window_tokens = 0.0, 0
        better = False
        if job.held_out and (_due(train.eval_every, state.step, schedule) or last):
            better = _evaluate_and_judge(job, schedule, state)
            state.seconds = time.perf_counter() - started
        wanted = job.stop_wanted()
        if (
            _due(train.save_every, state.step, schedule)
            or (better and train.keep_best)
            or last
            or state.stopped_early
            or wanted
        ):
            save()
        if wanted and not last:
            raise Interrupted(
                f"stopped after step {state.step} of {schedule.total_steps}; the checkpoint is written",
                remedy=f"go on with `{job.run.command('resume')}`",
            )
    return state


def _one_update(
    job: Job,
    schedule: Schedule,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler | None,
    step: int,
    rate: float,
) -> _Update:
    """Gradients of one update's samples, summed over its batches, clipped; one optimizer step."""
    numbers = schedule.update(step)
    examples = [job.samples.example(number) for number in numbers]
    if job.rollouts is not None:
        examples = job.rollouts.of(step, numbers, examples)
    totals = job.method.plan(examples)
    batches = job.batches(examples)
    rows = [row for batch in batches for row in batch.rows]
    if {owner for row in rows for owner in row.owners} != set(range(len(examples))):
        raise AssertionError(f"a sample of step {step + 1} is in none of its rows")
    loss = 0.0
    measures: dict[str, tuple[float, float]] = {}
    with job.policy.training_mode():
        for index, batch in enumerate(batches):
            job.policy.seat(step, index)
            found = job.method.loss(job.policy, batch)
            batch_loss = found.share_of(totals)
            (batch_loss if scaler is None else scaler.scale(batch_loss)).backward()
            loss += batch_loss.item()
            _add_measures(measures, _sums_of(found))
            if not math.isfinite(loss):
                owners = dict.fromkeys(owner for row in batch.rows for owner in row.owners)
                places = [str(job.samples.place(numbers[owner])) for owner in owners]
                raise _not_a_number(job, step, "the loss", places)

    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate_factor"]
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    if scaler is not None:
        scaler.unscale_(optimizer)
    grad_norm = float(
        torch.nn.utils.clip_grad_norm_(
            weights, math.inf if job.train.max_grad_norm is None else job.train.max_grad_norm
        )
    )
    # Under fp16 an overflow is part of finding the scale: the scaler skips that step by itself.
    if scaler is None:
        if not math.isfinite(grad_norm):
            raise _not_a_number(job, step, "the gradient", [str(job.samples.place(n)) for n in numbers])
        optimizer.step()
    else:
        scaler.step(optimizer)
        scaler.update()
    optimizer.zero_grad(set_to_none=True)
    tokens = sum(len(row.tokens) for row in rows)
    return _Update(loss, grad_norm if math.isfinite(grad_norm) else 0.0, tokens, measures)


def _sums_of(loss: Loss) -> dict[str, tuple[float, float]]:
    return {measure.name: (measure.sum.item(), measure.weight) for measure in loss.measures}


def _add_measures(to: dict[str, tuple[float, float]], measures: Mapping[str, tuple[float, float]]) -> None:
    for name, (value, weight) in measures.items():
        so_far = to.get(name, (0.0, 0.0))
        to[name] = (so_far[0] + value, so_far[1] + weight)


def _means(measures: Mapping[str, tuple[float, float]], prefix: str = "") -> dict[str, float]:
    return {f"{prefix}{name}": value / weight for name, (value, weight) in measures.items() if weight}


def _not_a_number(job: Job, step: int, what: str, places: list[str]) -> WorkError:
    kept = job.run.checkpoints_newest_first()
    rows = ", ".join(places[:8]) + (f" and {len(places) - 8} more" if len(places) > 8 else "")
    return WorkError(
        f"{what} of step {step + 1} is not a finite number; its rows are {rows}",
        remedy="look at these rows, and train anew with a lower train.learning_rate or with model.precision: fp32; "
        + (f"the last checkpoint is kept: {kept[0]}" if kept else "no checkpoint was written yet"),
    )


def _due(every: int | str, step: int, schedule: Schedule) -> bool:
    return schedule.ends_epoch(step) if every == "epoch" else step % int(every) == 0


def _log(
    job: Job, schedule: Schedule, state: TrainState, rate: float, update: _Update, tokens_per_second: float
) -> None:
    """Write a line of metrics.jsonl. Its first six columns are the same in every run of the recipe."""
    line = {
        "step": state.step,
        "epoch": round(schedule.epoch_after(state.step), 6),
        "loss": state.window_loss / state.window_weight,
        "learning_rate": rate,
        "grad_norm": update.grad_norm,
        "tokens": state.tokens,
        "tokens_per_second": round(tokens_per_second, 2),
        "peak_memory_bytes": peak_memory_bytes(job.policy.device),
        "seconds": round(state.seconds, 3),
    }
    line |= _means(state.window_measures)
    if job.unfreezing is not None:
        line["trained_layers"] = job.unfreezing.trained_layers
    state.window_loss = state.window_weight = 0.0
    state.window_measures = {}
    job.run.append_metrics(line)
    job.events.step(line)


def _evaluate_and_judge(job: Job, schedule: Schedule, state: TrainState) -> bool:
    """Measure the held-out loss, write it down, and say whether it is the lowest so far."""
    loss, measures = held_out_loss(job)
    if not math.isfinite(loss):
        updated = job.schedule.update(state.step - 1)
        raise _not_a_number(
            job, state.step - 1, "eval_loss after the update", [str(job.samples.place(n)) for n in updated]
        )
    line = {"step": state.step, "epoch": round(schedule.epoch_after(state.step), 6), "eval_loss": loss}
    line |= _means(measures, "eval_")
    job.run.append_metrics(line)
    job.events.eval(line)
    best = state.best_loss is None or loss < state.best_loss
    if best:
        state.best_loss, state.best_step = loss, state.step
    early = job.train.early_stop
    # What counts for patience is a fall by `min_delta`; the best checkpoint is the lowest loss, by however little.
    if state.judged_loss is None or loss < state.judged_loss - (early.min_delta if early else 0.0):
        state.judged_loss, state.evals_without_better = loss, 0
    else:
        state.evals_without_better += 1
    if early and state.evals_without_better >= early.patience and state.step < schedule.total_steps:
        state.stopped_early = True
        log.info(
            "stopping early at step %d: no better eval_loss for %d evaluations",
            state.step,
            state.evals_without_better,
        )
    return best


def held_out_loss(job: Job) -> tuple[float, dict[str, tuple[float, float]]]:
    """The method's loss over the held-out samples, its terms' sums over their total weights; and its measures.

    Of a method that is judged by a measure, the loss is that measure, negated.
    """
    if job.method.judged_by:
        return _held_out_measure(job)
    totals: dict[str, float] = {}
    for examples in _held_out(job):
        for name, weight in job.method.plan(examples).items():
            totals[name] = totals.get(name, 0.0) + weight
    loss = 0.0
    measures: dict[str, tuple[float, float]] = {}
    with job.policy.scoring_mode():
        for examples in _held_out(job):
            for batch in job.batches(examples):
                found = job.method.loss(job.policy, batch)
                loss += float(found.share_of(totals))
                _add_measures(measures, _sums_of(found))
    if job.method.needs_reference and job.policy.remembers:
        batches = (batch for examples in _held_out(job) for batch in job.batches(examples))
        measures["kl_from_reference"] = divergence_from_reference(job.policy, batches)
    return loss, measures


def _held_out_measure(job: Job) -> tuple[float, dict[str, tuple[float, float]]]:
    measures: dict[str, tuple[float, float]] = {}
    first = 0
    for examples in _held_out(job):
        assert job.rollouts is not None
        drawn = job.rollouts.of(None, range(first, first + len(examples)), examples)
        first += len(examples)
        with job.policy.scoring_mode():
            for batch in job.batches(drawn):
                _add_measures(measures, _sums_of(job.method.loss(job.policy, batch)))
    value, weight = measures[job.method.judged_by]
    return -value / weight, measures


def _held_out(job: Job) -> Iterator[list[Example]]:
    """The held-out samples, some at a time: they need not fit in memory."""
    for begin in range(0, len(job.held_out), _EVAL_SAMPLES_AT_ONCE):
        end = min(begin + _EVAL_SAMPLES_AT_ONCE, len(job.held_out))
        yield [job.held_out.example(number) for number in range(begin, end)]
