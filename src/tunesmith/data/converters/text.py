"""text: `{"text"}`, plain text to pre-train on."""

from __future__ import annotations

from tunesmith.config.schema import Source
from tunesmith.data.converters import classification, ner
from tunesmith.data.converters.base import Format, Row, answer_field, has
from tunesmith.data.schema import Place, Text


def convert(row: Row, place: Place, source: Source) -> Text:
    """Every token of `text` is to be predicted.

    Raises:
        BadRow: the field is missing, no string, or empty.
    """
    return Text(answer_field(row, "text", place, "text to learn"))


def _test(row: Row) -> bool:
    return has(row, "text") and not (classification.FORMAT.fits(row) or ner.FORMAT.fits(row))


FORMAT = Format(
    name="text", shape='{"text": "..."}', fields=("text",), makes=Text, convert=convert, test=_test
)
