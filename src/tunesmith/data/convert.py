"""Rows of any known format -> one JSON Lines file of chats, streamed; every row is written or listed with a reason."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tunesmith.config.schema import Source
from tunesmith.data.converters import convert, detect
from tunesmith.data.converters.base import Format
from tunesmith.data.converters.canonical import to_messages
from tunesmith.data.readers import Found, find, read
from tunesmith.data.schema import BadRow, SourceRow
from tunesmith.data.writing import json_line, written_whole
from tunesmith.errors import InputError, Problems

_LOOK_AT = 1000  # rows that tell the format
_TOLD_AT_ONCE = 20
_SEED = 0  # which rows `#N` takes


class Done(NamedTuple):
    """What became of the rows: `read` is `written` and `dropped` together."""

    format: str
    read: int
    written: int
    dropped: tuple[BadRow, ...]
    notes: tuple[str, ...]


def rows_and_format(found: Found) -> tuple[Iterator[SourceRow], Format]:
    """A source's rows as a stream, and the format that the first ones that can be parsed tell, however far down they are.

    Raises:
        InputError: there is no row, none can be parsed, or no format (or several) fit.
    """
    rows = read(found, _SEED)
    head = list(itertools.islice(rows, _LOOK_AT))
    while more := list(itertools.islice(rows, _LOOK_AT)) if all(row.problem for row in head) else []:
        head += more
    if not head:
        raise InputError("there are no rows", where=found.source.path)
    if all(row.problem for row in head):
        raise _told([row.problem for row in head if row.problem], len(head))
    return itertools.chain(head, rows), detect(head, found.source)


def convert_file(source: Source, output: Path, *, skip: bool) -> Done:
    """Write a source's rows as chats; the file appears when all is well.

    Args:
        skip: drop bad rows and give them back; otherwise they are errors, told together.

    Raises:
        InputError: there is no such source; as `rows_and_format`; or there are bad rows, or nothing but bad rows.
    """
    found = find(source)
    rows, format = rows_and_format(found)
    count = written = 0
    bad: list[BadRow] = []
    with written_whole(output) as file:
        for row in rows:
            count += 1
            try:
                file.write(json_line(to_messages(convert(row, format, source)), row.place))
                written += 1
            except BadRow as error:
                bad.append(error)
        if bad and (not skip or not written):
            raise _told(bad, count)
    return Done(format.name, count, written, tuple(bad), found.notes)


def _told(bad: list[BadRow], count: int) -> Problems:
    """The first bad rows, and how many there are."""
    rest = len(bad) - _TOLD_AT_ONCE
    summary = InputError(
        (f"and {rest} more: " if rest > 0 else "")
        + f"{len(bad)} of {count} row{'s' if count > 1 else ''} cannot be used, and nothing was written",
        remedy="mend them" + (", or drop and list them with --on-bad-row skip" if len(bad) < count else ""),
    )
    return Problems([*bad[:_TOLD_AT_ONCE], summary])
