"""What the tests of the converters share: a place, a source, and what is said of a bad row."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image as Pillow

from tunesmith.config.schema import Source
from tunesmith.data.converters import FORMATS, convert
from tunesmith.data.schema import BadRow, Place, SourceRow

PLACE = Place("rows.jsonl", 7, 3)


def source(**options) -> Source:
    return Source(path="rows.jsonl", **options)


def read(name: str, row, place: Place = PLACE, **options):
    """The row as the named format converts it."""
    return convert(SourceRow(row, place), FORMATS[name], source(**options))


def said(name: str, row, **options) -> str:
    """What is said of a bad row. It begins with the place and can be printed anywhere."""
    with pytest.raises(BadRow) as caught:
        read(name, row, **options)
    message = str(caught.value)
    assert message.startswith("rows.jsonl:7: ")
    return message


def turns(conversation) -> list[tuple[str, object, float]]:
    return [(message.role, message.content, message.loss) for message in conversation.messages]


def picture(path: Path, size=(4, 3), **options) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.new("RGB", size, "red").save(path, **options)
    return str(path)
