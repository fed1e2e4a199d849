"""What all trackers share: the run's identity across resumes, and telling every step exactly once.

A tracker is somebody else's package and network. It may fail — then the run goes on without it (see `Events`) — but it
may not ask questions, and it may not keep the run waiting for long.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import ssl
import time
import urllib.error
import urllib.request
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from tunesmith.errors import WorkError
from tunesmith.rundir import RunDir, write_json
from tunesmith.train.events import Listener, Outcome, RunInfo

log = logging.getLogger("tunesmith")

Result = TypeVar("Result")

START_SECONDS = 20.0  # the longest wait for a tracker's server at the start
KNOCK_SECONDS = 10.0  # the longest wait for a sign of life, before that
END_SECONDS = 60.0  # the longest wait for the last uploads; what is left lies in the run folder


@dataclass(frozen=True)
class Identity:
    """A run as the tracker knows it, the same before and after a resume."""

    id: str
    name: str
    seen_before: bool  # an earlier process of this run has told the tracker something


class Tracker(Listener, ABC):
    """A listener that passes every number on, once.

    A tracker writes `open`, `send`, `send_samples` and `close`. A killed process loses what the package had not yet
    flushed, and has told of steps that resume takes anew. So a resumed run first replays metrics.jsonl, which ends at
    the checkpoint, leaving out the steps that the other side says it has: no step is missing and none is there twice.
    """

    # What is open in this process: a run that crashed in a notebook leaves its trackers here, for the next to close.
    _open: ClassVar[list[Tracker]] = []

    def __init__(self) -> None:
        self._reached = 0  # the last step that the other side has
        self._step = 0

    @abstractmethod
    def open(self, run: RunInfo, identity: Identity) -> int:
        """Begin, or go on with, the run there; the last step that is there already, 0 if none."""

    @abstractmethod
    def send(self, numbers: dict[str, float], step: int) -> None: ...

    @abstractmethod
    def send_samples(self, samples: list[dict[str, Any]], step: int) -> None: ...

    @abstractmethod
    def close(self, outcome: Outcome) -> None: ...

    def wanted_name(self) -> str | None:
        """The name in the recipe, `{name}` and `{time}` not yet filled in."""
        return None

    def on_start(self, run: RunInfo) -> None:
        identity = identity_of(self.name, run, self.wanted_name())
        self._step = run.start_step
        self._reached = self.open(run, identity)
        self._open.append(self)
        for line in RunDir(run.folder).read_metrics():
            if line["step"] <= run.start_step:
                self._pass_on(line)

    def on_step(self, metrics: dict[str, Any]) -> None:
        self._pass_on(metrics)

    def on_eval(self, metrics: dict[str, Any]) -> None:
        self._pass_on(metrics)

    def _pass_on(self, line: dict[str, Any]) -> None:
        self._step = line["step"]
        numbers = numbers_in(line)
        if self._step > self._reached and numbers:
            self.send(numbers, self._step)

    def on_samples(self, before_after: dict[str, Any]) -> None:
        scores = before_after.get("scores") or {}
        numbers = {
            f"{side}/{name}": value
            for side in ("base", "tuned")
            for name, value in numbers_in(scores.get(side)).items()
        }
        if numbers:
            self.send(numbers, self._step)
        if before_after.get("samples"):
            self.send_samples(before_after["samples"], self._step)

    def on_end(self, outcome: Outcome) -> None:
        if self in self._open:
            self._open.remove(self)
            self.close(outcome)


def close_what_a_crash_left_open() -> None:
    """Close the trackers of an earlier run in this process that never came to its end."""
    for tracker in list(Tracker._open):
        tracker.on_end(Outcome("failed", "the run was left without an end"))


def numbers_in(line: dict[str, Any] | None) -> dict[str, float]:
    """The numbers of a line of metrics; the step is its place, not one of them."""
    return {
        name: value
        for name, value in (line or {}).items()
        if name != "step" and isinstance(value, int | float) and not isinstance(value, bool)
    }


def identity_of(tracker: str, run: RunInfo, wanted_name: str | None) -> Identity:
    """Read this run's identity from the run folder, or give it one and keep it there.

    The file goes with the run folder: `--overwrite` empties the folder, and the new run is a new one to the tracker.
    """
    path = RunDir(run.folder).trackers
    known = _read_or_nothing(path)
    if tracker in known:
        return Identity(known[tracker]["id"], known[tracker]["name"], seen_before=True)
    identity = Identity(uuid.uuid4().hex[:12], filled_in(wanted_name or "{name}", run), seen_before=False)
    write_json(path, known | {tracker: {"id": identity.id, "name": identity.name}})
    return identity


def _read_or_nothing(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def filled_in(name: str, run: RunInfo) -> str:
    """`{name}` becomes the recipe's name, `{time}` the time of the start."""
    return name.replace("{name}", run.name).replace("{time}", time.strftime("%Y%m%d-%H%M%S"))


def within(seconds: float, what: str, function: Callable[[], Result]) -> Result:
    """Run `function` in a thread that can be left behind, for packages that would wait for the network for ever.

    Raises:
        WorkError: it took longer than `seconds`.
    """
    # The threads of this pool, unlike those of concurrent.futures, do not hold up the end of the process.
    with ThreadPool(1) as pool:
        try:
            return pool.apply_async(function).get(timeout=seconds)
        except multiprocessing.TimeoutError:
            raise WorkError(f"{what} took longer than {seconds:.0f} s") from None


def check_reachable(url: str, *, remedy: str) -> None:
    """Knock at a server, through the proxies of the environment; any answer will do, an error page too.

    The packages retry for many seconds and warn each time; this finds out at once.

    Raises:
        WorkError: nobody answers.
    """
    if trouble := within(KNOCK_SECONDS, f"reaching {url}", lambda: _trouble_reaching(url)):
        raise WorkError(f"{url} cannot be reached ({trouble})", remedy=remedy)


def _trouble_reaching(url: str) -> str | None:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=KNOCK_SECONDS / 2):
            return None
    except (urllib.error.HTTPError, HTTPException):
        return None
    except urllib.error.URLError as error:
        # Where only the certificate is doubted somebody is there, and the package has its own settings for that.
        return None if isinstance(error.reason, ssl.SSLError) else str(error.reason)
    except OSError as error:
        return str(error)
