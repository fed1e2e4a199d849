"""JSON: an array of rows, or an object that holds one list of rows beside other keys.

The outer value is walked by hand, so that each row knows the line it begins on and a file may be larger than memory;
the rows are left to Python's parser.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tunesmith.config.schema import Source
from tunesmith.data.readers.file import is_empty
from tunesmith.data.readers.strict import BrokenJson, after_blanks, parse_value
from tunesmith.data.readers.text import BLOCK, blocks
from tunesmith.data.schema import Place, SourceRow
from tunesmith.data.words import kind_of, quoted
from tunesmith.errors import InputError

T = TypeVar("T")
_EXPECTED = "an array of rows, or an object that holds one list of rows"
# A value cut off by the window's end is told as broken within its last characters: `-Infinit`, `\ud83`, `1.5e-`.
_NEAR = 16


def read_json(path: Path, source: Source) -> Iterator[SourceRow]:
    """Read the rows of the file's one list of rows. An object is walked twice: once to find which list that is.

    Raises:
        InputError: the file is empty, not in the source's encoding or broken JSON (with line and column), or holds no
            such list.
    """
    window = _Window(blocks(path, source.encoding))
    opening = window.step(_peek)
    if not opening:
        raise is_empty(path)
    try:
        if opening == "[":
            elements: Iterator[_Element] = _elements(window)
        elif opening == "{":
            members = _members(window)
            _must_end(window)
            window = _Window(blocks(path, source.encoding))
            elements = _elements_under(window, _key_of_rows(members, path))
        else:
            value = window.step(_value)
            _must_end(window)
            raise InputError(f"the file holds {kind_of(value)}", where=str(path), expected=_EXPECTED)
        number = 0
        for number, (value, line) in enumerate(elements, start=1):
            yield SourceRow(value, Place(str(path), line, number))
        _must_end(window)
    except BrokenJson as error:
        raise _broken(window, path, error) from None
    if not number:
        raise InputError("the file holds no rows: its array is empty", where=str(path))


class _Window:
    """The stretch of the file's text that is being read; `at` is where. It moves on, and lets go of what is behind.

    `line` and `column` say where the stretch begins in the file, from 1.
    """

    def __init__(self, text: Iterator[str]) -> None:
        self.text, self.at, self.line, self.column = "", 0, 1, 1
        self._blocks, self._ended = text, False
        self._counted = 0  # up to here, `line_here` counted the line feeds
        self._line_counted = 1

    def step(self, parse: Callable[[str, int], tuple[T, int]]) -> T:
        """Parse what begins here and stand behind it. `parse` is asked again with more text where it saw the end.

        Raises:
            BrokenJson: as `parse`; its position is one of the window.
        """
        while True:
            try:
                value, end = parse(self.text, self.at)
            except BrokenJson as error:
                cut_off = error.position >= len(self.text) - _NEAR or error.message.startswith("unterminated")
                if self._ended or not cut_off:
                    raise
            else:
                if self._ended or end < len(self.text):
                    self.at = end
                    return value
            self._move_on()

    def line_here(self) -> int:
        """The line of the file that `at` is on."""
        self._line_counted += self.text.count("\n", self._counted, self.at)
        self._counted = self.at
        return self._line_counted

    def line_and_column(self, position: int) -> tuple[int, int]:
        """Where a position of the window is in the file."""
        newlines = self.text.count("\n", 0, position)
        column = position - self.text.rfind("\n", 0, position) if newlines else self.column + position
        return self.line + newlines, column

    def _move_on(self) -> None:
        """Let go of the text before `at`, and take at least as much again as is kept: long values stay linear."""
        self.line_here()
        self.line, self.column = self.line_and_column(self.at)
        kept = [self.text[self.at :]]
        size, wanted = 0, max(BLOCK, len(kept[0]))
        while size < wanted and not self._ended:
            block = next(self._blocks, None)
            self._ended = block is None
            kept.append(block or "")
            size += len(kept[-1])
        self.text, self.at, self._counted = "".join(kept), 0, 0


class _Element(NamedTuple):
    """A value of a list and the line it begins on."""

    value: Any
    line: int


class _Rows(NamedTuple):
    """What a list in the outer object holds: how many values, and whether there is an object among them."""

    size: int
    objects: bool


# ---- walking, one step at a time; each step ends behind the blanks that follow


def _peek(text: str, position: int) -> tuple[str, int]:
    """The next character that is no blank; nothing at the end."""
    position = after_blanks(text, position)
    return text[position : position + 1], position


def _value(text: str, position: int) -> tuple[Any, int]:
    value, end = parse_value(text, position)
    return value, after_blanks(text, end)


def _bracket(text: str, position: int) -> tuple[None, int]:
    return None, after_blanks(text, position + 1)


def _value_and_more(closing: str) -> Callable[[str, int], tuple[tuple[Any, bool], int]]:
    """A step over a value and what follows: a comma (True: another one follows), or the closing bracket (False)."""

    def step(text: str, position: int) -> tuple[tuple[Any, bool], int]:
        value, end = _value(text, position)
        end, more = _comma_or_end(text, end, closing)
        return (value, more), end

    return step


_LIST_VALUE, _OBJECT_VALUE = _value_and_more("]"), _value_and_more("}")


def _comma_or_end(text: str, position: int, closing: str) -> tuple[int, bool]:
    found = text[position : position + 1]
    if found == closing:
        return after_blanks(text, position + 1), False
    if found != ",":
        raise BrokenJson(f"expecting ',' or '{closing}'", position)
    position = after_blanks(text, position + 1)
    if text[position : position + 1] == closing:
        raise BrokenJson(f"a comma before '{closing}'", position)
    return position, True


def _end_of_member(text: str, position: int) -> tuple[bool, int]:
    position, more = _comma_or_end(text, after_blanks(text, position), "}")
    return more, position


def _new_key(seen: Container[str]) -> Callable[[str, int], tuple[str, int]]:
    """A step over a key that is not among those seen, and its colon."""

    def step(text: str, position: int) -> tuple[str, int]:
        if text[position : position + 1] != '"':
            raise BrokenJson("expecting a key in double quotes", position)
        key, end = _value(text, position)
        if key in seen:
            raise BrokenJson(f"the key {key!r} stands twice in one object", position)
        if text[end : end + 1] != ":":
            raise BrokenJson("expecting ':' delimiter", end)
        return key, after_blanks(text, end + 1)

    return step


def _elements(window: _Window) -> Iterator[_Element]:
    """The values of the list that begins here."""
    window.step(_bracket)
    if window.step(_peek) == "]":
        window.step(_bracket)
        return
    more = True
    while more:
        line = window.line_here()
        value, more = window.step(_LIST_VALUE)
        yield _Element(value, line)


def _members(window: _Window) -> dict[str, _Rows | None]:
    """The keys of the object that begins here, and what those hold that hold a list."""
    members: dict[str, _Rows | None] = {}
    for key, elements in _walk_object(window):
        if elements is None:
            members[key] = None
        else:
            size, objects = 0, False
            for element in elements:
                size, objects = size + 1, objects or isinstance(element.value, dict)
            members[key] = _Rows(size, objects)
    return members


def _elements_under(window: _Window, key: str) -> Iterator[_Element]:
    """The values of one list in the object that begins here."""
    window.step(_peek)
    for name, elements in _walk_object(window):
        for element in elements or ():
            if name == key:
                yield element


def _walk_object(window: _Window) -> Iterator[tuple[str, Iterator[_Element] | None]]:
    """Each key with the values of its list, which have to be taken before the next key, or None for other values."""
    seen: set[str] = set()
    window.step(_bracket)
    if window.step(_peek) == "}":
        window.step(_bracket)
        return
    more = True
    while more:
        key = window.step(_new_key(seen))
        seen.add(key)
        if window.step(_peek) == "[":
            yield key, _elements(window)
            more = window.step(_end_of_member)
        else:
            _, more = window.step(_OBJECT_VALUE)
            yield key, None


def _must_end(window: _Window) -> None:
    if window.step(_peek):
        raise BrokenJson("more text after the end of the JSON value", window.at)


# ---- what is wrong with it


def _broken(window: _Window, path: Path, error: BrokenJson) -> InputError:
    line, column = window.line_and_column(error.position)
    remedy = None
    if error.message.startswith("more text") and window.text[error.position] == "{":
        remedy = "if the file holds one object a line, give its name the extension .jsonl"
    found = f"broken JSON at line {line}, column {column}: {error.message}"
    return InputError(found, where=f"{path}:{line}", remedy=remedy)


def _key_of_rows(members: dict[str, _Rows | None], path: Path) -> str:
    """The key of the only list of objects.

    Raises:
        InputError: there is none, there are several, or it is empty.
    """
    of_objects = [key for key, rows in members.items() if rows and rows.objects]
    if len(of_objects) == 1:
        return of_objects[0]
    if of_objects:
        raise InputError(
            f"the file holds {len(of_objects)} lists of objects: {quoted(of_objects)}",
            where=str(path),
            expected="one, to know which are the rows",
            remedy="keep one list of rows in a file",
        )
    empty = [key for key, rows in members.items() if rows and not rows.size]
    if empty:
        raise InputError(f"the file holds no rows: its list {quoted(empty)} is empty", where=str(path))
    raise InputError(
        f"the file holds an object with no list of rows, only {quoted(members)}",
        where=str(path),
        expected=_EXPECTED,
    )
