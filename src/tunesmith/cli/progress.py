"""What training looks like in a terminal: a live bar, or plain lines where there is no terminal."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from tunesmith.train.events import Listener, Outcome, RunInfo

_SECONDS_BETWEEN_LINES = 2.0


def bytes_in_words(count: int) -> str:
    """`1.3 GB`, `740 MB`."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


class LiveBar(Listener):
    """A bar with loss, speed, memory and the time left."""

    name = "progress bar"

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("[bold]training"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            expand=True,
        )
        self._task: TaskID | None = None
        self._step: dict[str, Any] | None = None
        self._eval = ""

    def on_start(self, run: RunInfo) -> None:
        self._progress.start()
        self._task = self._progress.add_task("", total=run.total_steps, completed=run.start_step, figures="")

    def on_step(self, metrics: dict[str, Any]) -> None:
        self._step = metrics
        self._show()

    def _show(self) -> None:
        if self._task is not None and self._step is not None:
            step = self._step
            figures = (
                f"loss {step['loss']:.3f}{self._eval}  {step['tokens_per_second']:,.0f} tok/s  "
                f"{bytes_in_words(step['peak_memory_bytes'])}"
            )
            self._progress.update(self._task, completed=step["step"], figures=figures)

    def on_eval(self, metrics: dict[str, Any]) -> None:
        self._eval = f" (eval {metrics['eval_loss']:.3f})"
        self._show()

    def on_end(self, outcome: Outcome) -> None:
        self._progress.stop()


class PlainLines(Listener):
    """A line now and then, for logs and pipes."""

    name = "progress lines"

    def __init__(self, console: Console) -> None:
        self._console = console
        self._total = 0
        self._last = float("-inf")

    def on_start(self, run: RunInfo) -> None:
        self._total = run.total_steps

    def on_step(self, metrics: dict[str, Any]) -> None:
        if time.monotonic() - self._last < _SECONDS_BETWEEN_LINES and metrics["step"] < self._total:
            return
        self._last = time.monotonic()
        left = (self._total - metrics["step"]) * metrics["seconds"] / metrics["step"]
        self._console.print(
            f"step {metrics['step']}/{self._total}  loss {metrics['loss']:.4f}  "
            f"{metrics['tokens_per_second']:,.0f} tok/s  {bytes_in_words(metrics['peak_memory_bytes'])}  "
            f"{left:.0f} s left",
            highlight=False,
            soft_wrap=True,
        )

    def on_eval(self, metrics: dict[str, Any]) -> None:
        self._console.print(
            f"step {metrics['step']}/{self._total}  eval_loss {metrics['eval_loss']:.4f}",
            highlight=False,
            soft_wrap=True,
        )


def progress_listener(console: Console) -> Listener:
    return LiveBar(console) if console.is_terminal else PlainLines(console)
