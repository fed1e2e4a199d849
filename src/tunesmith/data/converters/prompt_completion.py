"""prompt_completion: `{"prompt", "completion"}`, two strings, or two lists of messages as TRL writes them."""

from __future__ import annotations

from dataclasses import replace

from tunesmith.config.schema import Source
from tunesmith.data.converters.base import (
    Format,
    Row,
    answer,
    answer_field,
    conversation_of,
    field_of,
    has_all,
    text_field,
    user,
    with_system,
)
from tunesmith.data.converters.images import Pictures, pictures_of
from tunesmith.data.converters.judged import is_judged
from tunesmith.data.converters.tools import tools_of
from tunesmith.data.converters.turns import messages_of
from tunesmith.data.schema import Conversation, Message, Place


def convert(row: Row, place: Place, source: Source) -> Conversation:
    """`prompt` is what the user says, `completion` what the assistant answers; as lists, the chat before and from there on.

    Only the completion is learned.

    Raises:
        BadRow: a field is missing or of another type, or the completion is empty.
    """
    with pictures_of(row, place, source) as pictures:
        before = prompt_of(row, place, pictures)
        said = field_of(row, "completion", place)
        if isinstance(said, list):
            after = messages_of(said, "completion", place, pictures)
        else:
            after = (answer(answer_field(row, "completion", place)),)
    return conversation_of((*before, *after), place, tools_of(row, place))


def prompt_of(row: Row, place: Place, pictures: Pictures) -> tuple[Message, ...]:
    """The field `prompt` as messages without loss, behind the row's `system` if it has one.

    Raises:
        BadRow: as `convert`.
    """
    if isinstance(field_of(row, "prompt", place), list):
        messages = context(messages_of(row["prompt"], "prompt", place, pictures))
    else:
        messages = (user(pictures.in_text(text_field(row, "prompt", place))),)
    return with_system(row, messages, place)


def context(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages, none of them to be learned."""
    return tuple(replace(message, loss=0.0) for message in messages)


FORMAT = Format(
    name="prompt_completion",
    shape='{"prompt": "...", "completion": "..."}',
    fields=("prompt", "completion"),
    others=("system", "system_prompt", "tools", "functions", "images", "image"),
    makes=Conversation,
    convert=convert,
    test=lambda row: has_all(row, ("prompt", "completion")) and not is_judged(row),
)
