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
      evaluation.json     the scores on held-out rows; evaluation.jsonl, a line a row
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
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tunesmith.errors import InputError, failed_writing_is_a_work_error, no_room_is_a_work_error

_CHECKPOINT = re.compile(r"step-(\d{6,})")
_FREE_SOME = "free some disk space and go on with `tunesmith resume`; the checkpoints already there are whole"
# The same for what is not a run.
FREE_AND_REPEAT = "free some disk space and run the same again"
_ELSEWHERE = "choose another folder with -o"

# How a recipe that tunesmith wrote begins. A user's own recipe.yaml beside their data makes no run of that folder.
_WRITTEN_BY_US = b"# Written by tunesmith"
# What may lie in a run folder, so that replacing a run deletes nothing else.
_NAMES = {
    "recipe.yaml",
    "environment.json",
    "data.json",
    "metrics.jsonl",
    "drawn.jsonl",
    "loss.png",
    "checkpoints",
    "adapter",
    "model",
    "before_after.json",
    "evaluation.json",
    "evaluation.jsonl",
    "report.html",
    "train.log",
    "trackers.json",
    "wandb",
    "swanlab",
    "tensorboard",
}
_STEPPED_ASIDE = re.compile(r"\.(.+)\.(?:tmp|old)")


def fsync_folder(folder: Path) -> None:
    """Flush a folder's own entries to the disk, where the system can (Windows has no such call)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, content: bytes, *, remedy: str = _FREE_SOME) -> None:
    """Write a file whole: to a temporary neighbour, flushed, renamed.

    Raises:
        WorkError: the disk is full; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with failed_writing_is_a_work_error(str(path), remedy):
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            fsync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any, *, remedy: str = _FREE_SOME) -> None:
    """Write a JSON file whole, indented, non-ASCII kept, NaN refused."""
    content = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    write_bytes(path, content.encode(), remedy=remedy)


