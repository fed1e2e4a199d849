"""prompt_completion: `{"prompt", "completion"}`, two strings."""

from __future__ import annotations

from typing import Any

from tunesmith.data.converters.base import Format, answer_of, field_of, text_field
from tunesmith.data.schema import Conversation, Message, Place


def convert(row: dict[str, Any], place: Place) -> Conversation:
    """`prompt` is what the user says, `completion` what the assistant answers.

    Raises:
        BadRow: a field is missing or no string, or the completion is empty.
    """
    prompt = text_field(row, "prompt", place)
    completion = answer_of(
        field_of(row, "completion", place), f"field 'completion' of row {place.row}", place
    )
    return Conversation((Message("user", prompt, 0.0), Message("assistant", completion, 1.0)))


FORMAT = Format(
    name="prompt_completion",
    shape='{"prompt": "...", "completion": "..."}',
    fields=("prompt", "completion"),
    makes=Conversation,
    convert=convert,
)
