"""The recipe's `columns`: `{field of the format: column of the file}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tunesmith.config.schema import Source
from tunesmith.config.words import nearest
from tunesmith.data.converters.base import Format, Row
from tunesmith.data.schema import SourceRow
from tunesmith.data.words import quoted
from tunesmith.errors import InputError


def renamed(row: Row, columns: Mapping[str, str]) -> Row:
    """The row with its columns under the format's names, all at once, so that two may change places."""
    if not columns:
        return row
    taken = set(columns.values())
    rest = {name: value for name, value in row.items() if name not in taken and name not in columns}
    return {**rest, **{field: row[column] for field, column in columns.items() if column in row}}


def check_columns(rows: Sequence[SourceRow], source: Source, formats: Sequence[Format]) -> None:
    """Check that `columns` names fields that one of the formats reads, and columns that a row has.

    Raises:
        InputError: it does not.
    """
    if not source.columns:
        return
    fields = list(dict.fromkeys(name for format in formats for name in format.known))
    there = list(dict.fromkeys(name for row in rows if isinstance(row.value, dict) for name in row.value))
    for field, column in source.columns.items():
        if field not in fields or (there and column not in there):
            raise _wrong(field, column, fields, there, rows, source, formats)


def _wrong(
    field: str,
    column: str,
    fields: Sequence[str],
    there: Sequence[str],
    rows: Sequence[SourceRow],
    source: Source,
    formats: Sequence[Format],
) -> InputError:
    where = rows[0].place.file if rows else source.path
    of = f"the format {formats[0].name}" if len(formats) == 1 else "any format"
    if field in there and column in fields:  # the other way round, which is what other tools want
        return InputError(
            f"`columns` has `{field}: {column}`, but {field!r} is a column of the file and {column!r} a field of {of}",
            where=where,
            remedy=f"write the format's field first: `columns: {{{column}: {field}}}`",
        )
    if field not in fields:
        alike = nearest(field, fields)
        return InputError(
            f"`columns` names the field {field!r}, which {of} does not have"
            if len(formats) == 1
            else f"`columns` names the field {field!r}, which no format has",
            where=where,
            expected=f"one of {quoted(fields)}",
            remedy=f"the nearest is {alike!r}" if alike else None,
        )
    alike = nearest(column, there)
    return InputError(
        f"`columns` names the column {column!r}, which no row has (of the first {len(rows)}); they have {quoted(there)}",
        where=where,
        remedy=f"the nearest is {alike!r}" if alike else None,
    )
