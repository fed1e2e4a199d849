"""captions: `image_path,caption`, a picture and what is to be said about it, mostly from a CSV."""

from __future__ import annotations

from tunesmith.config.schema import Source
from tunesmith.data.converters.base import (
    Format,
    Row,
    answer,
    answer_field,
    conversation_of,
    field_of,
    named,
    user,
)
from tunesmith.data.converters.images import Pictures, joined
from tunesmith.data.schema import Conversation, Place

INSTRUCTION = "COCO Yes: "


def convert(row: Row, place: Place, source: Source) -> Conversation:
    """The user shows the picture behind the instruction (or where `<image>` stands in it); the caption is the answer.

    Raises:
        BadRow: a field is missing or of another type, the caption is empty, or the picture cannot be used.
    """
    picture = Pictures({}, place, source).at(field_of(row, "image_path", place), named("image_path", place))
    instruction = source.instruction if source.instruction is not None else INSTRUCTION
    before, _, behind = instruction.partition("<image>")
    question = user(joined([before, picture, behind]))
    return conversation_of((question, answer(answer_field(row, "caption", place))), place)


FORMAT = Format(
    name="captions",
    shape='{"image_path": "pictures/1.jpg", "caption": "..."}',
    fields=("image_path", "caption"),
    makes=Conversation,
    convert=convert,
)
