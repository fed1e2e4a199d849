"""labelled: a chat in any of the other forms, and `label`: whether its last answer is good (KTO)."""

from __future__ import annotations

from typing import Any

from tunesmith.config.schema import Source
from tunesmith.data.converters import alpaca, messages, prompt_completion, query_response, sharegpt
from tunesmith.data.converters.base import Format, Row, bad_row, field_of, named
from tunesmith.data.converters.judged import LABELS, has_all, is_labelled, is_preference, truth_of
from tunesmith.data.schema import Conversation, Labelled, Place
from tunesmith.data.words import kind_of, quoted

_CHATS = (
    messages.FORMAT,
    sharegpt.FORMAT,
    prompt_completion.FORMAT,
    alpaca.FORMAT,
    query_response.FORMAT,
)


def convert(row: Row, place: Place, source: Source) -> Labelled:
    """The chat as its own format reads it, with its judgement.

    Raises:
        BadRow: there is no chat or no judgement, or the chat is wrong.
    """
    chat = next((format for format in _CHATS if has_all(row, format.fields)), None)
    if chat is None:
        raise bad_row(
            f"row {place.row} has no chat; it has {quoted(row) or 'no fields'}",
            place,
            expected="'messages', 'conversations', 'prompt' and 'completion', 'instruction' and 'output', or 'query' "
            "and 'response'",
        )
    conversation = chat.convert(row, place, source)
    assert isinstance(conversation, Conversation)  # what all these formats make
    return Labelled(conversation, _good(row, place))


def _good(row: Row, place: Place) -> bool:
    name = next((name for name in LABELS if name in row), LABELS[0])
    value: Any = field_of(row, name, place)
    good = truth_of(value)
    if good is None:
        found = repr(value) if isinstance(value, str | int | float) else kind_of(value)
        raise bad_row(
            f"{named(name, place)} is {found}", place, expected="true (a good answer) or false (a bad one)"
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
