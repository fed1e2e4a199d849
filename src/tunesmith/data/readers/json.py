"""JSON: an array of rows, or an object that holds one list of rows beside other keys.

The outer value is walked by hand, so that each row knows the line it begins on; the rows are left to Python's parser.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tunesmith.data.readers.file import decode_utf8, is_empty, read_bytes
from tunesmith.data.readers.strict import BrokenJson, after_blanks, line_and_column, parse_value
from tunesmith.data.schema import Place, SourceRow
from tunesmith.data.words import kind_of, quoted
from tunesmith.errors import InputError


class _Element(NamedTuple):
    """A value of a list and the character it begins at."""

    value: Any
    position: int


def read_json(path: Path) -> Iterator[SourceRow]:
    """Read the rows of the file's one list of rows.

    Raises:
        InputError: the file is empty, not UTF-8 or broken JSON (with line and column), or holds no such list.
    """
    text = decode_utf8(read_bytes(path), path)
    start = after_blanks(text, 0)
    if start == len(text):
        raise is_empty(path)
    try:
        outer, end = _walk(text, start)
        end = after_blanks(text, end)
        if end != len(text):
            raise BrokenJson("more text after the end of the JSON value", end)
    except BrokenJson as error:
        raise _broken(text, path, error) from None
    line, counted = 1, 0
    for number, (value, position) in enumerate(_rows(outer, path), start=1):
        line += text.count("\n", counted, position)
        counted = position
        yield SourceRow(value, Place(str(path), line, number))


def _broken(text: str, path: Path, error: BrokenJson) -> InputError:
    line, column = line_and_column(text, error.position)
    remedy = None
    if error.message.startswith("more text") and text[error.position] == "{":
        remedy = "if the file holds one object a line, give its name the extension .jsonl"
    found = f"broken JSON at line {line}, column {column}: {error.message}"
    return InputError(found, where=f"{path}:{line}", remedy=remedy)


def _rows(outer: Any, path: Path) -> list[_Element]:
    """The elements of the list of rows: the outer list, or the only list of objects in the outer object.

    Raises:
        InputError: there is none, there are several, or it is empty.
    """
    if isinstance(outer, list):
        if not outer:
            raise InputError("the file holds no rows: its array is empty", where=str(path))
        return outer
    expected = "an array of rows, or an object that holds one list of rows"
    if not isinstance(outer, dict):
        raise InputError(f"the file holds {kind_of(outer)}", where=str(path), expected=expected)
    lists = {key: value for key, value in outer.items() if isinstance(value, list)}
    of_objects = [key for key, rows in lists.items() if any(isinstance(row.value, dict) for row in rows)]
    if len(of_objects) == 1:
        return lists[of_objects[0]]
    if of_objects:
        raise InputError(
            f"the file holds {len(of_objects)} lists of objects: {quoted(of_objects)}",
            where=str(path),
            expected="one, to know which are the rows",
            remedy="keep one list of rows in a file",
        )
    empty = [key for key, rows in lists.items() if not rows]
    if empty:
        raise InputError(f"the file holds no rows: its list {quoted(empty)} is empty", where=str(path))
    raise InputError(
        f"the file holds an object with no list of rows, only {quoted(outer)}",
        where=str(path),
        expected=expected,
    )


def _walk(text: str, position: int) -> tuple[Any, int]:
    """Parse the outer value. Lists at its top, or one level down in an object, become lists of `_Element`."""
    if text[position] == "[":
        return _list(text, position)
    if text[position] == "{":
        return _object(text, position)
    return parse_value(text, position)


def _list(text: str, position: int) -> tuple[list[_Element], int]:
    elements: list[_Element] = []
    position = after_blanks(text, position + 1)
    if text[position : position + 1] == "]":
        return elements, position + 1
    while True:
        value, end = parse_value(text, position)
        elements.append(_Element(value, position))
        position, more = _comma_or_end(text, end, "]")
        if not more:
            return elements, position


def _object(text: str, position: int) -> tuple[dict[str, Any], int]:
    members: dict[str, Any] = {}
    position = after_blanks(text, position + 1)
    if text[position : position + 1] == "}":
        return members, position + 1
    while True:
        if text[position : position + 1] != '"':
            raise BrokenJson("expecting a key in double quotes", position)
        key, end = parse_value(text, position)
        if key in members:
            raise BrokenJson(f"the key {key!r} stands twice in one object", position)
        position = after_blanks(text, end)
        if text[position : position + 1] != ":":
            raise BrokenJson("expecting ':' delimiter", position)
        position = after_blanks(text, position + 1)
        is_list = text[position : position + 1] == "["
        members[key], end = _list(text, position) if is_list else parse_value(text, position)
        position, more = _comma_or_end(text, end, "}")
        if not more:
            return members, position


def _comma_or_end(text: str, position: int, end: str) -> tuple[int, bool]:
    """Step over what follows a value: a comma (True: another value follows) or the closing bracket (False)."""
    position = after_blanks(text, position)
    found = text[position : position + 1]
    if found == end:
        return position + 1, False
    if found != ",":
        raise BrokenJson(f"expecting ',' or '{end}'", position)
    position = after_blanks(text, position + 1)
    if text[position : position + 1] == end:
        raise BrokenJson(f"a comma before '{end}'", position)
    return position, True
