"""JSON as the standard has it: no NaN, no key twice, no depth that breaks the parser."""

from __future__ import annotations

import json
import re
from typing import Any

_BLANKS = re.compile(r"[ \t\n\r]*")


class BrokenJson(ValueError):
    """A text is no JSON: `message` says why, `position` is the character where it shows."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.message, self.position = message, position


class _NotStandard(ValueError):
    """Python's parser would take it, the standard does not."""


def _refuse_constant(name: str) -> Any:
    raise _NotStandard(f"{name} is not a JSON value")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):  # a plain dict would keep the last and lose the others in silence
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _NotStandard(f"the key {twice!r} stands twice in one object")
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
        raise BrokenJson(str(error), position) from None
    except RecursionError:
        raise BrokenJson("values are nested too deeply", position) from None
    except ValueError:  # Python refuses to convert integers of more than 4,300 digits
        raise BrokenJson("a number has too many digits", position) from None


def line_and_column(text: str, position: int) -> tuple[int, int]:
    """Where a position stands, both counted from 1."""
    return text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)
