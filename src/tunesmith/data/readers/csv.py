"""CSV and TSV: a header, then a row a line, or several lines where a quoted cell holds line ends. Cells are text.

A row that does not fit the header is a bad row; the rows around it are still read.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from tunesmith.config.schema import Source
from tunesmith.data.readers.file import is_empty
from tunesmith.data.readers.text import lines
from tunesmith.data.schema import BadRow, Place, SourceRow
from tunesmith.data.words import quoted
from tunesmith.errors import InputError

# Characters in one cell; Python's own limit of 131,072 is less than a long article. Without any, a quote that is never
# closed would take the rest of a file of any size into memory.
_LONGEST_CELL = 1 << 24


def read_csv(path: Path, source: Source) -> Iterator[SourceRow]:
    """Read the rows of a file whose cells are separated by commas; by semicolons or tabs where its header says so.

    Raises:
        InputError: as `_read`.
    """
    first = next((text for _, text in lines(path, source.encoding) if text.strip()), "")
    # Spreadsheets of countries with decimal commas write semicolons.
    others = [mark for mark in (";", "\t") if mark in first and "," not in first]
    return _read(path, source, others[0] if others else ",")


def read_tsv(path: Path, source: Source) -> Iterator[SourceRow]:
    """Read the rows of a file whose cells are separated by tabs.

    Raises:
        InputError: as `_read`.
    """
    return _read(path, source, "\t")


def _read(path: Path, source: Source, separator: str) -> Iterator[SourceRow]:
    """Read the rows. Blank lines are none.

    Raises:
        InputError: the file is empty, not in the source's encoding, holds no more than a header, or its header leaves a
            name out or holds one twice.
    """
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
    text = (f"{line}\n" for _, line in lines(path, source.encoding))
    records = csv.reader(text, delimiter=separator, strict=True)
    header: list[str] = []
    row = 0
    while True:
        line = records.line_num + 1
        try:
            cells = next(records, None)
        except csv.Error as error:
            if not header:
                why, remedy = _why(error, records.line_num)
                raise InputError(
                    f"the header is broken: {why}", where=f"{path}:{line}", remedy=remedy
                ) from None
            row += 1
            yield _broken(error, Place(str(path), line, row), records.line_num)
            continue
        if cells is None:
            break
        if _is_blank(cells, header):
            continue
        if not header:
            header = _header(cells, f"{path}:{line}")
            continue
        row += 1
        yield _row(cells, header, Place(str(path), line, row), separator)
    if not header:
        raise is_empty(path)
    if not row:
        raise InputError("the file holds no rows, only a header", where=str(path))


def _is_blank(cells: list[str], header: list[str]) -> bool:
    return not cells or (len(header) != 1 and len(cells) == 1 and not cells[0].strip())


def _header(cells: list[str], where: str) -> list[str]:
    expected = "a first line with a name for each column"
    if any("\0" in cell for cell in cells):
        raise InputError(
            "the header holds a null character; this is no text file", where=where, expected=expected
        )
    for number, name in enumerate(cells, start=1):
        if not name.strip():
            raise InputError(f"column {number} of the header has no name", where=where, expected=expected)
        if name in cells[: number - 1]:
            raise InputError(
                f"two columns have the name {name!r}", where=where, remedy="give one of them another name"
            )
    return cells


def _row(cells: list[str], header: list[str], place: Place, separator: str) -> SourceRow:
    if len(cells) != len(header):
        mark = {",": "comma", ";": "semicolon", "\t": "tab"}[separator]
        problem = BadRow(
            f"row {place.row} has {_cells(len(cells))}",
            where=str(place),
            expected=f"{len(header)}, as the header has: {quoted(header)}",
            remedy=f"a cell with a {mark} or a line end in it has to stand in double quotes",
        )
        return SourceRow(None, place, problem)
    null = next((name for name, cell in zip(header, cells, strict=True) if "\0" in cell), None)
    if null is not None:
        problem = BadRow(f"row {place.row} has a null character in its cell {null!r}", where=str(place))
        return SourceRow(None, place, problem)
    return SourceRow(dict(zip(header, cells, strict=True)), place)


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"


def _broken(error: csv.Error, place: Place, last_line: int) -> SourceRow:
    why, remedy = _why(error, last_line)
    return SourceRow(None, place, BadRow(f"row {place.row}: {why}", where=str(place), remedy=remedy))


def _why(error: csv.Error, last_line: int) -> tuple[str, str]:
    """What is wrong in the user's words, and what to do."""
    message, remedy = str(error), "a double quote inside a quoted cell is written twice"
    if message.startswith("unexpected end of data"):
        message = f"a cell's opening quote is never closed, up to the file's last line, {last_line}"
    elif message.startswith("field larger"):
        message = f"a cell holds more than {_LONGEST_CELL:,} characters; is its quote never closed?"
    elif message.startswith("new-line character"):
        message = "a carriage return stands outside of quotes, with no line feed behind it"
        remedy = "if it belongs to a cell, put that in double quotes; if it ends the line, save the file with line feeds"
    return message, remedy
