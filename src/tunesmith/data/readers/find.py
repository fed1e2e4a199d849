"""From what a recipe says to files: a file, a folder, a pattern, a data set of a hub, and how many rows of it."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tunesmith.config.schema import Source
from tunesmith.data.readers.file import cannot_be_read, must_be_a_file
from tunesmith.data.readers.hub_files import PICTURES, PROSE, TABLES, is_data, kind_of_file, natural
from tunesmith.data.readers.kinds import READERS, extension_of, reader_of
from tunesmith.data.readers.saved import is_saved, saved_files
from tunesmith.data.words import quoted
from tunesmith.errors import InputError

_TAKE = re.compile(r"(.*)#([0-9]{1,18})", re.DOTALL)
_TEXTS = (*PROSE, ".pdf")


class Found(NamedTuple):
    """A source's files in order, each with a reader; `take` is the N of `#N`, `notes` are sentences for the user."""

    source: Source
    files: tuple[Path, ...]
    take: int | None
    notes: tuple[str, ...] = ()


def find(source: Source) -> Found:
    """The files that a source's path means. A file or folder of exactly that name wins over all other readings.

    A folder stands for all data files in it and below; text files beside tables are not data, and hidden files never.

    Raises:
        InputError: there is nothing, no reader for a file, its name is no UTF-8, or a data set cannot be fetched.
    """
    from tunesmith.data.readers.hub import fetch, is_reference

    if "\0" in source.path:
        raise InputError(f"{source.path!r} cannot be a path: it holds a null character")
    written, take = _without_take(source.path)
    notes: tuple[str, ...] = ()
    if is_reference(written):
        files = fetch(written)
    else:
        try:
            files, notes = _local(written)
        except OSError as error:
            raise cannot_be_read(Path(written), error) from error
    for file in files:
        _must_be_utf_8(file)
        reader_of(file)
    return Found(source, files, take, notes)


def _must_be_utf_8(file: Path) -> None:
    """Ledgers and prepared data name each row's file, and are UTF-8."""
    name = os.fsencode(file)
    try:
        name.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(
            "the file's name is no UTF-8",
            where=name.decode("utf-8", "backslashreplace"),
            remedy="rename what is shown with a backslash",
        ) from None


def _without_take(written: str) -> tuple[str, int | None]:
    match = None if os.path.lexists(written) else _TAKE.fullmatch(written)
    if match is None:
        return written, None
    if not int(match[2]):
        raise InputError("`#0` takes no rows", where=written, expected="at least `#1`")
    return match[1], int(match[2])


def _local(written: str) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Files and notes of what is no data set of a hub."""
    path = Path(written)
    if os.path.isdir(written):
        return (saved_files(path, None), ()) if is_saved(path) else _in_folder(path)
    folder, at, split = written.rpartition("@")
    if at and not os.path.lexists(written) and os.path.isdir(folder):
        if is_saved(Path(folder)):
            return saved_files(Path(folder), split), ()
        raise InputError(
            f"there is no split {split!r}: the folder is not one that `datasets` saved",
            where=folder,
            remedy=f"leave @{split} out, or name a file in it",
        )
    if glob.has_magic(written) and not os.path.lexists(written):
        return _matching(written)
    try:
        must_be_a_file(path)
    except InputError as error:
        before, mark, _ = written.rpartition("#")
        if mark and os.path.exists(before):
            error.remedy = "behind a `#` stands a whole number: how many rows to take"
        raise
    return (path,), ()


def _in_folder(folder: Path) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    names = natural(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() or (path.is_symlink() and not path.is_dir())
    )
    readable = [name for name in names if extension_of(Path(name)) in READERS]
    tables = [name for name in readable if is_data(name, TABLES)]
    chosen = tables or [name for name in readable if is_data(name, _TEXTS)]
    if not chosen:
        raise InputError(
            "the folder holds no data file" + (f", only {quoted(names[:5])}" if names else ": it is empty"),
            where=str(folder),
            expected=f"files with one of the extensions {', '.join((*TABLES, *_TEXTS))}",
        )
    files = _all_there(folder / name for name in chosen)
    known = {*chosen, *(name for name in names if _is_hidden(name) or kind_of_file(name) in PICTURES)}
    return files, _notes(str(folder), chosen, [name for name in names if name not in known])


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in Path(name).parts)


def _matching(pattern: str) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    names = natural(name for name in set(glob.glob(pattern, recursive=True)) if not os.path.isdir(name))
    chosen = [name for name in names if extension_of(Path(name)) in READERS]
    if names and not chosen:
        reader_of(Path(names[0]))
    if not chosen:
        start = Path(pattern)
        while glob.has_magic(str(start)):
            start = start.parent
        gone = "" if start.is_dir() else f"; the folder {start} is not there"
        raise InputError(f"no file matches this pattern{gone}", where=pattern)
    files = _all_there(map(Path, chosen))
    return files, _notes(pattern, chosen, [name for name in names if extension_of(Path(name)) not in READERS])


def _all_there(files: Iterable[Path]) -> tuple[Path, ...]:
    found = tuple(files)
    for file in found:
        must_be_a_file(file)  # a link may lead nowhere
    return found


def _notes(where: str, read: Sequence[str], skipped: Sequence[str]) -> tuple[str, ...]:
    """Which files are read, where there are several, and which are not."""
    notes = []
    if len(read) > 1:
        notes.append(f"{where}: {len(read)} files are read: {_some(read)}")
    if skipped:
        files = "1 other file is" if len(skipped) == 1 else f"{len(skipped)} other files are"
        notes.append(f"{where}: {files} not read: {_some(skipped)}")
    return tuple(notes)


def _some(names: Sequence[str]) -> str:
    return quoted(names[:5]) + (", ..." if len(names) > 5 else "")
