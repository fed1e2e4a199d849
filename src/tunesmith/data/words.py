"""The words that this floor's error messages share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def kind_of(value: Any) -> str:
    """What a JSON value is, in the user's words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return "a string"
    return "a number"


def quoted(names: Iterable[str]) -> str:
    """Names as a readable list. `repr` keeps odd characters printable on any terminal."""
    return ", ".join(repr(name) for name in names)
