"""classification: `{"text", "category": [...], "output"}`, a text, the classes it may have, and the one it has.

Also `{"text", "label"}`: the class alone, as a name or as a number that the recipe's `labels` names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunesmith.config.schema import Source
from tunesmith.data.converters.base import (
    Format,
    Row,
    answer,
    answer_field,
    answer_of,
    bad_row,
    conversation_of,
    field_of,
    has,
    has_all,
    instructed,
    list_of,
    named,
    text_field,
    text_of,
    the_nearest,
    user,
)
from tunesmith.data.converters.qa_keywords import HAN
from tunesmith.data.schema import Conversation, Message, Place
from tunesmith.data.words import kind_of, quoted

INSTRUCTION = "你是一个文本分类领域的专家，你会接收到一段文本和几个潜在的分类选项，请输出文本内容的正确类型"
_CHINESE = "你是一个文本分类领域的专家，你会接收到一段文本，请输出文本内容的正确类型"
_ENGLISH = (
    "You are an expert in text classification. You are given a text; answer with its class and nothing else."
)


def convert(row: Row, place: Place, source: Source) -> Conversation:
    """Either form; a row that has both fields is read as the one that lists the classes.

    Raises:
        BadRow: a field is missing or of another type, a class is not among those it may be, or a number has no name.
    """
    plain = has(row, "label") and not has_all(row, ("category", "output"))
    return (_labelled if plain else _chosen)(row, place, source)


def _chosen(row: Row, place: Place, source: Source) -> Conversation:
    """The instruction is the system's, text and classes are the user's, the class is the answer."""
    text = text_field(row, "text", place)
    listed = list_of(field_of(row, "category", place), named("category", place), place, "a list of strings")
    classes = [
        text_of(name, f"class {number} of row {place.row}", place)
        for number, name in enumerate(listed, start=1)
    ]
    label = answer_field(row, "output", place)
    _must_be_among(label, classes, "output", place)
    if source.labels is not None:
        _must_be_among(label, source.labels, "output", place)
    # The list is shown as Python shows it: the wording that models tuned on this form have learned.
    before = "文本:"
    question = f"{before}{text},类型选型:{classes}"
    article = (len(before), len(before) + len(text))
    asked = Message("user", question, article=article)
    return conversation_of((*instructed(source, INSTRUCTION), asked, answer(label)), place)


def _labelled(row: Row, place: Place, source: Source) -> Conversation:
    """The system says the task and the classes that the recipe lists, the user the text, the class is the answer."""
    text = answer_field(row, "text", place, "a text to classify")
    label = _name_of(field_of(row, "label", place), source, place)
    return conversation_of(
        (*instructed(source, _instruction(source.labels or (), label)), user(text), answer(label)), place
    )


def _instruction(labels: Sequence[str], label: str) -> str:
    """An instruction in the language of the classes, with them in it where the recipe lists them."""
    if HAN.search("".join(labels or (label,))):
        return _CHINESE + (f"，可选的类型有：{'、'.join(labels)}" if labels else "")
    return _ENGLISH + (f" The classes are: {', '.join(labels)}." if labels else "")


def _name_of(value: Any, source: Source, place: Place) -> str:
    """The class as text. CSV writes numbers as strings, so a string of digits that is no name counts as a number."""
    what = named("label", place)
    if isinstance(value, str) and source.labels is not None and value in source.labels:
        return value
    number = _number_of(value)
    if number is not None:
        return _numbered(number, source.labels, what, place)
    if not isinstance(value, str):
        raise bad_row(f"{what} is {_shown(value)}", place, expected="a name or a whole number")
    if source.labels is not None:
        _must_be_among(value, source.labels, "label", place)
    return answer_of(value, what, place)


def _numbered(number: int, labels: Sequence[str] | None, what: str, place: Place) -> str:
    if labels is None:
        raise bad_row(
            f"{what} is the number {number}, and nothing says what it means",
            place,
            expected="a name",
            remedy="name the classes 0, 1, ... in the recipe, beside the file's `path`: `labels: [first, second]`",
        )
    if not 0 <= number < len(labels):
        raise bad_row(
            f"{what} is {number}",
            place,
            expected=f"a number from 0 to {len(labels) - 1}: `labels` names {quoted(labels)}",
        )
    return labels[number]


def _number_of(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        return int(value)
    return None


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, float) else kind_of(value)


def _must_be_among(label: str, names: Sequence[str], field: str, place: Place) -> None:
    if label not in names:
        raise bad_row(
            f"{named(field, place)} is {label!r}",
            place,
            expected=f"one of {quoted(names) or 'the classes, of which there are none'}",
            remedy=the_nearest(label, names),
        )


FORMAT = Format(
    name="classification",
    shape='{"text": "...", "category": ["...", "..."], "output": "..."} or {"text": "...", "label": "..."}',
    fields=("text", "category", "output"),
    others=("label",),
    makes=Conversation,
    convert=convert,
    test=lambda row: has_all(row, ("text", "category", "output")) or has_all(row, ("text", "label")),
)
