"""The words that this floor's error messages share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tunesmith.errors import InputError


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
    if isinstance(value, int | float):
        return "a number"
    return (
        "bytes" if isinstance(value, bytes) else f"a {type(value).__name__}"
    )  # Parquet has more kinds than JSON


def quoted(names: Iterable[str]) -> str:
    """Names as a readable list. `repr` keeps odd characters printable on any terminal."""
    return ", ".join(repr(name) for name in names)


def drop_reason(error: InputError) -> str:
    """Why a row was dropped, without its place."""
    return f"{error.found}; expected {error.expected}" if error.expected else error.found
