"""Converters: a row -> a sample type. A new format is one file and one line in the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunesmith.config.words import nearest
from tunesmith.data.converters import messages, poetry, prompt_completion, text
from tunesmith.data.converters.base import Format, bad_row
from tunesmith.data.schema import Conversation, Place, SourceRow, Text
from tunesmith.data.words import kind_of, quoted
from tunesmith.errors import InputError

FORMATS: dict[str, Format] = {
    converter.FORMAT.name: converter.FORMAT for converter in (messages, poetry, prompt_completion, text)
}


def detect(rows: Sequence[SourceRow], named: str | None) -> Format:
    """The format of a file's rows: the named one, else the one that fits the first row that any format fits.

    The rows before that one are not passed over: they are checked against the format like all others, and their
    errors can then say which field is missing.

    Args:
        rows: the file's rows, at least one that could be parsed.
        named: the format's name from the recipe.

    Raises:
        InputError: the name is unknown, no format fits, or several do.
    """
    if named is not None:
        return _by_name(named, rows[0].place.file)
    parsed = [row for row in rows if row.problem is None]
    for row in parsed:
        fitting = [f for f in FORMATS.values() if f.fits(row.value)] if isinstance(row.value, dict) else []
        if len(fitting) > 1:
            names = [format.name for format in fitting]
            raise InputError(
                f"{len(names)} formats fit this row: {' and '.join(names)}",
                where=str(row.place),
                expected="one",
                remedy="say which in the recipe, with this line beside the file's `path`: "
                + " or ".join(f"`format: {name}`" for name in names),
            )
        if fitting:
            return fitting[0]
    raise _none_fits(parsed[0])


def convert(row: SourceRow, format: Format) -> Conversation | Text:
    """Convert one row.

    Raises:
        BadRow: the row could not be parsed, is no object, or is not what the format says.
    """
    if row.problem is not None:
        raise row.problem
    return format.convert(_object_of(row.value, row.place), row.place)


def _object_of(value: Any, place: Place) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise bad_row(f"row {place.row} is {kind_of(value)}", place, expected="an object")
    return value


def _by_name(name: str, file: str) -> Format:
    if name in FORMATS:
        return FORMATS[name]
    alike = nearest(name, FORMATS)
    raise InputError(
        f"unknown data format {name!r}",
        where=file,
        expected=f"one of {quoted(FORMATS)}",
        remedy=f"the nearest is {alike!r}" if alike else None,
    )


def _none_fits(row: SourceRow) -> InputError:
    """The error that shows what was found beside what is known."""
    if not isinstance(row.value, dict):
        found = f"no known format fits: row {row.place.row} is {kind_of(row.value)}"
        return InputError(found, where=str(row.place), expected=_known())
    found = f"no known format fits the fields of row {row.place.row}: {quoted(row.value) or 'there are none'}"
    return InputError(
        found, where=str(row.place), expected=_known(), remedy=_what_the_nearest_lacks(row.value)
    )


def _known() -> str:
    return "one of " + "; ".join(f"{format.name} {format.shape}" for format in FORMATS.values())


def _what_the_nearest_lacks(row: dict[str, Any]) -> str | None:
    """A sentence about the format that shares most fields with the row, misspelt ones counted half."""

    def likeness(format: Format) -> float:
        hits = [1.0 if name in row else 0.5 if nearest(name, row) else 0.0 for name in format.fields]
        return sum(hits) / len(hits)

    best = max(FORMATS.values(), key=likeness)
    if not likeness(best):
        return None
    lacking = []
    for name in best.fields:
        if name not in row:
            alike = nearest(name, row)
            lacking.append(f"{name!r} (here {alike!r}?)" if alike else repr(name))
    return f"the nearest is {best.name}, which also needs {', '.join(lacking)}"
