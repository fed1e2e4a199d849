"""Files that appear whole or not at all: a neighbour is written, flushed and renamed."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from tunesmith.data.schema import Place
from tunesmith.errors import InputError, WorkError, no_room_is_a_work_error

_REMEDY = "free some disk space and run the same again"
# What may stand where a file is to be written. A rename would put our file in its place: on a machine's own /dev/null,
# where root may, or on the pipe that somebody reads from.
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (lambda mode: stat.S_ISCHR(mode) or stat.S_ISBLK(mode), "a device"),
)


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write to; it takes its name when the block ends well, and vanishes otherwise.

    A link stays a link: the file that it names is written.

    Raises:
        InputError: what has this name is no ordinary file.
        WorkError: the disk is full, or the folder can't be written to.
    """
    must_be_ordinary(path)
    path = path.resolve() if path.is_symlink() else path
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with no_room_is_a_work_error(str(path), _REMEDY):
            with _opened(temporary, path) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _opened(temporary: Path, path: Path) -> BinaryIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return temporary.open("wb")
    except OSError as error:
        raise WorkError(
            f"{path} cannot be written: {error.strerror or error}",
            remedy="see to its folder, or name another",
        ) from error


def must_be_ordinary(path: Path, *, where: str | None = None) -> None:
    """Raises an InputError where the name is that of a folder, a device, a pipe or the like: none of these is replaced.

    Args:
        where: the option that the path was given with.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:  # such as a name that is too long
        why = (error.strerror if isinstance(error, OSError) else None) or error
        raise InputError(
            f"{path} cannot be written: {why}", where=where, remedy="choose another name"
        ) from None
    kind = next((words for is_one, words in _KINDS if is_one(mode)), None)
    if kind is None and _is_the_systems_link(path):
        kind = "the system's name for what is open already"
    if kind is not None:
        folder = kind == "a folder"
        raise InputError(
            f"{path} is {kind}",
            where=where,
            expected="the name of a file to write",
            remedy=None if folder else "write to a file, and send that on when it is whole",
        )


def _is_the_systems_link(path: Path) -> bool:
    """Whether this is `/dev/stdout` or the like, even where the shell has opened an ordinary file under that name."""
    folder = path.parent.resolve()
    return path.is_symlink() and (folder == Path("/dev") or folder.is_relative_to("/proc"))


def must_be_free(path: Path, *, overwrite: bool) -> None:
    """Raises an InputError, before any work, where a file would be replaced that nobody said may be, or what is no file."""
    must_be_ordinary(path)
    if path.exists() and not overwrite:
        raise InputError(f"{path} is already there", remedy="choose another name with -o, or add --overwrite")


def json_line(value: Any, place: Place) -> bytes:
    """A row as a line of JSON Lines, non-ASCII kept.

    Raises:
        InputError: it holds what JSON can't say.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"row {place.row} holds what JSON cannot say ({error})",
            where=str(place),
            remedy="take that column out of the file first",
        ) from None
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:  # half a surrogate pair, which JSON says as \ud83d
        return json.dumps(value, allow_nan=False).encode() + b"\n"
