"""Where prepared data are kept, so that a second start with the same data begins at once."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from tunesmith.errors import failed_writing_is_a_work_error
from tunesmith.rundir import FREE_AND_REPEAT, folder_written_whole

log = logging.getLogger("tunesmith")

T = TypeVar("T")

LAST_FILE = "prepared.json"  # written last: a folder with it is whole
_MOST_BYTES = 20 << 30
_LONGEST_UNUSED_SECONDS = 30 * 24 * 3600
_LONGEST_LEFT_BEHIND_SECONDS = 24 * 3600
_WAITING_IS_TOLD_AFTER_SECONDS = 2
_TEMPORARY = "tunesmith-"


def cache_folder() -> Path:
    """tunesmith's folder for what can be made again: TUNESMITH_CACHE, or the system's place for such.

    Raises:
        RuntimeError: there is no such home folder.
    """
    named = os.environ.get("TUNESMITH_CACHE")
    if named:
        return Path(named).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "tunesmith" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tunesmith"


class PassingFolder:
    """A temporary folder that goes with the last who holds it, or with the process.

    Like tempfile's own, which warns where it is left to that.
    """

    def __init__(self) -> None:
        self.name = tempfile.mkdtemp(prefix=_TEMPORARY)
        # On Windows a mapped file cannot be removed; it stays for the system's own cleaning.
        self.cleanup = weakref.finalize(self, shutil.rmtree, self.name, ignore_errors=True)


def read_prepared(
    key: str | None, is_good: Callable[[Path], bool], write: Callable[[Path], None], read: Callable[[Path], T]
) -> tuple[T, PassingFolder | None]:
    """What is prepared under `key`: the kept folder if it is good, else what `write` puts there.

    Args:
        key: None: nothing is kept; what is read lies in a temporary folder, which vanishes with the second value.
        is_good: looks into a folder that is there.
        write: fills an empty folder.
        read: opens a good folder, while no other process can replace it.

    Raises:
        WorkError: the disk is full.
    """
    try:
        lock = _held(key) if key is not None else None
    except (
        OSError,
        RuntimeError,
    ) as error:  # RuntimeError: there is no home folder, or no locks on this disk
        log.warning("prepared data are not kept: %s", error)
        lock = None
    if lock is None:
        return _read_unkept(write, read)
    try:
        folder = Path(lock.lock_file).with_suffix("")
        if not ((folder / LAST_FILE).is_file() and is_good(folder)):
            _make_room(folder)
            with folder_written_whole(folder, remedy=FREE_AND_REPEAT) as empty:
                write(empty)
        with contextlib.suppress(OSError):  # the date of last use, by which old folders are found
            os.utime(folder)
        return read(folder), None
    finally:
        lock.release()


def _held(key: str) -> FileLock:
    """The lock of a key, held by this process; that it waits for another one is said.

    Raises:
        OSError, RuntimeError: nothing can be kept here.
    """
    root = cache_folder() / "prepared"
    root.mkdir(parents=True, exist_ok=True)
    if not os.access(root, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(root))
    lock = FileLock(root / f"{key}.lock")
    try:
        lock.acquire(timeout=_WAITING_IS_TOLD_AFTER_SECONDS)
    except Timeout:
        log.info("waiting for another process that prepares the same data; it holds %s", lock.lock_file)
        lock.acquire()
    return lock


def _read_unkept(write: Callable[[Path], None], read: Callable[[Path], T]) -> tuple[T, PassingFolder]:
    remedy = "free some disk space, or name a folder on another disk as TMPDIR"
    with contextlib.ExitStack() as stack, failed_writing_is_a_work_error("prepared data", remedy):
        temporary = PassingFolder()
        stack.callback(temporary.cleanup)
        write(Path(temporary.name))
        value = read(Path(temporary.name))
        stack.pop_all()
    return value, temporary


# --- making room --------------------------------------------------------------------------------------------------


def _make_room(own: Path) -> None:
    """Remove beside `own` what was not used for long, the oldest of what is too much, and what a kill left behind.

    Other processes do the same at the same time: what they hold stays, and what they took away is gone. The files of
    locks, which are empty, stay: one that vanished while a process waits for it would no longer keep a third one out.
    """
    now, kept = time.time(), 0
    for used, size, folder in sorted(_folders(own.parent), reverse=True):
        key = folder.name.removeprefix(".").partition(".")[0]  # of KEY, .KEY.tmp and .KEY.old
        longest = _LONGEST_UNUSED_SECONDS if folder.name == key else _LONGEST_LEFT_BEHIND_SECONDS
        if key == own.name:
            continue
        if now - used <= longest and kept + size <= _MOST_BYTES:
            kept += size
            continue
        with contextlib.suppress(OSError), FileLock(own.with_name(f"{key}.lock")).acquire(timeout=0):
            shutil.rmtree(folder, ignore_errors=True)  # on Windows a folder in use stays


def _folders(root: Path) -> Iterator[tuple[float, int, Path]]:
    """When each folder was last used, how many bytes it takes, and where it is."""
    for path in root.iterdir():
        try:
            if path.is_dir():
                yield path.stat().st_mtime, sum(file.stat().st_size for file in path.iterdir()), path
        except OSError:  # it was taken away meanwhile
            continue
