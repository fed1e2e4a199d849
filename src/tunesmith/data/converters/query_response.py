"""query_response: `{"query", "response"}`, with `system` and `history` where a row has them, as ms-swift writes it."""

from __future__ import annotations

from tunesmith.config.schema import Source
from tunesmith.data.converters.base import (
    Format,
    Row,
    answer,
    answer_field,
    conversation_of,
    has_all,
    system,
    system_of,
    text_field,
    user,
)
from tunesmith.data.converters.history import history_of
from tunesmith.data.converters.images import Pictures, pictures_of
from tunesmith.data.converters.judged import is_judged
from tunesmith.data.schema import Conversation, Message, Place


def convert(row: Row, place: Place, source: Source) -> Conversation:
    """`query` is what the user says, `response` what the assistant answers, `history` what was said before.

    Raises:
        BadRow: a field is missing or of another type, or an answer is empty.
    """
    with pictures_of(row, place, source) as pictures:
        asked = prompt_of(row, place, pictures)
    return conversation_of((*asked, answer(answer_field(row, "response", place))), place)


def prompt_of(row: Row, place: Place, pictures: Pictures) -> tuple[Message, ...]:
    """All messages before the answer.

    Raises:
        BadRow: as `convert`.
    """
    before = (*system(system_of(row, place)), *history_of(row, place, pictures))
    return (*before, user(pictures.in_text(text_field(row, "query", place))))


FORMAT = Format(
    name="query_response",
    shape='{"query": "...", "response": "..."}',
    fields=("query", "response"),
    others=("system", "system_prompt", "history", "images", "image"),
    makes=Conversation,
    convert=convert,
    test=lambda row: has_all(row, ("query", "response")) and not is_judged(row),
)
