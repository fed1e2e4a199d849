"""alpaca: `{"instruction", "input", "output"}`, with `system` and `history` where a row has them."""

from __future__ import annotations

from tunesmith.config.schema import Source
from tunesmith.config.words import nearest
from tunesmith.data.converters.base import (
    Format,
    Row,
    answer,
    answer_field,
    bad_row,
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

_OTHERS = ("input", "system", "system_prompt", "history", "images", "image")


def convert(row: Row, place: Place, source: Source) -> Conversation:
    """The user says instruction and input, joined by the recipe's `join`; an empty one is left out, and the join too.

    Raises:
        BadRow: a field is missing or of another type, instruction and input are both empty, or the answer is.
    """
    with pictures_of(row, place, source) as pictures:
        asked = prompt_of(row, place, source, pictures)
    return conversation_of((*asked, answer(answer_field(row, "output", place))), place)


def prompt_of(row: Row, place: Place, source: Source, pictures: Pictures) -> tuple[Message, ...]:
    """All messages before the answer.

    Raises:
        BadRow: as `convert`.
    """
    parts = [text_field(row, "instruction", place), _input(row, place)]
    if not any(part.strip() for part in parts):
        raise bad_row(
            f"fields 'instruction' and 'input' of row {place.row} are both empty",
            place,
            expected="something to answer",
        )
    question = source.join.join(part for part in parts if part)
    before = (*system(system_of(row, place)), *history_of(row, place, pictures))
    return (*before, user(pictures.in_text(question)))


def _input(row: Row, place: Place) -> str:
    if "input" in row:
        return text_field(row, "input", place)
    unread = [name for name in row if name not in ("instruction", "output", "chosen", "rejected", *_OTHERS)]
    misspelt = nearest("input", unread)
    if misspelt:
        raise bad_row(
            f"row {place.row} has no field 'input', but a field {misspelt!r}",
            place,
            remedy=f"if that is the input, write `columns: {{input: {misspelt}}}` beside the file's `path`",
        )
    return ""


FORMAT = Format(
    name="alpaca",
    shape='{"instruction": "...", "input": "...", "output": "..."}',
    fields=("instruction", "output"),
    others=_OTHERS,
    makes=Conversation,
    convert=convert,
    test=lambda row: has_all(row, ("instruction", "output")) and not is_judged(row),
)
