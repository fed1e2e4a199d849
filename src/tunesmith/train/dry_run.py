"""What a training step holds in memory, found by taking the step with tensors that have no memory.

The real policy, adapter, method and backward pass run once over a row, at two small depths of the model; what grows
with depth grows by the same amount a layer, so the whole model's numbers follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from tunesmith import huge_pages
from tunesmith.errors import InputError
from tunesmith.kernels.segment_attention import UnsupportedAttention
from tunesmith.methods import Method
from tunesmith.methods.base import Batch, Example, Teacher
from tunesmith.models.layers import decoder_layers
from tunesmith.models.policy import Policy
from tunesmith.models.pretend import LiveBytes, move_in, pack, pretending
from tunesmith.models.recompute import recomputable_layers, recompute_activations
from tunesmith.models.skeleton import first_line
from tunesmith.segments import Row, SegmentPlan
from tunesmith.train.optim import state_bytes

_HUGE_PAGE = 2 << 20  # bytes


class CannotPretend(Exception):
    """The model does something that depends on numbers, such as sending tokens to experts one by one, or that the
    segment attention does not know."""


@dataclass(frozen=True)
class Held:
    """Bytes beside the frozen weights. What a step holds at its peak is `activations + head + gradients`."""

    trainable: float  # the weights that learn
    optimizer: float
    kept: float  # activations at the end of the forward pass
    activations: float
    head: float  # the head's chunk of logits, where the peak is there
    gradients: float  # those that are there at the peak

    @property
    def step(self) -> float:
        return self.activations + self.head + self.gradients


@dataclass(frozen=True)
class StepMemory:
    """What a step holds, by the number of layers that are recomputed."""

    layers: int  # that can be recomputed
    none: Held
    all: Held

    def with_recomputed(self, layers: int) -> Held:
        """With so many layers recomputed: between `none` and `all`, never less than `all`."""
        if layers <= 0:
            return self.none
        if layers >= self.layers:
            return self.all
        saved = (self.none.kept - self.all.kept) * layers / self.layers
        if self.none.step - saved <= self.all.step:
            return self.all
        none = self.none
        return replace(none, activations=none.activations - saved, kept=none.kept - saved)


@dataclass(frozen=True)
class Trial:
    """What the step is taken with.

    Args:
        skeleton: makes the model on the meta device, without adapter, anew at each call.
        tune: puts the adapter on a model of so many layers, and settles what learns.
        packed: the type that quantised weights are unpacked to; None: they are not quantised.
        row: the row that takes most.
        examples: the samples of its update.
        teacher: what a method learns from, where that is another model.
        accumulates: whether gradients of an earlier row are there when the row comes.
    """

    skeleton: Callable[[], PreTrainedModel]
    tune: Callable[[PreTrainedModel, int], nn.Module]
    device: str
    compute: torch.dtype
    packed: torch.dtype | None
    method: Method
    row: Row
    examples: Sequence[Example]
    accumulates: bool
    segments: bool
    optimizer: str
    teacher: Teacher | None
    top_layers: int | None  # None: all layers learn, at once or in the end


def step_memory(trial: Trial) -> StepMemory:
    """Take the step, with no layer recomputed and with all.

    Raises:
        CannotPretend: the model's operations depend on numbers, which are not there.
    """
    layers, depths = _depths(trial.skeleton())
    layers = min(layers, trial.top_layers or layers)
    kept, recomputed = ([_run(trial, depth, recompute) for depth in depths] for recompute in (False, True))
    if len(depths) == 1:
        return StepMemory(kept[0].countable, _held(kept[0]), _held(recomputed[0]))
    more = (layers - depths[1]) / (depths[1] - depths[0])
    whole = _extrapolated(kept[0], kept[1], more)
    return StepMemory(whole.countable, _held(whole), _held(_extrapolated(recomputed[0], recomputed[1], more)))


@dataclass(frozen=True)
class _Taken:
    """A step at one depth. Each number grows by the same amount a layer, as long as it is of one moment of the step:
    so `peaks` has one for the forward pass, the head, and the backward passes of top layer, bottom layer and between."""

    countable: int  # layers that can be recomputed
    trainable: float
    optimizer: float
    kept: float
    head_began: float
    peaks: Mapping[str, tuple[float, float]]  # all that is held, and the gradients in it


def _extrapolated(low: _Taken, high: _Taken, more: float) -> _Taken:
    """`high` with `more` times what it has more than `low`."""

    def grown(one: float, two: float) -> float:
        return two + (two - one) * more

    return _Taken(
        round(grown(low.countable, high.countable)),
        grown(low.trainable, high.trainable),
        grown(low.optimizer, high.optimizer),
        grown(low.kept, high.kept),
        grown(low.head_began, high.head_began),
        {
            phase: (grown(low.peaks[phase][0], held), grown(low.peaks[phase][1], gradients))
            for phase, (held, gradients) in high.peaks.items()
            if phase in low.peaks
        },
    )


def _held(taken: _Taken) -> Held:
    phase, (most, gradients) = max(taken.peaks.items(), key=lambda item: item[1][0])
    head = most - taken.head_began if phase == "head" else 0
    return Held(taken.trainable, taken.optimizer, taken.kept, most - head - gradients, head, gradients)


def _depths(model: PreTrainedModel) -> tuple[int, tuple[int, ...]]:
    """How many layers a model has, and the depths to try: multiples of the pattern in which its layers differ."""
    text = model.config.get_text_config(decoder=True)
    try:
        there = len(decoder_layers(model))
    except InputError:  # it has layers of some other kind, all of which are run
        return text.num_hidden_layers, (text.num_hidden_layers,)
    kinds = list(getattr(text, "layer_types", None) or [""] * there)
    period = next(p for p in range(1, len(kinds) + 1) if kinds[p:] == kinds[: len(kinds) - p])
    low = period * -(-2 // period)
    return there, (there,) if low + period >= there else (low, low + period)


def cut(model: PreTrainedModel, depth: int) -> None:
    """Take away all layers but the lowest `depth`."""
    text = model.config.get_text_config(decoder=True)
    if depth < text.num_hidden_layers:
        del decoder_layers(model)[depth:]
        text.num_hidden_layers = depth
        if getattr(text, "layer_types", None):
            text.layer_types = text.layer_types[:depth]


def _run(trial: Trial, depth: int, recompute: bool) -> _Taken:
    """One step at one depth."""
    model = trial.skeleton()
    cut(model, depth)
    if trial.packed is not None:
        pack(model, trial.packed)
    with torch.device("meta"):
        tuned = trial.tune(model, depth)
    countable = recomputable_layers(model)
    if recompute and countable:
        recompute_activations(model)
    try:
        with pretending():
            move_in(tuned, trial.device)
            return _take(trial, tuned, countable)
    # As in the probe: what a family's code says when it is run in a way that it was not written for.
    except (RuntimeError, TypeError, ValueError, AttributeError, KeyError, UnsupportedAttention) as error:
        raise CannotPretend(first_line(error)[:150].rstrip(".")) from error


def _take(trial: Trial, tuned: nn.Module, layers: list[nn.Module]) -> _Taken:
    policy = Policy(tuned, segments=trial.segments, compute=trial.compute, seed=0)
    weights = policy.trainable()
    live = LiveBytes(_HUGE_PAGE if trial.device == "cpu" and huge_pages() else 0)
    live.ignore(tuned)
    # Its forms would be pretended ones; pictures leave nothing behind in a tower that is frozen.
    row = replace(trial.row, plan=SegmentPlan(trial.row.plan.segments), pictures=())
    head_began = 0

    def the_head_begins(*_: Any) -> None:
        nonlocal head_began
        live.phase, head_began = "head", live.now

    def one_more_gradient(weight: torch.Tensor) -> None:
        live.beside += weight.nbytes

    policy.trunk.register_forward_hook(the_head_begins)
    if len(layers) > 1:
        _name_phases_of_backward(live, layers)
    with live, policy.training_mode():
        live.phase = "forward"
        for weight in weights.values():
            if trial.accumulates:
                weight.grad = torch.zeros_like(weight)
                live.beside += weight.nbytes
            else:
                weight.register_post_accumulate_grad_hook(one_more_gradient)
        before = live.beside
        policy.seat(0, 0)
        found = trial.method.loss(policy, Batch((row,), trial.examples, teacher=trial.teacher))
        loss = torch.stack([term.sum for term in found.terms]).sum()
        kept, live.phase = live.now - before, "top"
        loss.backward()
    return _Taken(
        len(layers),
        sum(weight.nbytes for weight in weights.values()),
        state_bytes(weights.values(), trial.optimizer),
        kept,
        head_began,
        live.peaks,
    )


def _name_phases_of_backward(live: LiveBytes, layers: list[nn.Module]) -> None:
    """`top` while the uppermost layer is gone through, `bottom` at the lowest, `between` in between."""

    def when_done(layer: nn.Module, phase: str) -> None:
        def name(_: torch.Tensor) -> None:
            live.phase = phase

        def hook(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            states = given[0] if given else named["hidden_states"]
            if states.requires_grad:
                states.register_hook(name)

        layer.register_forward_pre_hook(hook, with_kwargs=True)

    when_done(layers[-1], "between")
    when_done(layers[1], "bottom")
