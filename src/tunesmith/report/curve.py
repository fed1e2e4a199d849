"""The loss curve: train and eval loss over the steps, what the method measures, the learning rate on a thin panel."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from tunesmith.rundir import RunDir, write_bytes

_INK, _FAINT, _GRID = "#24292f", "#6e7781", "#e6e8eb"
_TRAIN, _EVAL = "#2f6fb0", "#d9622b"
_SMOOTH_FROM = 40  # fewer points are read better as they are

Series = tuple[NDArray[np.float64], NDArray[np.float64]]  # steps, values; both [points]


class Panel(NamedTuple):
    """What methods measure beside their loss; `lines` are names in metrics.jsonl, with what the legend calls them."""

    label: str
    lines: Mapping[str, str]


# A held-out value is drawn in the same panel, as points, where there is one (`eval_` in front of the name).
PANELS = (
    Panel("told apart", {"reward_accuracy": "pairs told apart"}),
    Panel("reward", {"reward_chosen": "better answers", "reward_rejected": "worse answers"}),
    Panel("reward", {"reward_good": "good answers", "reward_bad": "bad answers"}),
    Panel("reward", {"reward": "mean of the drawn answers"}),
    Panel("answers", {"answer_tokens": "tokens of a drawn answer"}),
    Panel("teacher", {"divergence": "divergence from the teacher", "nll": "loss of the data's own tokens"}),
    Panel("same token", {"teacher_agreement": "likeliest token is the teacher's"}),
    Panel("moved", {"kl": "estimated distance to the reference"}),
    Panel("moved", {"kl_from_reference": "distance to the reference, nats a token"}),
    Panel("moved", {"shift_chosen": "better answers, nats a token", "shift_rejected": "worse answers"}),
    Panel("log-probability", {"logprob_good": "good answers", "logprob_bad": "bad answers"}),
    Panel("log-probability", {"logprob_chosen": "better answers", "logprob_rejected": "worse answers"}),
)
_LINES = (_TRAIN, "#8a4fa3")


@dataclass(frozen=True)
class Curves:
    """What is drawn: each a series over steps, perhaps empty. `measures` are those that panels show, by name."""

    train: Series
    eval: Series
    rate: Series
    measures: dict[str, Series]

    def panels(self) -> list[Panel]:
        """The panels that there is something to draw on."""
        there = {name.removeprefix("eval_") for name in self.measures}
        return [panel for panel in PANELS if not there.isdisjoint(panel.lines)]


def draw_curve(run: RunDir) -> Path:
    """Draw loss.png from metrics.jsonl, and give its path.

    A run without a logged step yet gets an empty frame that says so.
    """
    curves = read_curves(run.read_metrics())
    panels, with_rate = curves.panels(), len(curves.rate[0]) > 1
    heights = [4.2, *[1.8] * len(panels), *[1.0] * with_rate]
    # Figure and canvas by hand: pyplot keeps figures in a global list, and a notebook's user has their own there.
    size = (9, 4.4 + 1.9 * len(panels) + with_rate)
    figure = Figure(figsize=size, dpi=150, facecolor="white", layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    above = axes[0]
    _draw_loss(above, curves)
    for panel, place in zip(panels, axes[1:], strict=False):
        _draw_measures(place, panel, curves)
    if with_rate:
        _draw_rate(axes[-1], curves.rate)
    axes[-1].set_xlabel("step", color=_INK)
    figure.align_ylabels()
    # The font that matplotlib brings along has no Chinese.
    title = run.name if run.name.isascii() else "loss"
    above.set_title(title, loc="left", fontsize=13, color=_INK, pad=12, parse_math=False)

    picture = io.BytesIO()
    canvas.print_png(picture, metadata={"Software": "tunesmith"})
    write_bytes(run.curve, picture.getvalue())
    return run.curve


def read_curves(lines: list[dict[str, Any]]) -> Curves:
    """The series in the lines of metrics.jsonl; where a step was logged twice, the later line counts."""

    def series(name: str) -> Series:
        points = {line["step"]: line[name] for line in lines if line.get(name) is not None}
        steps = sorted(points)
        return np.array(steps, dtype=np.float64), np.array([points[step] for step in steps], dtype=np.float64)

    names = [name for panel in PANELS for line in panel.lines for name in (line, f"eval_{line}")]
    measures = {name: found for name in names if len((found := series(name))[0])}
    return Curves(series("loss"), series("eval_loss"), series("learning_rate"), measures)


def smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A mean over about a thirtieth of the points, centred, and cut off at both ends.

    Args:
        values: [points], at least one.

    Returns:
        [points]
    """
    half = max(1, len(values) // 60)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    first, past_last = np.maximum(places - half, 0), np.minimum(places + half + 1, len(values))
    return (sums[past_last] - sums[first]) / (past_last - first)


def _draw_loss(axes: Axes, curves: Curves) -> None:
    steps, losses = curves.train
    if len(steps) >= _SMOOTH_FROM:
        axes.plot(steps, losses, color=_TRAIN, alpha=0.28, linewidth=0.9)
        axes.plot(steps, smoothed(losses), color=_TRAIN, linewidth=2.2, label="train (smoothed)")
    elif len(steps):
        axes.plot(
            steps,
            losses,
            color=_TRAIN,
            linewidth=2,
            marker="o",
            markersize=4 if len(steps) > 1 else 7,
            label="train",
        )
    if len(curves.eval[0]):
        axes.plot(
            *curves.eval, color=_EVAL, linewidth=1.6, marker="o", markersize=5, label="eval", clip_on=False
        )
    if axes.lines:
        axes.legend(frameon=False, labelcolor=_INK, fontsize=11)
    else:
        axes.text(
            0.5, 0.5, "no step logged yet", transform=axes.transAxes, ha="center", color=_FAINT, fontsize=12
        )
    axes.set_ylabel("loss", color=_INK)
    _quiet(axes)
    if len(steps) <= 1:
        axes.set_xticks(steps)
    if not axes.lines:
        axes.set_yticks([])


def _draw_measures(axes: Axes, panel: Panel, curves: Curves) -> None:
    for (name, label), colour in zip(panel.lines.items(), _LINES, strict=False):
        if name in curves.measures:
            steps, values = curves.measures[name]
            smooth = smoothed(values) if len(steps) >= _SMOOTH_FROM else values
            marker = "o" if len(steps) == 1 else ""
            axes.plot(steps, smooth, color=colour, linewidth=1.8, label=label, marker=marker)
        if (held_out := curves.measures.get(f"eval_{name}")) is not None:
            axes.plot(
                *held_out, color=colour, linestyle="", marker="o", markersize=5, markerfacecolor="white",
                label="held-out" if len(panel.lines) == 1 else None, clip_on=False,
            )  # fmt: skip
    axes.set_ylabel(panel.label, color=_INK)
    axes.legend(frameon=False, labelcolor=_INK, fontsize=10)
    if panel.label == "told apart":
        axes.set_ylim(0, 1.05)
        axes.set_yticks([0, 0.5, 1], ["0", "half", "all"])
    _quiet(axes)


def _draw_rate(axes: Axes, rate: Series) -> None:
    axes.plot(*rate, color=_FAINT, linewidth=1.6)
    axes.fill_between(*rate, color=_FAINT, alpha=0.12, linewidth=0)
    axes.set_ylabel("learning\nrate", color=_INK)
    axes.set_ylim(bottom=0)
    peak = float(rate[1].max())
    axes.set_yticks([0.0, peak], ["0", f"{peak:.2g}"])
    _quiet(axes)


def _quiet(axes: Axes) -> None:
    """Only what is read: no box, faint horizontal lines, whole steps."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_FAINT, labelsize=10.5, length=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.02)
    axes.yaxis.label.set_fontsize(11.5)
    axes.xaxis.label.set_fontsize(11.5)
