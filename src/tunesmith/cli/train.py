"""`tunesmith train`, `resume` and `quickstart`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from tunesmith.rundir import RunDir
    from tunesmith.train.events import Listener

_ANSWERS_SHOWN = 4


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or a shipped recipe's name.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings, such as train.epochs=2.")
    ] = None,
    output: Annotated[str | None, typer.Option("-o", "--output", help="The run folder.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a run that is already there.")] = False,
) -> None:
    """Train a recipe and show what it learned."""
    from tunesmith.config.load import load

    loaded = load(recipe, overrides or (), output=output)
    with _at_work() as (console, listeners, stop_wanted):
        from tunesmith import pipeline

        run = pipeline.train(loaded, overwrite=overwrite, listeners=listeners, stop_wanted=stop_wanted)
        _show_result(console, run)


def resume(run: Annotated[str, typer.Argument(help="The run folder.")]) -> None:
    """Go on with an interrupted run, to the same end as if it had never stopped."""
    with _at_work() as (console, listeners, stop_wanted):
        from tunesmith import pipeline

        _show_result(console, pipeline.resume(run, listeners=listeners, stop_wanted=stop_wanted))


def quickstart(
    output: Annotated[
        str, typer.Option("-o", "--output", help="The run folder; a run in it is replaced.")
    ] = ("runs/quickstart"),
) -> None:
    """Teach the embedded model five-character poems in about a minute, and see that it worked."""
    from tunesmith.cli.console import console
    from tunesmith.config.load import load

    loaded = load("poetry-nano", ["name=quickstart"], output=output)
    console.print(
        "The embedded model writes poems, but in any form. It now learns from 144 quatrains of five characters "
        "a line, and is asked before and after for poems on 20 topics that stand in no training text.\n"
    )
    with _at_work() as (console, listeners, stop_wanted):
        from tunesmith import pipeline

        run = pipeline.train(loaded, overwrite=True, listeners=listeners, stop_wanted=stop_wanted)
        _show_result(console, run)


def _show_result(console: Console, run: RunDir) -> None:
    """Before and after, and what to do next."""
    from tunesmith.cli.side_by_side import show
    from tunesmith.config.load import load
    from tunesmith.methods import METHODS
    from tunesmith.rundir import as_typed, read_json

    evidence = read_json(run.before_after)
    if evidence is not None and all("tuned" in sample for sample in evidence["samples"]):
        rows = [(s["prompt"], (s["base"], s["tuned"])) for s in evidence["samples"]]
        show(console, ("base", "tuned"), rows, evidence["scores"], at_most=_ANSWERS_SHOWN)
    result = run.result()
    lines = ["" if result is None else f"result   {as_typed(result)}", f"report   {as_typed(run.report)}"]
    writes = not METHODS[load(str(run.recipe)).method.name].scores
    for line in [*filter(None, lines), *([f"ask it   {run.command('chat')}"] if writes else [])]:
        console.print(line, highlight=False, soft_wrap=True, markup=False)


class _StopButton:
    """Ctrl-C while the loop runs asks it to stop after the step; at any other time it interrupts at once."""

    def __init__(self) -> None:
        self.importing = True
        self.in_loop = False
        self.pressed = False

    def press(self, *_: Any) -> None:
        if self.importing:
            # An exception would meet torch in the middle of its start-up, and abort it. Nothing has been done yet.
            os.write(sys.stderr.fileno(), b"interrupted; nothing was done yet\n")
            os._exit(130)
        if not self.in_loop or self.pressed:
            raise KeyboardInterrupt
        self.pressed = True
        # Straight to the terminal: the signal may have come in the middle of a print of rich's.
        os.write(
            sys.stderr.fileno(),
            b"\nfinishing this step and writing a checkpoint; Ctrl-C again stops at once\n",
        )

    def listener(self) -> Listener:
        from tunesmith.train.events import Listener, RunInfo

        button = self

        class LoopWatch(Listener):
            name = "interrupt handling"

            def on_start(self, run: RunInfo) -> None:
                self.total_steps = run.total_steps
                button.in_loop = run.start_step < run.total_steps

            def on_step(self, metrics: dict[str, Any]) -> None:
                if metrics["step"] >= self.total_steps:
                    button.in_loop = False

        return LoopWatch()


@contextmanager
def _at_work() -> Iterator[tuple[Console, list[Listener], Callable[[], bool]]]:
    """The terminal while a run is worked on: log lines, the progress bar, and what Ctrl-C does."""
    from tunesmith.cli.console import console, log_to_console, quiet_libraries
    from tunesmith.errors import no_room_is_a_work_error

    button = _StopButton()
    before = {number: signal.signal(number, button.press) for number in _stop_signals()}
    try:
        quiet_libraries()
        # What takes seconds to import is imported here.
        from tunesmith import pipeline as _pipeline  # noqa: F401
        from tunesmith.cli.progress import progress_listener

        button.importing = False
        # The run's own files say so themselves; this is for output that goes to a file on the same full disk.
        full = no_room_is_a_work_error("this command's output", "free some disk space and go on with the run")
        with full, log_to_console():
            yield console, [progress_listener(console), button.listener()], lambda: button.pressed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop_signals() -> tuple[signal.Signals, ...]:
    # What a scheduler sends before it kills deserves a checkpoint too; Windows has only Ctrl-C.
    return (signal.SIGINT,) if sys.platform == "win32" else (signal.SIGINT, signal.SIGTERM)
