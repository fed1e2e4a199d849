"""Where prepared data are kept, so that a second start with the same data begins at once."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from tunesmith.rundir import folder_written_whole

log = logging.getLogger("tunesmith")

LAST_FILE = "prepared.json"  # written last: a folder with it is whole
_MOST_BYTES = 20 << 30
_LONGEST_UNUSED_SECONDS = 30 * 24 * 3600


def cache_folder() -> Path:
    """tunesmith's folder for what can be made again: TUNESMITH_CACHE, or the system's place for such."""
    named = os.environ.get("TUNESMITH_CACHE")
    if named:
        return Path(named).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "tunesmith" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tunesmith"


def prepared_folder(
    key: str, is_good: Callable[[Path], bool], write: Callable[[Path], None], *, keep: bool
) -> tuple[Path, tempfile.TemporaryDirectory[str] | None]:
    """The folder of what is prepared under `key`: the kept one if it is good, else what `write` puts there.

    Args:
        is_good: looks into a folder that is there.
        write: fills an empty folder.
        keep: False: a temporary folder, which vanishes with the second value.

    Raises:
        WorkError: the disk is full.
    """
    root = cache_folder() / "prepared"
    if keep:
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            log.warning("prepared data are not kept: %s cannot be made (%s)", root, error.strerror)
            keep = False
    if not keep:
        temporary = tempfile.TemporaryDirectory(prefix="tunesmith-", ignore_cleanup_errors=True)
        write(Path(temporary.name))
        return Path(temporary.name), temporary
    folder = root / key
    with FileLock(root / f"{key}.lock"):
        if not ((folder / LAST_FILE).is_file() and is_good(folder)):
            _make_room(root)
            with folder_written_whole(folder) as empty:
                write(empty)
        with contextlib.suppress(OSError):  # the date of last use, by which old folders are found
            os.utime(folder)
    return folder, None


def _make_room(root: Path) -> None:
    """Remove what was not used for long, and the oldest of what is too much."""
    kept = 0
    folders = [folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith(".")]
    for folder in sorted(folders, key=lambda folder: folder.stat().st_mtime, reverse=True):
        size = sum(file.stat().st_size for file in folder.iterdir())
        age = time.time() - folder.stat().st_mtime
        if age > _LONGEST_UNUSED_SECONDS or kept + size > _MOST_BYTES:
            shutil.rmtree(folder, ignore_errors=True)  # on Windows a folder in use stays
            root.joinpath(f"{folder.name}.lock").unlink(missing_ok=True)
        else:
            kept += size
