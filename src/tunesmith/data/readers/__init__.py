"""Readers: what a recipe says -> files -> their rows, each with its place, one at a time.

Source -> find -> Found -> read -> SourceRow, SourceRow, ...
"""

from __future__ import annotations

import hashlib
import heapq
import os
from collections.abc import Iterator

from tunesmith.data.readers.file import cannot_be_read
from tunesmith.data.readers.find import Found, find
from tunesmith.data.readers.kinds import READERS, Reader, reader_of
from tunesmith.data.schema import SourceRow
from tunesmith.errors import InputError

__all__ = ["READERS", "Found", "Reader", "digest", "find", "read"]


def read(found: Found, seed: int) -> Iterator[SourceRow]:
    """The rows of all files in order; where `take` is set that many of them, drawn by the seed, in the same order.

    Which rows are drawn is a pure function of the seed and of how many rows there are, on every machine and Python;
    the files are read twice for it, and no more than one row is held at a time.

    Raises:
        InputError: a file as a whole cannot be read, or there are fewer rows than asked for. A single row that cannot
            be read is no error here: it comes with its `problem`.
    """
    if found.take is None:
        yield from _all_rows(found)
        return
    count = sum(1 for _ in _all_rows(found))
    if found.take > count:
        raise InputError(
            f"`#{found.take}` takes more rows than there are: {count}",
            where=found.source.path,
            remedy=f"take at most #{count}, or leave it out for all rows",
        )
    drawn = set(heapq.nsmallest(found.take, range(count), key=lambda at: _lot(seed, at)))
    yield from (row for at, row in enumerate(_all_rows(found)) if at in drawn)


def _all_rows(found: Found) -> Iterator[SourceRow]:
    for file in found.files:
        yield from reader_of(file)(file, found.source)


def _lot(seed: int, at: int) -> bytes:
    return hashlib.sha256(f"take:{seed}:{at}".encode()).digest()


def digest(found: Found) -> str:
    """SHA-256 over the files' paths, as places show them, and bytes, in order: what a cache of their rows is keyed by.

    Raises:
        InputError: a file cannot be read.
    """
    whole = hashlib.sha256()
    for file in found.files:
        try:
            with file.open("rb") as content:
                one = hashlib.file_digest(content, "sha256")
        except OSError as error:
            raise cannot_be_read(file, error) from error
        whole.update(hashlib.sha256(os.fsencode(file)).digest() + one.digest())
    return whole.hexdigest()