def write_json_lines(path: Path, values: Iterable[Any]) -> None:
    """Write a file of JSON values whole, one a line, non-ASCII kept, NaN refused."""
    lines = [json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n" for value in values]
    write_bytes(path, "".join(lines).encode())


def read_json_lines(path: Path) -> list[Any]:
    """Read what `write_json_lines` wrote; nothing where there is no such file.

    Raises:
        InputError: what is there cannot be read, or is no JSON.
    """
    return _read(path, lambda text: [json.loads(line) for line in text.split("\n") if line]) or []


def read_json(path: Path) -> Any:
    """Read a JSON file of ours; None where there is none.

    Raises:
        InputError: what is there cannot be read, or is no JSON.
    """
    return _read(path, json.loads)


def _read(path: Path, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror}", where=str(path)) from error
    except ValueError as error:
        raise InputError(
            f"the file is not the JSON that tunesmith wrote ({error})",
            where=str(path),
            remedy="it was cut off or edited: put it back, or `tunesmith resume` the run to write it anew",
        ) from error


@contextmanager
def folder_written_whole(folder: Path, *, remedy: str = _FREE_SOME) -> Iterator[Path]:
    """Give a temporary folder to fill; on success it takes the place of `folder`, on failure it vanishes.

    Raises:
        WorkError: the disk is full; `folder` is as it was before.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    try:
        with failed_writing_is_a_work_error(str(folder), remedy):
            folder.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            yield temporary
            for path in temporary.rglob("*"):
                if path.is_file():
                    # Windows flushes only what is open for writing; a file that may not be written to opens nowhere so.
                    with path.open("rb+" if os.access(path, os.W_OK) else "rb") as file:
                        os.fsync(file.fileno())
            fsync_folder(temporary)
            # No system call swaps two folders everywhere; the old one steps aside for the blink between.
            aside = folder.with_name(f".{folder.name}.old")
            shutil.rmtree(aside, ignore_errors=True)
            if folder.exists():
                os.replace(folder, aside)
            os.replace(temporary, folder)
            shutil.rmtree(aside, ignore_errors=True)
            fsync_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def as_typed(path: Path) -> str:
    """A path as a user would type it: relative when it lies in the current folder."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_absolute() and path.is_relative_to(here) else str(path)


class RunDir:
    """The paths of one run and the plain reading and writing of its files."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.recipe = self.folder / "recipe.yaml"
        self.environment = self.folder / "environment.json"
        self.data = self.folder / "data.json"
        self.metrics = self.folder / "metrics.jsonl"
        self.drawn = self.folder / "drawn.jsonl"
        self.curve = self.folder / "loss.png"
        self.checkpoints = self.folder / "checkpoints"
        self.adapter = self.folder / "adapter"
        self.model = self.folder / "model"
        self.before_after = self.folder / "before_after.json"
        self.evaluation = self.folder / "evaluation.json"
        self.evaluation_rows = self.folder / "evaluation.jsonl"
        self.report = self.folder / "report.html"
        self.log = self.folder / "train.log"
        self.trackers = self.folder / "trackers.json"

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    def command(self, verb: str) -> str:
        """The command line that does something with this run, ready to be copied."""
        folder = as_typed(self.folder)
        return (
            f'tunesmith {verb} "{folder}"' if any(map(str.isspace, folder)) else f"tunesmith {verb} {folder}"
        )

    def holds_a_run(self) -> bool:
        """A run begins to exist with its recipe, which `create` puts there in one rename."""
        try:
            with self.recipe.open("rb") as file:
                return file.readline().startswith(_WRITTEN_BY_US) or self.environment.is_file()
        except OSError:
            return False

    def must_be_free(self, *, overwrite: bool) -> None:
        """Find out, before any work, whether a new run may begin here.

        Raises:
            InputError: the folder is in use, holds a run (and `overwrite` is not given) or what is no run, or it
                cannot be written to.
        """
        self._must_be_writable()
        if (self.folder / ".lock").exists():
            with self.locked():
                self._must_be_replaceable(overwrite)
        elif self.folder.is_dir():
            self._must_be_replaceable(overwrite)

    def create(self, recipe_yaml: str, *, overwrite: bool) -> None:
        """Begin a run: the folder appears together with its recipe. A run that is replaced goes first.

        Raises:
            InputError: as `must_be_free`.
        """
        if self.folder.is_dir():
            self._must_be_replaceable(overwrite)
            with failed_writing_is_a_work_error(str(self.folder), _FREE_SOME):
                self._empty()
        self.folder.mkdir(parents=True, exist_ok=True)
        write_bytes(self.recipe, recipe_yaml.encode())

    def _must_be_writable(self) -> None:
        try:
            there = next(path for path in (self.folder, *self.folder.absolute().parents) if path.exists())
        except (OSError, ValueError) as error:  # such as a name that is too long
            why = error.strerror if isinstance(error, OSError) else error
            raise InputError(f"{self.folder} cannot be the run folder: {why}", remedy=_ELSEWHERE) from error
        if not there.is_dir():
            raise InputError(f"{there} is a file, so it cannot hold a run", remedy=_ELSEWHERE)
        if not os.access(there, os.W_OK | os.X_OK):
            raise InputError(f"the folder {there} may not be written to", remedy=_ELSEWHERE)

    def _must_be_replaceable(self, overwrite: bool) -> None:
        # Hidden files do not count, and are never deleted.
        visible = sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))
        if not self.holds_a_run():
            if visible:
                raise InputError(
                    f"{self.folder} holds files that are not a run ({_some(visible)}); nothing in it was touched",
                    remedy=_ELSEWHERE,
                )
            return
        if not overwrite:
            raise InputError(
                f"{self.folder} already holds a run",
                remedy=f"go on with it (`{self.command('resume')}`), replace it (add --overwrite), or {_ELSEWHERE}",
            )
        foreign = [name for name in visible if name not in _NAMES]
        if foreign and foreign != [self._name_of_result()]:
            raise InputError(
                f"{self.folder} holds {_some(foreign)} beside the run, so --overwrite leaves it alone",
                remedy=f"move that out of it first, or {_ELSEWHERE}",
            )

    def _name_of_result(self) -> str | None:
        """The result's name, where the recipe has put it into the run folder under a name of its own."""
        try:
            result = self.result_elsewhere()
        except InputError:  # environment.json is damaged
            return None
        return result.name if result is not None and result.parent == self.folder.absolute() else None

    def _empty(self) -> None:
        """Delete the run, but not its recipe, which the new one replaces in one rename.

        First goes the file that would call it finished. Killed at any moment in between, what is left is still a run:
        it can be resumed from its start, or replaced.
        """
        for path in sorted(self.folder.iterdir(), key=lambda path: path != self.environment):
            if path == self.recipe or (path.name.startswith(".") and not _left_by_a_kill(path)):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def sweep(self) -> None:
        """Remove the half-written files and folders that a kill left behind. Call it with the run locked."""
        for folder in (self.folder, self.checkpoints):
            for path in folder.iterdir() if folder.is_dir() else ():
                if _left_by_a_kill(path):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for one process; the system lets go of it even when the process is killed.

        Raises:
            InputError: another process is working in the folder, or it cannot be written to.
        """
        lock = FileLock(self.folder / ".lock")
        try:
            with no_room_is_a_work_error(str(self.folder), _FREE_SOME):
                self.folder.mkdir(parents=True, exist_ok=True)
                lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"{self.folder} is in use by another tunesmith process",
                remedy=f"wait for it to end, or {_ELSEWHERE}",
            ) from None
        except OSError as error:
            raise InputError(
                f"{self.folder} cannot be written to: {error.strerror or error}",
                remedy="see to the folder's permissions",
            ) from error
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
            failed_writing_is_a_work_error(str(self.metrics), _FREE_SOME),
            self.metrics.open("a", encoding="utf-8") as file,
        ):
            file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")

    def append_drawn(self, lines: Iterable[dict[str, Any]]) -> None:
        """Add lines to drawn.jsonl, an answer each."""
        with (
            failed_writing_is_a_work_error(str(self.drawn), _FREE_SOME),
            self.drawn.open("a", encoding="utf-8") as file,
        ):
            file.writelines(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines)

    def read_drawn(self) -> list[dict[str, Any]]:
        """The whole lines of drawn.jsonl; none where nothing was drawn."""
        if not self.drawn.exists():
            return []
        lines = self.drawn.read_text("utf-8", errors="replace").split("\n")[:-1]
        return [json.loads(line) for line in lines if line]

    def cut_drawn(self, steps: int) -> None:
        """Forget what was drawn at later steps than these."""
        if self.drawn.exists():
            write_json_lines(self.drawn, [line for line in self.read_drawn() if line["step"] <= steps])

    def metrics_length(self) -> int:
        """The length of metrics.jsonl in bytes, on the disk for sure: a checkpoint will point at it."""
        if not self.metrics.exists():
            return 0
        with failed_writing_is_a_work_error(str(self.metrics), _FREE_SOME), self.metrics.open("rb+") as file:
            os.fsync(file.fileno())
            return file.seek(0, os.SEEK_END)

    def cut_metrics(self, length: int) -> bool:
        """Forget the metrics past a checkpoint; resume writes them anew. False: some before it are gone already."""
        content = self.metrics.read_bytes()[:length] if self.metrics.exists() else b""
        whole_lines = content[: content.rfind(b"\n") + 1]
        if self.metrics.exists():
            with self.metrics.open("rb+") as file:
                file.truncate(len(whole_lines))
        return len(whole_lines) == length

    def read_metrics(self) -> list[dict[str, Any]]:
        """The whole lines of metrics.jsonl (a kill may have left half of the last).

        Raises:
            InputError: a line is not what tunesmith wrote.
        """
        if not self.metrics.exists():
            return []
        lines = self.metrics.read_text("utf-8", errors="replace").split("\n")[:-1]
        return [self._metric(line, number) for number, line in enumerate(lines, start=1) if line]

    def _metric(self, line: str, number: int) -> dict[str, Any]:
        try:
            metric = json.loads(line)
        except ValueError:
            metric = None
        if not isinstance(metric, dict) or "step" not in metric:
            raise InputError(
                "this line is not the JSON that tunesmith wrote",
                where=f"{self.metrics}:{number}",
                remedy="take the line out",
            )
        return metric

    def result_elsewhere(self) -> Path | None:
        """The result's folder where the recipe names one (`run.result`)."""
        environment = read_json(self.environment)
        named = environment.get("result") if isinstance(environment, dict) else None
        return Path(named).absolute() if named else None

    def result(self) -> Path | None:
        """The folder with the tuned weights, wherever the recipe put it; None while there is none."""
        for folder in (self.result_elsewhere(), self.adapter, self.model):
            if folder is not None and folder.is_dir():
                return folder
        return None


def _left_by_a_kill(path: Path) -> bool:
    """Whether this is a file or folder of a run that was being written or replaced when the process was killed."""
    name = _STEPPED_ASIDE.fullmatch(path.name)
    return name is not None and (name[1] in _NAMES or _CHECKPOINT.fullmatch(name[1]) is not None)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
