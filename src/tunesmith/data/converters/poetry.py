"""poetry: `{"id", "topic", "input", "output"}`, a request for a poem and the poem."""

from __future__ import annotations

from typing import Any

from tunesmith.data.converters.base import Format, answer_of, bad_row, field_of, text_field
from tunesmith.data.schema import Conversation, Message, Place
from tunesmith.data.words import kind_of


def convert(row: dict[str, Any], place: Place) -> Conversation:
    """`input` is what the user says, `output` what the assistant answers; `id` and `topic` describe the row.

    Raises:
        BadRow: a field is missing or of another type, or the poem is empty.
    """
    name = field_of(row, "id", place)
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise bad_row(
            f"field 'id' of row {place.row} is {kind_of(name)}", place, expected="a string or a number"
        )
    text_field(row, "topic", place)
    question = text_field(row, "input", place)
    answer = answer_of(field_of(row, "output", place), f"field 'output' of row {place.row}", place)
    return Conversation((Message("user", question, 0.0), Message("assistant", answer, 1.0)))


FORMAT = Format(
    name="poetry",
    shape='{"id": "spring_001", "topic": "Spring", "input": "Write a poem about spring", "output": "..."}',
    fields=("id", "topic", "input", "output"),
    makes=Conversation,
    convert=convert,
)
