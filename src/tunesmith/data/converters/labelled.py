"""labelled: a chat in any of the other forms, and `label`: whether its last answer is good (KTO)."""

from __future__ import annotations

from typing import Any

from tunesmith.config.schema import Source
from tunesmith.data.converters import (
    alpaca,
    conversation,
    messages,
    prompt_completion,
    query_response,
    question_answer,
    sharegpt,
)
from tunesmith.data.converters.base import Format, Row, bad_row, field_of, has, has_all, named
from tunesmith.data.converters.judged import LABELS, is_labelled, is_preference, truth_of
from tunesmith.data.schema import Conversation, Labelled, Place
from tunesmith.data.words import kind_of, quoted

_CHATS = (
    messages.FORMAT,
    sharegpt.FORMAT,
    conversation.FORMAT,
    prompt_completion.FORMAT,
    alpaca.FORMAT,
    query_response.FORMAT,
    question_answer.FORMAT,
)


def convert(row: Row, place: Place, source: Source) -> Labelled:
    """The chat as its own format reads it, with its judgement.

    Raises:
        BadRow: there is no chat or no judgement, or the chat is wrong.
    """
    chat = next((format for format in _CHATS if _holds(row, format)), None)
    if chat is None:
        raise bad_row(
            f"row {place.row} has no chat; it has {quoted(row) or 'no fields'}",
            place,
            expected="'messages', 'conversations', 'conversation', 'prompt' and 'completion', 'instruction' and 'output', "
            "'query' and 'response', or 'question' and 'answer'",
        )
    good = _good(row, chat, place)
    converted = chat.convert(row, place, source)
    assert isinstance(converted, Conversation)  # what all these formats make
    return Labelled(converted, good)


def _holds(row: Row, chat: Format) -> bool:
    return has_all(row, chat.fields) or (
        chat is question_answer.FORMAT and has_all(row, ("question", "response"))
    )


def _good(row: Row, chat: Format, place: Place) -> bool:
    name = next((name for name in LABELS if has(row, name)), LABELS[0])
    value: Any = field_of(row, name, place)
    good = truth_of(value)
    if good is None:
        found = repr(value) if isinstance(value, str | int | float) else kind_of(value)
        raise bad_row(
            f"{named(name, place)} is {found}",
            place,
            expected="true or 1 (a good answer), or false or 0 (a bad one)",
            remedy=f"if it does not judge the answer, read the chat alone: `format: {chat.name}` beside the file's `path`",
        )
    return good


FORMAT = Format(
    name="labelled",
    shape='{"messages": [...], "label": true}',
    fields=("label",),
    others=tuple(dict.fromkeys(["kto_tag", *(name for chat in _CHATS for name in chat.known)])),
    makes=Labelled,
    convert=convert,
    test=lambda row: is_labelled(row) and not is_preference(row),
)
