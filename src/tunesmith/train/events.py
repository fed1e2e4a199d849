"""What the loop tells the world. The progress bar, the log and the trackers listen; the loop knows none of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

log = logging.getLogger("tunesmith")


@dataclass(frozen=True)
class RunInfo:
    """What a listener learns at the start."""

    name: str
    folder: Path
    recipe: dict[str, Any]  # the resolved recipe as plain JSON values
    environment: dict[str, Any]
    total_steps: int
    start_step: int  # 0, or the step that a resumed run goes on from


@dataclass(frozen=True)
class Outcome:
    """How a run ended. `message` says why when it did not finish."""

    status: Literal["finished", "failed", "interrupted"]
    message: str = ""


class Listener:
    """Override what you care about. `critical` listeners may stop the run by raising; the others warn once."""

    name = "listener"
    critical = False

    def on_start(self, run: RunInfo) -> None: ...

    def on_step(self, metrics: dict[str, Any]) -> None:
        """A line of metrics.jsonl: step, epoch, loss, learning_rate, grad_norm, tokens, tokens_per_second, ..."""

    def on_eval(self, metrics: dict[str, Any]) -> None:
        """{"step", "epoch", "eval_loss", ...}."""

    def on_checkpoint(self, step: int, folder: Path) -> None: ...

    def on_samples(self, before_after: dict[str, Any]) -> None:
        """The content of before_after.json, once it is whole."""

    def on_end(self, outcome: Outcome) -> None: ...


class LogLines(Listener):
    """What train.log tells of the loop; too much for a terminal, which has the progress bar."""

    name = "log lines"

    def on_step(self, metrics: dict[str, Any]) -> None:
        log.debug(
            "step %d: loss %.4f, grad_norm %.3f", metrics["step"], metrics["loss"], metrics["grad_norm"]
        )

    def on_eval(self, metrics: dict[str, Any]) -> None:
        log.debug("step %d: eval_loss %.4f", metrics["step"], metrics["eval_loss"])

    def on_checkpoint(self, step: int, folder: Path) -> None:
        log.debug("checkpoint %s", folder.name)

    def on_end(self, outcome: Outcome) -> None:
        log.debug("%s", outcome.status)


class Events:
    """Tells every listener; a failing one warns once and is left out from then on, but is still closed at the end."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = list(listeners)
        self._silenced: set[int] = set()

    def _tell(self, what: str, *arguments: Any) -> None:
        for listener in self._listeners:
            if id(listener) in self._silenced and what != "on_end":
                continue
            if listener.critical:
                getattr(listener, what)(*arguments)
                continue
            try:
                getattr(listener, what)(*arguments)
            # A tracker is somebody else's code and network: whatever it raises, training goes on.
            except Exception as error:  # noqa: BLE001
                if id(listener) not in self._silenced:
                    log.warning("%s failed and is left out from here on: %s", listener.name, error)
                self._silenced.add(id(listener))

    def start(self, run: RunInfo) -> None:
        self._tell("on_start", run)

    def step(self, metrics: dict[str, Any]) -> None:
        self._tell("on_step", metrics)

    def eval(self, metrics: dict[str, Any]) -> None:
        self._tell("on_eval", metrics)

    def checkpoint(self, step: int, folder: Path) -> None:
        self._tell("on_checkpoint", step, folder)

    def samples(self, before_after: dict[str, Any]) -> None:
        self._tell("on_samples", before_after)

    def end(self, outcome: Outcome) -> None:
        self._tell("on_end", outcome)
