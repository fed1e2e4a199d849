"""JSON Lines: one row a line. A line that does not parse is a bad row; the lines around it are still read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tunesmith.config.schema import Source
from tunesmith.data.readers.file import is_empty
from tunesmith.data.readers.strict import BrokenJson, after_blanks, parse_value
from tunesmith.data.readers.text import lines
from tunesmith.data.schema import BadRow, Place, SourceRow
from tunesmith.errors import InputError


def read_jsonl(path: Path, source: Source) -> Iterator[SourceRow]:
    """Read the rows; blank lines are no rows.

    Raises:
        InputError: the file is empty, not in the source's encoding, or not JSON Lines at all.
    """
    row = 0
    for line, text in lines(path, source.encoding):
        start = after_blanks(text, 0)
        if start == len(text):
            continue
        row += 1
        if row == 1:
            _must_be_json_lines(text[start:].strip(), path)
        yield _row(text, start, Place(str(path), line, row))
    if not row:
        raise is_empty(path)


def _must_be_json_lines(first: str, path: Path) -> None:
    if first == "{" or first.startswith("["):
        raise InputError(
            "the file does not hold one object a line",
            where=str(path),
            remedy="if it is ordinary JSON, give its name the extension .json",
        )


def _row(text: str, start: int, place: Place) -> SourceRow:
    try:
        value, end = parse_value(text, start)
        end = after_blanks(text, end)
        if end != len(text):
            raise BrokenJson("more text after the row's value", end)
    except BrokenJson as error:
        found = f"broken JSON at line {place.line}, column {error.position + 1}: {error.message}"
        return SourceRow(None, place, BadRow(found, where=str(place)))
    return SourceRow(value, place)
