"""question_answer: `{"question", "answer"}`, two strings, as `tunesmith data questions` writes them.

The answer may also be called `response`, as where a `system_prompt` stands before the question.
"""

from __future__ import annotations

from tunesmith.config.schema import Source
from tunesmith.data.converters.base import (
    Format,
    Row,
    answer,
    answer_field,
    conversation_of,
    has,
    has_all,
    system,
    system_of,
    text_field,
    user,
)
from tunesmith.data.converters.images import Pictures, pictures_of
from tunesmith.data.converters.judged import is_judged
from tunesmith.data.schema import Conversation, Message, Place


def convert(row: Row, place: Place, source: Source) -> Conversation:
    """`question` is what the user says, `answer` what the assistant answers.

    Raises:
        BadRow: a field is missing or no string, or the answer is empty.
    """
    said = answer_name(row)
    with pictures_of(row, place, source) as pictures:
        asked = prompt_of(row, place, pictures)
    return conversation_of((*asked, answer(answer_field(row, said, place))), place)


def prompt_of(row: Row, place: Place, pictures: Pictures) -> tuple[Message, ...]:
    """All messages before the answer.

    Raises:
        BadRow: as `convert`.
    """
    return (
        *system(system_of(row, place)),
        user(pictures.in_text(text_field(row, "question", place))),
    )


def answer_name(row: Row) -> str:
    """The field with the answer."""
    return "response" if has(row, "response") and not has(row, "answer") else "answer"


def _test(row: Row) -> bool:
    answered = has(row, "answer") or (has(row, "response") and not has(row, "query"))
    return answered and has_all(row, ("question",)) and not is_judged(row)


FORMAT = Format(
    name="question_answer",
    shape='{"question": "...", "answer": "..."}',
    fields=("question", "answer"),
    others=("response", "system", "system_prompt", "images", "image"),
    makes=Conversation,
    convert=convert,
    test=_test,
)
