"""Weights & Biases."""

from __future__ import annotations

import os
import shutil
from types import ModuleType
from typing import Any

from tunesmith.config.schema import WandbTracker
from tunesmith.errors import WorkError
from tunesmith.optional import require
from tunesmith.train.events import Outcome, RunInfo
from tunesmith.train.trackers.base import END_SECONDS, START_SECONDS, Identity, Tracker, check_reachable, log

# What wandb makes of these at the end: finished, failed, and killed by the user.
_EXIT_CODES = {"finished": 0, "failed": 1, "interrupted": 255}
_OFFLINE_REMEDY = "choose `mode: offline` under track.wandb and upload later with `wandb sync`"


class Wandb(Tracker):
    """A run at Weights & Biases, or its offline record in the run folder."""

    name = "wandb"

    def __init__(self, options: WandbTracker) -> None:
        super().__init__()
        self._options = options
        # wandb reports its own crashes to its makers unless this says no before it is imported.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        self._wandb = require("wandb", wanted_by="the tracker wandb")
        self._run: Any = None

    def wanted_name(self) -> str | None:
        return self._options.name

    def open(self, run: RunInfo, identity: Identity) -> int:
        if self._options.mode == "online":
            self._check_login()
        elif identity.seen_before:
            # The record of the killed process lacks its last lines and may be ahead of the checkpoint; ours is whole.
            for folder in (run.folder / "wandb").glob(f"offline-run-*-{identity.id}"):
                shutil.rmtree(folder)
        self._run = self._wandb.init(
            project=self._options.project,
            name=identity.name,
            id=identity.id,
            resume="allow",
            mode=self._options.mode,
            dir=str(run.folder),
            config=run.recipe,
            # A run that the user holds open in the same notebook stays theirs.
            reinit="create_new",
            settings=_settings(self._wandb),
        )
        log.info(
            "wandb: %s", self._run.url if self._options.mode == "online" else self._run.settings.sync_dir
        )
        return int(self._run.step) - 1 if self._run.resumed else 0

    def _check_login(self) -> None:
        """Fail at once, where wandb would ask on the terminal or wait for the network.

        Raises:
            WorkError: no login on this machine, or the server does not answer.
        """
        if not self._wandb.login(prompt=False, verify=False):
            raise WorkError(
                "there is no Weights & Biases login on this machine",
                remedy=f"run `wandb login`, or {_OFFLINE_REMEDY}",
            )
        check_reachable(self._wandb.setup().settings.base_url, remedy=_OFFLINE_REMEDY)

    def send(self, numbers: dict[str, float], step: int) -> None:
        self._run.log(numbers, step=step)

    def send_samples(self, samples: list[dict[str, Any]], step: int) -> None:
        rows = [
            [
                sample["prompt"],
                sample.get("base", ""),
                sample.get("tuned", ""),
                bool(sample.get("trained_on")),
            ]
            for sample in samples
        ]
        table = self._wandb.Table(columns=["prompt", "base", "tuned", "trained_on"], data=rows)
        self._run.log({"samples": table}, step=step)

    def close(self, outcome: Outcome) -> None:
        self._run.finish(exit_code=_EXIT_CODES[outcome.status])


def _settings(wandb: ModuleType) -> Any:
    """No console capture, no code, no git, no account of the machine; numbers, recipe and samples only."""
    return wandb.Settings(
        silent=True,
        console="off",
        symlink=False,
        save_code=False,
        disable_code=True,
        disable_git=True,
        label_disable=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
        init_timeout=START_SECONDS,
        finish_timeout=END_SECONDS,
    )
