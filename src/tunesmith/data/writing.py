"""Files that appear whole or not at all: a neighbour is written, flushed and renamed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from tunesmith.data.schema import Place
from tunesmith.errors import InputError, WorkError, no_room_is_a_work_error

_REMEDY = "free some disk space and run the same again"


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write to; it takes its name when the block ends well, and vanishes otherwise.

    Raises:
        WorkError: the disk is full, or the folder can't be written to.
    """
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


def must_be_free(path: Path, *, overwrite: bool) -> None:
    """Raises an InputError, before any work, where a file would be replaced that nobody said may be."""
    if path.is_dir():
        raise InputError(f"{path} is a folder", expected="the name of a file to write")
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
