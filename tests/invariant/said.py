"""What a command says, what it leaves, and commands that are stopped while they work."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from tests.invariant.command import CommandServer, Started


def assert_says(output: str, *words: str) -> None:
    """Nothing but our own paragraph, holding these words."""
    lines = output.splitlines()
    assert lines, output
    assert all(line.startswith("error: ") and line.endswith((".", "?")) for line in lines), output
    assert "bug in tunesmith" not in output
    for word in words:
        assert word in output, output


def last_error(output: str) -> str:
    """The error that ends the output of a command which had worked for a while."""
    assert "Traceback" not in output
    assert "Logging error" not in output
    assert "bug in tunesmith" not in output
    *_, last = output.splitlines()
    assert last.startswith("error: "), output
    assert output.count("error: ") == 1, output
    return last


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def wait_for(started: Started, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        assert psutil.pid_exists(started.pid), "it ended before"
        time.sleep(0.002)


def printed(started: Started) -> str:
    return started._out.read_text("utf-8", errors="replace") if started._out.exists() else ""


@contextlib.contextmanager
def training(command: CommandServer, recipe: Path, run: Path) -> Iterator[Started]:
    """A long run that has taken its first step; afterwards it is stopped."""
    started = command.start("train", str(recipe), "train.epochs=100000", "-o", str(run), cwd=run.parent)
    wait_for(started, lambda: (run / "metrics.jsonl").exists())
    try:
        yield started
    finally:
        started.signal(signal.SIGKILL)
        started.wait()
