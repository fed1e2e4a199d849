"""TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tunesmith.config.schema import TensorboardTracker
from tunesmith.optional import require
from tunesmith.train.events import Outcome, RunInfo
from tunesmith.train.trackers.base import Identity, Tracker, filled_in, log


class Tensorboard(Tracker):
    """Event files for TensorBoard, in the run folder unless the recipe names another."""

    name = "tensorboard"

    def __init__(self, options: TensorboardTracker) -> None:
        super().__init__()
        self._options = options
        require("tensorboard", wanted_by="the tracker tensorboard")
        self._writer: Any = None

    def open(self, run: RunInfo, identity: Identity) -> int:
        from torch.utils.tensorboard import SummaryWriter

        folder = (
            Path(filled_in(self._options.folder, run)) if self._options.folder else run.folder / "tensorboard"
        )
        # What a killed process left is hidden from step 0 on, and written anew.
        self._writer = SummaryWriter(str(folder), purge_step=0 if identity.seen_before else None)
        recipe = json.dumps(run.recipe, ensure_ascii=False, indent=2)
        self._writer.add_text("recipe", "\n".join(f"    {line}" for line in recipe.splitlines()), 0)
        log.info("tensorboard: tensorboard --logdir %s", folder)
        return 0

    def send(self, numbers: dict[str, float], step: int) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def send_samples(self, samples: list[dict[str, Any]], step: int) -> None:
        rows = [[sample["prompt"], sample.get("base", ""), sample.get("tuned", "")] for sample in samples]
        self._writer.add_text("samples", _markdown_table(["prompt", "base", "tuned"], rows), step)

    def close(self, outcome: Outcome) -> None:
        self._writer.close()


def _markdown_table(head: list[str], rows: list[list[str]]) -> str:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", r"\|").replace("\n", "<br>") for cell in cells) + " |"

    return "\n".join([line(head), line(["---"] * len(head)), *map(line, rows)])
