"""conversation: `{"conversation": [{"human", "assistant"}, ...]}`, pairs of a question and its answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunesmith.config.schema import Source
from tunesmith.data.converters.base import (
    Format,
    Row,
    answer,
    answer_of,
    bad_row,
    conversation_of,
    field_of,
    has,
    list_of,
    named,
    system,
    system_of,
    text_of,
    the_nearest,
    user,
)
from tunesmith.data.converters.images import Pictures, pictures_of
from tunesmith.data.converters.judged import is_judged
from tunesmith.data.schema import Conversation, Message, Place
from tunesmith.data.words import kind_of

_A_PAIR = 'an object such as {"human": "...", "assistant": "..."}'


def convert(row: Row, place: Place, source: Source) -> Conversation:
    """Each pair is two turns.

    Raises:
        BadRow: the field is missing or no list of pairs, or an answer is empty.
    """
    pairs = list_of(
        field_of(row, "conversation", place), named("conversation", place), place, "a list of pairs"
    )
    if not pairs:
        raise bad_row(f"{named('conversation', place)} is empty", place, expected=_A_PAIR)
    with pictures_of(row, place, source) as pictures:
        turns = _turns(pairs, place, pictures)
    return conversation_of((*system(system_of(row, place)), *turns), place)


def _turns(pairs: Sequence[Any], place: Place, pictures: Pictures) -> list[Message]:
    turns: list[Message] = []
    for number, pair in enumerate(pairs, start=1):
        what = f"pair {number} of row {place.row}"
        if not isinstance(pair, dict):
            raise bad_row(f"{what} is {kind_of(pair)}", place, expected=_A_PAIR)
        for name in ("human", "assistant"):
            if name not in pair:
                raise bad_row(
                    f"{what} has no field {name!r}", place, expected=_A_PAIR, remedy=_remedy(name, pair)
                )
        asked = text_of(pair["human"], f"the human's side of {what}", place)
        turns.append(user(pictures.in_text(asked)))
        turns.append(answer(answer_of(pair["assistant"], f"the assistant's side of {what}", place)))
    return turns


def _remedy(name: str, pair: Row) -> str | None:
    if {"role", "from"} & pair.keys():
        return (
            "messages with roles are read with `columns: {messages: conversation}` beside the file's `path`"
        )
    return the_nearest(name, pair)


FORMAT = Format(
    name="conversation",
    shape='{"conversation": [{"human": "...", "assistant": "..."}]}',
    fields=("conversation",),
    others=("system", "system_prompt", "images", "image"),
    makes=Conversation,
    convert=convert,
    test=lambda row: has(row, "conversation") and not is_judged(row),
)
