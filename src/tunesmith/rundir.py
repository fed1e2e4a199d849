"""The run folder: the only file that knows the names in it.

    runs/NAME/
      recipe.yaml         the resolved recipe, every default filled in
      environment.json    versions, hardware, seeds, automatic choices, fingerprints
      data.json           what was read, kept and dropped
      metrics.jsonl       one JSON object a logged step
      loss.png            the loss curve
      checkpoints/step-000010/
      adapter/ or model/  the result (`run.result` puts it elsewhere)
      before_after.json   base and tuned answers, side by side
      report.html         one page of all the above
      train.log           timestamped lines
      trackers.json       how the trackers know this run, so that a resumed one goes on there

Whatever is written here appears whole or not at all: a temporary neighbour is written, flushed to the disk and
renamed, so a process killed at any moment leaves either the old file or the new one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tunesmith.errors import InputError, no_room_is_a_work_error

_CHECKPOINT = re.compile(r"step-(\d{6,})")
_FREE_SOME = "free some disk space and go on with `tunesmith resume`; the checkpoints already there are whole"


def fsync_folder(folder: Path) -> None:
    """Flush a folder's own entries to the disk, where the system can (Windows has no such call)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole: to a temporary neighbour, flushed, renamed.

    Raises:
        WorkError: the disk is full; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with no_room_is_a_work_error(str(path), _FREE_SOME):
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    fsync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole, indented, non-ASCII kept, NaN refused."""
    write_bytes(path, (json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file of ours; None where there is none."""
    return json.loads(path.read_text("utf-8")) if path.exists() else None


@contextmanager
def folder_written_whole(folder: Path) -> Iterator[Path]:
    """Give a temporary folder to fill; on success it takes the place of `folder`, on failure it vanishes.

    Raises:
        WorkError: the disk is full; `folder` is as it was before.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with no_room_is_a_work_error(str(folder), _FREE_SOME):
            temporary.mkdir()
            yield temporary
            for path in temporary.rglob("*"):
                if path.is_file():
                    with path.open("rb") as file:
                        os.fsync(file.fileno())
            fsync_folder(temporary)
            if folder.exists():
                # No system call swaps two folders everywhere; the old one steps aside for the blink between.
                aside = folder.with_name(f".{folder.name}.old")
                shutil.rmtree(aside, ignore_errors=True)
                os.replace(folder, aside)
                os.replace(temporary, folder)
                shutil.rmtree(aside, ignore_errors=True)
            else:
                os.replace(temporary, folder)
            fsync_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class RunDir:
    """The paths of one run and the plain reading and writing of its files."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.recipe = self.folder / "recipe.yaml"
        self.environment = self.folder / "environment.json"
        self.data = self.folder / "data.json"
        self.metrics = self.folder / "metrics.jsonl"
        self.curve = self.folder / "loss.png"
        self.checkpoints = self.folder / "checkpoints"
        self.adapter = self.folder / "adapter"
        self.model = self.folder / "model"
        self.before_after = self.folder / "before_after.json"
        self.report = self.folder / "report.html"
        self.log = self.folder / "train.log"
        self.trackers = self.folder / "trackers.json"

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    def holds_a_run(self) -> bool:
        """A run begins to exist with its recipe, which `create` puts there in one rename."""
        return self.recipe.is_file()

    def create(self, recipe_yaml: str, *, overwrite: bool) -> None:
        """Begin a run: the folder appears together with its recipe.

        Raises:
            InputError: the folder holds a run already, or something that is not a run.
        """
        if self.folder.exists() and any(p.name != ".lock" for p in self.folder.iterdir()):
            if not overwrite:
                if self.holds_a_run():
                    raise InputError(
                        f"{self.folder} already holds a run",
                        remedy=f"go on with it: tunesmith resume {self.folder} — replace it: add --overwrite — "
                        "or choose another folder with -o",
                    )
                raise InputError(
                    f"{self.folder} exists and holds files that are not a run",
                    remedy="choose another folder with -o",
                )
            if not self.holds_a_run():
                raise InputError(
                    f"{self.folder} holds files that are not a run, so --overwrite leaves it alone",
                    remedy="choose another folder with -o, or empty it yourself",
                )
            # The recipe goes first: a folder without one is no run, whenever we are stopped.
            self.recipe.unlink()
            for path in self.folder.iterdir():
                if path.name != ".lock":
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.folder.mkdir(parents=True, exist_ok=True)
        write_bytes(self.recipe, recipe_yaml.encode())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for one process; the system lets go of it even when the process is killed.

        Raises:
            InputError: another process is working in the folder.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"{self.folder} is in use by another tunesmith process",
                remedy="wait for it to end, or choose another folder with -o",
            ) from None
        try:
            yield
        finally:
            lock.release()

    def checkpoint(self, step: int) -> Path:
        return self.checkpoints / f"step-{step:06d}"

    def checkpoints_newest_first(self) -> list[Path]:
        """The checkpoint folders there are, whole or damaged, newest first."""
        if not self.checkpoints.is_dir():
            return []
        named = [path for path in self.checkpoints.iterdir() if _CHECKPOINT.fullmatch(path.name)]
        return sorted(named, key=lambda path: int(path.name.removeprefix("step-")), reverse=True)

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Add one line to metrics.jsonl."""
        with (
            no_room_is_a_work_error(str(self.metrics), _FREE_SOME),
            self.metrics.open("a", encoding="utf-8") as file,
        ):
            file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")

    def metrics_length(self) -> int:
        """The length of metrics.jsonl in bytes, on the disk for sure: a checkpoint will point at it."""
        if not self.metrics.exists():
            return 0
        with self.metrics.open("rb+") as file:
            os.fsync(file.fileno())
        return self.metrics.stat().st_size

    def cut_metrics(self, length: int) -> None:
        """Forget the metrics past a checkpoint; resume writes them anew."""
        if self.metrics.exists():
            with self.metrics.open("rb+") as file:
                file.truncate(length)

    def read_metrics(self) -> list[dict[str, Any]]:
        """The whole lines of metrics.jsonl (a kill may have left half of the last)."""
        if not self.metrics.exists():
            return []
        lines = self.metrics.read_text("utf-8").split("\n")
        return [json.loads(line) for line in lines[:-1] if line]

    def result(self) -> Path | None:
        """The folder with the tuned weights, wherever the recipe put it; None while there is none."""
        elsewhere = (read_json(self.environment) or {}).get("result")
        for folder in ([Path(elsewhere)] if elsewhere else []) + [self.adapter, self.model]:
            if folder.is_dir():
                return folder
        return None
