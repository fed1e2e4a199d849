"""Converters: a row -> a sample type. A new format is one file and one line in the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunesmith.config.schema import Source
from tunesmith.config.words import nearest
from tunesmith.data.converters import (
    alpaca,
    captions,
    classification,
    conversation,
    labelled,
    messages,
    ner,
    poetry,
    preference,
    prompt_completion,
    qa_keywords,
    query_response,
    question_answer,
    sharegpt,
    text,
)
from tunesmith.data.converters.base import Format, Row, bad_row
from tunesmith.data.converters.columns import check_columns, renamed
from tunesmith.data.schema import Converted, SourceRow
from tunesmith.data.words import kind_of, quoted
from tunesmith.errors import InputError

FORMATS: dict[str, Format] = {
    format.name: format
    for format in (
        messages.FORMAT,
        sharegpt.FORMAT,
        sharegpt.VISION_FORMAT,
        conversation.FORMAT,
        alpaca.FORMAT,
        query_response.FORMAT,
        question_answer.FORMAT,
        prompt_completion.FORMAT,
        preference.FORMAT,
        labelled.FORMAT,
        classification.FORMAT,
        ner.FORMAT,
        qa_keywords.FORMAT,
        captions.FORMAT,
        poetry.FORMAT,
        text.FORMAT,
    )
}


def detect(rows: Sequence[SourceRow], source: Source) -> Format:
    """The format of a file's rows: the named one, else the one that fits the first row that any format fits.

    The rows before that one are not passed over: they are checked against the format like all others, and their
    errors can then say which field is missing.

    Args:
        rows: the file's first rows, at least one; without a named format, at least one that could be parsed.
        source: its `format` and `columns` count here.

    Raises:
        InputError: the name is unknown, no format fits, several do, or `columns` speaks of what is not there.
    """
    parsed = [row for row in rows if row.problem is None]
    chosen = _by_name(source.format, rows[0].place.file) if source.format is not None else None
    check_columns(parsed, source, [chosen] if chosen else list(FORMATS.values()))
    if chosen is None:
        chosen = _detected(parsed, source)
        check_columns(parsed, source, [chosen])
    return chosen


def convert(row: SourceRow, format: Format, source: Source) -> Converted:
    """Convert one row.

    Raises:
        BadRow: the row could not be parsed, is no object, or is not what the format says.
    """
    if row.problem is not None:
        raise row.problem
    value = row.value
    if not isinstance(value, dict):
        raise bad_row(f"row {row.place.row} is {kind_of(value)}", row.place, expected="an object")
    if source.columns:
        must_be_there = [column for field, column in source.columns.items() if field in format.fields]
        for column in must_be_there:
            if column not in value:
                raise _no_column(value, column, row)
        value = renamed(value, source.columns)
    return format.convert(value, row.place, source)


def _no_column(value: Row, column: str, row: SourceRow) -> InputError:
    alike = nearest(column, value)
    return bad_row(
        f"row {row.place.row} has no field {column!r}, which the recipe's `columns` names; it has "
        f"{quoted(value) or 'none'}",
        row.place,
        remedy=f"the nearest is {alike!r}" if alike else None,
    )


def _detected(parsed: Sequence[SourceRow], source: Source) -> Format:
    for row in parsed:
        fitting = _fitting(row.value, source)
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
    raise _none_fits(parsed[0], source)


def _fitting(value: Any, source: Source) -> list[Format]:
    if not isinstance(value, dict):
        return []
    row = renamed(value, source.columns or {})
    return [format for format in FORMATS.values() if format.fits(row)]


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


def _none_fits(row: SourceRow, source: Source) -> InputError:
    """The error that shows what was found beside what is known."""
    if not isinstance(row.value, dict):
        found = f"no known format fits: row {row.place.row} is {kind_of(row.value)}"
        return InputError(found, where=str(row.place), expected=f"an object, in the form of {_known()}")
    fields = renamed(row.value, source.columns or {})
    found = f"no known format fits the fields of row {row.place.row}: {quoted(fields) or 'there are none'}"
    remedy = _what_the_nearest_lacks(fields) or (
        "`columns: {prompt: ..., completion: ...}` beside the file's `path` names the columns of a question and its answer"
    )
    return InputError(found, where=str(row.place), expected=f"the fields of {_known()}", remedy=remedy)


def _known() -> str:
    """The formats' names; their rows are too long for a message. docs/formats.md shows them."""
    names = list(FORMATS)
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _what_the_nearest_lacks(row: Row) -> str | None:
    """A sentence about the format that shares most fields with the row, misspelt ones counted half."""

    def likeness(format: Format) -> tuple[float, int]:
        hits = [1.0 if name in row else 0.5 if nearest(name, row) else 0.0 for name in format.fields]
        return sum(hits) / len(hits), len(hits)

    best = max(FORMATS.values(), key=likeness)
    if not likeness(best)[0]:
        return None
    lacking = {name: nearest(name, row) for name in best.fields if name not in row}
    if not lacking:
        return None
    needs = ", ".join(
        f"{name!r} (here {alike!r}?)" if alike else repr(name) for name, alike in lacking.items()
    )
    mapping = ", ".join(f"{name}: {alike or '...'}" for name, alike in lacking.items())
    return (
        f"the nearest is {best.name} ({best.shape}), which also needs {needs}; a column of another name is named "
        f"beside the file's `path`: `columns: {{{mapping}}}`"
    )
