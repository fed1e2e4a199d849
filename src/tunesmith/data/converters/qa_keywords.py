"""qa_keywords: `{"question", "answer_keywords": [...]}`, a question and the words that its answer consists of."""

from __future__ import annotations

import re

from tunesmith.config.schema import Source
from tunesmith.data.converters.base import (
    Format,
    Row,
    answer,
    answer_of,
    bad_row,
    conversation_of,
    field_of,
    list_of,
    named,
    text_field,
    user,
)
from tunesmith.data.schema import Conversation, Place

# Unified ideographs with their extensions and the compatibility block.
HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]")


def convert(row: Row, place: Place, source: Source) -> Conversation:
    """The keywords in order are the answer, with the recipe's `separator` between them, else one by their script.

    Raises:
        BadRow: a field is missing or of another type, or there is no keyword.
    """
    question = text_field(row, "question", place)
    what = named("answer_keywords", place)
    listed = list_of(field_of(row, "answer_keywords", place), what, place, "a list of strings")
    if not listed:
        raise bad_row(f"{what} is an empty list", place, expected="at least one keyword")
    keywords = [
        answer_of(word, f"keyword {number} of row {place.row}", place)
        for number, word in enumerate(listed, start=1)
    ]
    separator = source.separator
    if separator is None:
        separator = "，" if any(HAN.search(word) for word in keywords) else ", "
    return conversation_of((user(question), answer(separator.join(keywords), keywords)), place)


FORMAT = Format(
    name="qa_keywords",
    shape='{"question": "...", "answer_keywords": ["...", "..."]}',
    fields=("question", "answer_keywords"),
    makes=Conversation,
    convert=convert,
)
