"""SwanLab."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tunesmith.config.schema import SwanlabTracker
from tunesmith.errors import WorkError
from tunesmith.optional import require
from tunesmith.train.events import Outcome, RunInfo
from tunesmith.train.trackers.base import (
    END_SECONDS,
    START_SECONDS,
    Identity,
    Tracker,
    check_reachable,
    log,
    within,
)

_STATES = {"finished": "success", "failed": "crashed", "interrupted": "aborted"}
_OFFLINE_REMEDY = "choose `mode: offline` under track.swanlab and upload later with `swanlab sync`"


class Swanlab(Tracker):
    """A run at SwanLab, or its offline record in the run folder."""

    name = "swanlab"

    def __init__(self, options: SwanlabTracker) -> None:
        super().__init__()
        self._options = options
        self._swanlab = require("swanlab", wanted_by="the tracker swanlab")
        self._run: Any = None

    def wanted_name(self) -> str | None:
        return self._options.name

    def open(self, run: RunInfo, identity: Identity) -> int:
        folder = run.folder / "swanlab"
        if self._options.mode == "online":
            self._check_login()
        elif identity.seen_before:
            # The record of the killed process lacks its last lines and may be ahead of the checkpoint; ours is whole.
            for old in folder.glob(f"run-*-{identity.id}"):
                shutil.rmtree(old)
        # Started outside the main thread, SwanLab leaves Ctrl-C to us: at the first one it would close its run and
        # never see the steps and samples that follow.
        self._run = within(START_SECONDS, "starting SwanLab", lambda: self._init(run, identity, folder))
        log.info("swanlab: %s", self._run.url if self._options.mode == "online" else self._run.dir)
        # Steps that the server has, it refuses by itself, for each number apart.
        return 0

    def _init(self, run: RunInfo, identity: Identity, folder: Path) -> Any:
        folder.mkdir(exist_ok=True)
        settings = self._swanlab.Settings(
            interactive=False,
            terminal=self._swanlab.Settings.Terminal(proxy_type="none"),
            # `runtime` is the host's name, the working folder and the command line.
            probe=self._swanlab.Settings.Probe(runtime=False, requirements=False, conda=False, git=False),
        )
        return self._swanlab.init(
            project=self._options.project,
            name=identity.name,
            id=identity.id,
            resume="allow",
            mode=self._options.mode,
            log_dir=str(folder),
            config=run.recipe,
            reinit=True,
            settings=settings,
        )

    def _check_login(self) -> None:
        """Fail at once, where SwanLab would ask on the terminal or retry for long.

        Raises:
            WorkError: no login on this machine, or the server does not answer.
        """
        settings = self._swanlab.Settings()
        if not settings.api_key:
            raise WorkError(
                "there is no SwanLab login on this machine",
                remedy=f"run `swanlab login`, or {_OFFLINE_REMEDY}",
            )
        check_reachable(settings.api_host, remedy=_OFFLINE_REMEDY)

    def send(self, numbers: dict[str, float], step: int) -> None:
        self._run.log(numbers, step=step)

    def send_samples(self, samples: list[dict[str, Any]], step: int) -> None:
        texts = [
            self._swanlab.Text(
                f"base:\n{sample.get('base', '')}\n\ntuned:\n{sample.get('tuned', '')}", sample["prompt"]
            )
            for sample in samples
        ]
        self._run.log({"samples": texts}, step=step)

    def close(self, outcome: Outcome) -> None:
        state = _STATES[outcome.status]
        error = outcome.message or outcome.status if state == "crashed" else None
        # SwanLab itself waits for the network for ever.
        within(END_SECONDS, "closing SwanLab", lambda: self._run.finish(state=state, error=error))
