"""The `history` of alpaca and query/response rows: the turns before the last.

`[[question, answer], ...]`, or messages with roles.
"""

from __future__ import annotations

from tunesmith.data.converters.base import Row, answer, answer_of, bad_row, list_of, named, text_of, user
from tunesmith.data.converters.images import Pictures
from tunesmith.data.converters.turns import messages_of
from tunesmith.data.schema import Message, Place


def history_of(row: Row, place: Place, pictures: Pictures) -> tuple[Message, ...]:
    """The earlier turns; none where the field is missing, null or empty.

    Raises:
        BadRow: it is no list of pairs or messages, or an answer in it is empty.
    """
    value = row.get("history")
    if value is None or value == "":
        return ()
    expected = 'a list of pairs such as ["question", "answer"]'
    listed = list_of(value, named("history", place), place, expected)
    if listed and all(isinstance(turn, dict) for turn in listed):
        return messages_of(listed, "history", place, pictures)
    turns: list[Message] = []
    for number, pair in enumerate(listed, start=1):
        what = f"turn {number} of the history of row {place.row}"
        if not isinstance(pair, list) or len(pair) != 2:
            found = f"a list of {len(pair)}" if isinstance(pair, list) else "no list"
            raise bad_row(f"{what} is {found}", place, expected=expected)
        asked = pictures.in_text(text_of(pair[0], f"the question in {what}", place))
        turns += [user(asked), answer(answer_of(pair[1], f"the answer in {what}", place))]
    return tuple(turns)
