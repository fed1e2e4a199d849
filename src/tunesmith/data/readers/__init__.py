"""Readers: a file -> its rows, each with its place. A new kind of file is one module and one line in the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from tunesmith.data.readers.file import must_be_a_file
from tunesmith.data.readers.json import read_json
from tunesmith.data.readers.jsonl import read_jsonl
from tunesmith.data.schema import SourceRow
from tunesmith.errors import InputError

READERS: dict[str, Callable[[Path], Iterator[SourceRow]]] = {
    ".json": read_json,
    ".jsonl": read_jsonl,
}


def read(path: Path | str) -> Iterator[SourceRow]:
    """Read a data file's rows in order, by the reader of its extension.

    Raises:
        InputError: there is no such file, no reader for it, or the file as a whole cannot be read. A single row that
            cannot be read is no error here: it comes with its `problem`.
    """
    path = Path(path)
    must_be_a_file(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        found = f"no reader for {path.suffix!r} files" if path.suffix else "the file's name has no extension"
        raise InputError(found, where=str(path), expected=f"one of {', '.join(READERS)}")
    yield from reader(path)
