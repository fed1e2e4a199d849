"""How the readers' tests read: a path, as a recipe gives it, to rows or to the sentence of an error."""

from __future__ import annotations

from typing import Any

import pytest

from tunesmith.config.schema import Source
from tunesmith.data.readers import find, read
from tunesmith.data.schema import SourceRow
from tunesmith.errors import InputError


def rows(path: object, seed: int = 0, **options: Any) -> list[SourceRow]:
    return list(read(find(Source(path=str(path), **options)), seed))


def values(path: object, seed: int = 0, **options: Any) -> list[Any]:
    return [row.value for row in rows(path, seed, **options)]


def lines(path: object, **options: Any) -> list[int]:
    return [row.place.line for row in rows(path, **options)]


def error(path: object, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        rows(path, **options)
    return str(caught.value)
