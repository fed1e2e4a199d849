"""question_answer: `{"question", "answer"}`, two strings, as `tunesmith data questions` writes them."""

from __future__ import annotations

from tunesmith.config.schema import Source
from tunesmith.data.converters.base import (
    Format,
    Row,
    answer,
    answer_field,
    conversation_of,
    system,
    text_field,
    text_if_any,
    user,
)
from tunesmith.data.converters.judged import has_all, is_judged
from tunesmith.data.schema import Conversation, Place


def convert(row: Row, place: Place, source: Source) -> Conversation:
    """`question` is what the user says, `answer` what the assistant answers.

    Raises:
        BadRow: a field is missing or no string, or the answer is empty.
    """
    before = system(text_if_any(row, "system", place))
    asked = user(text_field(row, "question", place))
    return conversation_of((*before, asked, answer(answer_field(row, "answer", place))), place)


FORMAT = Format(
    name="question_answer",
    shape='{"question": "...", "answer": "..."}',
    fields=("question", "answer"),
    others=("system",),
    makes=Conversation,
    convert=convert,
    test=lambda row: has_all(row, ("question", "answer")) and not is_judged(row),
)
