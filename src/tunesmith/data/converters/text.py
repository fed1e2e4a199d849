"""text: `{"text"}`, plain text to pre-train on."""

from __future__ import annotations

from typing import Any

from tunesmith.data.converters.base import Format, answer_of, field_of
from tunesmith.data.schema import Place, Text


def convert(row: dict[str, Any], place: Place) -> Text:
    """Every token of `text` is to be predicted.

    Raises:
        BadRow: the field is missing, no string, or empty.
    """
    return Text(answer_of(field_of(row, "text", place), f"field 'text' of row {place.row}", place))


FORMAT = Format(name="text", shape='{"text": "..."}', fields=("text",), makes=Text, convert=convert)
