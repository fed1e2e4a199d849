"""What a format is, and the checks that all converters share. Content is checked, never edited."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tunesmith.config.words import nearest
from tunesmith.data.schema import BadRow, Conversation, Place, Text
from tunesmith.data.words import kind_of, quoted


@dataclass(frozen=True)
class Format:
    """A shape of rows.

    Args:
        name: what the recipe calls it.
        shape: one line that shows a row, for error messages.
        fields: the fields that every row of this format has; what else a row holds is left alone.
        makes: the type that `convert` gives.
        convert: row -> sample type; raises BadRow.
    """

    name: str
    shape: str
    fields: tuple[str, ...]
    makes: type[Conversation] | type[Text]
    convert: Callable[[dict[str, Any], Place], Conversation | Text]

    def fits(self, row: dict[str, Any]) -> bool:
        """Whether the row has this format's fields; what they hold is for `convert` to check."""
        return all(name in row for name in self.fields)


def bad_row(found: str, place: Place, *, expected: str | None = None, remedy: str | None = None) -> BadRow:
    """A BadRow at its place."""
    return BadRow(found, where=str(place), expected=expected, remedy=remedy)


def field_of(row: dict[str, Any], name: str, place: Place) -> Any:
    """The value of a field that must be there.

    Raises:
        BadRow: the row has no such field; the message has its number, the field's name and the nearest one found.
    """
    if name in row:
        return row[name]
    alike = nearest(name, row)
    raise bad_row(
        f"row {place.row} has no field {name!r}; it has {quoted(row) or 'none'}",
        place,
        remedy=f"the nearest is {alike!r}" if alike else None,
    )


def text_field(row: dict[str, Any], name: str, place: Place) -> str:
    """A field that must hold a string.

    Raises:
        BadRow: it is missing, or no string, or no text that can be written as UTF-8.
    """
    return text_of(field_of(row, name, place), f"field {name!r} of row {place.row}", place)


def text_of(value: Any, what: str, place: Place) -> str:
    """The value as a string that a tokenizer can take.

    Raises:
        BadRow: it is something else; `what` names it in the message.
    """
    if not isinstance(value, str):
        raise bad_row(f"{what} is {kind_of(value)}", place, expected="a string")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:  # JSON can escape one half of a pair: "\ud83d"
        half = value[error.start]
        raise bad_row(
            f"{what} holds half a character, {half!r}", place, expected="whole surrogate pairs"
        ) from None
    return value


def answer_of(value: Any, what: str, place: Place) -> str:
    """A string that the model is to say.

    Raises:
        BadRow: it is no string, or nothing is in it.
    """
    answer = text_of(value, what, place)
    if not answer.strip():
        found = f"{what} is empty" if not answer else f"{what} holds nothing but blanks"
        raise bad_row(found, place, expected="an answer to learn")
    return answer
