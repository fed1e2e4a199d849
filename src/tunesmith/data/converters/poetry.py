"""poetry: `{"id", "topic", "input", "output"}`, a request for a poem and the poem."""

from __future__ import annotations

from tunesmith.config.schema import Source
from tunesmith.data.converters.base import (
    Format,
    Row,
    answer,
    answer_field,
    bad_row,
    conversation_of,
    field_of,
    named,
    text_field,
    user,
)
from tunesmith.data.schema import Conversation, Place
from tunesmith.data.words import kind_of


def convert(row: Row, place: Place, source: Source) -> Conversation:
    """`input` is what the user says, `output` what the assistant answers; `id` and `topic` describe the row.

    Raises:
        BadRow: a field is missing or of another type, or the poem is empty.
    """
    name = field_of(row, "id", place)
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise bad_row(f"{named('id', place)} is {kind_of(name)}", place, expected="a string or a number")
    text_field(row, "topic", place)
    question = user(text_field(row, "input", place))
    return conversation_of((question, answer(answer_field(row, "output", place))), place)


FORMAT = Format(
    name="poetry",
    shape='{"id": "spring_001", "topic": "Spring", "input": "Write a poem about spring", "output": "..."}',
    fields=("id", "topic", "input", "output"),
    makes=Conversation,
    convert=convert,
    id_field="id",
)
