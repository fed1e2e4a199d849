"""loss.png: drawn for a run of any length, readable, without matplotlib's global state."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable

import numpy as np
import pytest

from tunesmith.report.curve import draw_curve, read_curves, smoothed
from tunesmith.rundir import RunDir


def size_of(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", png[16:24])


@pytest.mark.parametrize(
    ("steps", "eval_every"), [(0, 0), (1, 0), (1, 1), (2, 0), (12, 3), (200, 20), (6000, 1000)]
)
@pytest.mark.filterwarnings("error")
def test_a_run_of_any_length_is_drawn(
    run: RunDir, log_steps: Callable[..., None], steps: int, eval_every: int
) -> None:
    log_steps(run, steps, eval_every=eval_every)
    assert draw_curve(run) == run.curve
    width, height = size_of(run.curve.read_bytes())
    assert width >= 1200
    assert height >= 600


@pytest.mark.filterwarnings("error")
def test_lines_without_loss_or_rate_and_names_in_chinese_are_drawn(run: RunDir) -> None:
    chinese = RunDir(run.folder.with_name("诗 $x_1$"))
    chinese.folder.mkdir()
    chinese.append_metrics({"step": 1, "loss": 2.0})
    chinese.append_metrics({"step": 2, "loss": 2.0, "learning_rate": None})
    chinese.append_metrics({"step": 2, "eval_loss": 2.0})
    draw_curve(chinese)
    size_of(chinese.curve.read_bytes())


def test_a_resumed_run_is_one_line_in_the_order_of_steps() -> None:
    lines = [{"step": step, "loss": float(step)} for step in (1, 2, 3, 4)]
    lines += [{"step": 4, "eval_loss": 9.0}, {"step": 3, "loss": 30.0}, {"step": 4, "loss": 40.0}]
    curves = read_curves(lines)
    assert curves.train[0].tolist() == [1, 2, 3, 4]
    assert curves.train[1].tolist() == [1, 2, 30, 40]
    assert curves.eval[1].tolist() == [9.0]
    assert len(curves.rate[0]) == 0


def test_smoothing_keeps_the_mean_level_and_calms_the_noise() -> None:
    noise = np.random.default_rng(0).normal(2, 0.5, 600)
    calm = smoothed(noise)
    assert calm.shape == noise.shape
    assert calm.std() < 0.4 * noise.std()
    assert abs(calm.mean() - noise.mean()) < 0.02
    assert smoothed(np.full(50, 3.0)) == pytest.approx(3.0)
    assert smoothed(np.array([5.0])) == pytest.approx(5.0)


def test_the_same_metrics_give_the_same_bytes(run: RunDir, log_steps: Callable[..., None]) -> None:
    log_steps(run, 60, eval_every=10)
    first = draw_curve(run).read_bytes()
    assert draw_curve(run).read_bytes() == first


def test_pyplot_stays_out_of_it() -> None:
    import subprocess

    code = "import sys, tunesmith.report.curve; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
