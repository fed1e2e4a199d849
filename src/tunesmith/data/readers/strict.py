"""JSON as the standard has it: no NaN, no key twice, no depth that breaks the parser."""

from __future__ import annotations

import json
import re
from typing import Any

_BLANKS = re.compile(r"[ \t\n\r]*")
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|-?Infinity|NaN|[{}\[\],:]')


class BrokenJson(ValueError):
    """A text is no JSON: `message` says why, `position` is the character where it shows."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.message, self.position = message, position


class _NotStandard(ValueError):
    """Python's parser would take it, the standard does not: a `key` that stands twice, or else a constant."""

    def __init__(self, message: str, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


def _refuse_constant(name: str) -> Any:
    raise _NotStandard(f"{name} is not a JSON value")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):  # a plain dict would keep the last and lose the others in silence
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _NotStandard(f"the key {twice!r} stands twice in one object", twice)
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant)


def after_blanks(text: str, position: int) -> int:
    """The first position from `position` on that holds no JSON blank."""
    match = _BLANKS.match(text, position)
    return match.end() if match else position


def parse_value(text: str, position: int) -> tuple[Any, int]:
    """Parse the value that begins at `position`; give it and the position behind it.

    Raises:
        BrokenJson: no JSON value begins there.
    """
    try:
        return _DECODER.raw_decode(text, position)
    except json.JSONDecodeError as error:
        raise BrokenJson(error.msg[:1].lower() + error.msg[1:], error.pos) from None
    except _NotStandard as error:
        raise BrokenJson(str(error), _position_of(error.key, text, position)) from None
    except RecursionError:
        raise BrokenJson("values are nested too deeply", position) from None
    except ValueError:  # Python refuses to convert integers of more than 4,300 digits
        raise BrokenJson("a number has too many digits", position) from None


def _position_of(key: str | None, text: str, position: int) -> int:
    """Where a key stands in an object for the second time, or the first constant where none is sought.

    Python's parser does not say. All that stands before it has been parsed, so that it need not be checked.
    """
    objects: list[set[str] | None] = []  # the keys of each object that is open; None for a list
    at_key = False
    for match in _TOKEN.finditer(text, position):
        token = match[0]
        if token in "{[":
            objects.append(set() if token == "{" else None)
        elif token in "}]":
            objects.pop()
        elif token[0] == '"' and at_key:
            name, seen = json.loads(token), objects[-1]
            assert seen is not None
            if name == key and name in seen:
                return match.start()
            seen.add(name)
        elif key is None and token[0] in "-IN":
            return match.start()
        at_key = token in "{," and bool(objects) and objects[-1] is not None
    return position


def line_and_column(text: str, position: int) -> tuple[int, int]:
    """Where a position stands, both counted from 1."""
    return text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)
