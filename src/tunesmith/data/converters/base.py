"""What a format is, and the checks that all converters share. Content is checked, never edited."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.config.schema import Source
from tunesmith.config.words import nearest
from tunesmith.data.readers.strict import BrokenJson, after_blanks, parse_value
from tunesmith.data.schema import (
    BadRow,
    Conversation,
    Converted,
    Labelled,
    Message,
    Pair,
    Place,
    Prompt,
    Text,
)
from tunesmith.data.words import kind_of, quoted

Row = dict[str, Any]

# What may follow a message in a chat; a system message may stand anywhere but right behind another one at the start.
_FOLLOWS = {
    "start": ("user",),
    "user": ("assistant",),
    "assistant": ("user",),
    "assistant's tool calls": ("tool",),
    "tool": ("tool", "assistant"),
}


@dataclass(frozen=True)
class Format:
    """A shape of rows.

    Args:
        name: what the recipe calls it.
        shape: one line that shows a row, for error messages.
        fields: the fields that every row of this format has; what else a row holds is left alone.
        makes: the type that `convert` gives.
        convert: row -> sample type; raises BadRow.
        others: fields that are read where a row has them.
        test: says whether a row is of this format, where having all `fields` does not.
        id_field: a field that no two rows of a file may share.
        is_part_of_others: whether a bad row of another format may look like one; it is taken where no row is of another.
    """

    name: str
    shape: str
    fields: tuple[str, ...]
    makes: type[Conversation] | type[Text] | type[Pair] | type[Labelled] | type[Prompt]
    convert: Callable[[Row, Place, Source], Converted]
    others: tuple[str, ...] = ()
    test: Callable[[Row], bool] | None = None
    id_field: str | None = None
    is_part_of_others: bool = False

    def fits(self, row: Row) -> bool:
        """Whether the row looks like this format; what its fields hold is for `convert` to check."""
        return self.test(row) if self.test is not None else has_all(row, self.fields)

    @property
    def known(self) -> tuple[str, ...]:
        """Every field that is read."""
        return (*self.fields, *self.others)


def bad_row(found: str, place: Place, *, expected: str | None = None, remedy: str | None = None) -> BadRow:
    """A BadRow at its place."""
    return BadRow(found, where=str(place), expected=expected, remedy=remedy)


def the_nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The remedy that suggests the candidate most like `name`."""
    alike = nearest(name, candidates)
    return f"the nearest is {alike!r}" if alike else None


def named(field: str, place: Place) -> str:
    """How error messages name a row's field."""
    return f"field {field!r} of row {place.row}"


# ---- fields and values


def has(row: Row, name: str) -> bool:
    """Whether the row has the field; Parquet has every column in every row, so null is none."""
    return row.get(name) is not None


def has_all(row: Row, names: Iterable[str]) -> bool:
    """Whether the row has all the fields."""
    return all(row.get(name) is not None for name in names)


def field_of(row: Row, name: str, place: Place) -> Any:
    """The value of a field that must be there.

    Raises:
        BadRow: the row has no such field; the message has its number, the field's name and the nearest one found.
    """
    if name in row:
        return row[name]
    raise bad_row(
        f"row {place.row} has no field {name!r}; it has {quoted(row) or 'none'}",
        place,
        remedy=the_nearest(name, row),
    )


def text_field(row: Row, name: str, place: Place) -> str:
    """A field that must hold a string.

    Raises:
        BadRow: it is missing, or no string, or no text that can be written as UTF-8.
    """
    return text_of(field_of(row, name, place), named(name, place), place)


def answer_field(row: Row, name: str, place: Place, expected: str = "an answer to learn") -> str:
    """A field that must hold what the model is to say, or another text that may not be empty.

    Raises:
        BadRow: it is missing, no string, or nothing is in it.
    """
    return answer_of(field_of(row, name, place), named(name, place), place, expected)


def text_if_any(row: Row, name: str, place: Place) -> str | None:
    """A field that may be missing, null or empty, all of which say that there is none.

    Raises:
        BadRow: it holds something that is no text.
    """
    value = row.get(name)
    if value is None or value == "":
        return None
    return text_of(value, named(name, place), place)


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


def answer_of(value: Any, what: str, place: Place, expected: str = "an answer to learn") -> str:
    """A string that the model is to say.

    Raises:
        BadRow: it is no string, or nothing is in it.
    """
    answer = text_of(value, what, place)
    if not answer.strip():
        found = f"{what} is empty" if not answer else f"{what} holds nothing but blanks"
        raise bad_row(found, place, expected=expected)
    return answer


def json_of(text: str, what: str, place: Place, expected: str) -> Any:
    """The value that a string holds as JSON: CSV has strings only, and tool calls are JSON in a string.

    Raises:
        BadRow: it is no JSON.
    """
    try:
        value, end = parse_value(text, after_blanks(text, 0))
        end = after_blanks(text, end)
        if end != len(text):
            raise BrokenJson("more text after the value", end)
    except BrokenJson as error:
        found = f"{what} is a string that is no JSON (character {error.position + 1}: {error.message})"
        raise bad_row(found, place, expected=expected) from None
    return value


def list_of(value: Any, what: str, place: Place, expected: str) -> list[Any]:
    """A list, or a string that holds one as JSON.

    Raises:
        BadRow: it is something else.
    """
    if isinstance(value, str):
        value = json_of(value, what, place, expected)
    if not isinstance(value, list):
        raise bad_row(f"{what} is {kind_of(value)}", place, expected=expected)
    return value


# ---- messages


def system(text: str | None) -> tuple[Message, ...]:
    """The system message at the start of a chat, if there is one."""
    return () if text is None else (Message("system", text),)


def system_of(row: Row, place: Place) -> str | None:
    """The row's system prompt: its field `system`, or `system_prompt` as some files call it.

    Raises:
        BadRow: it is no text, or there are two that differ.
    """
    text, other = text_if_any(row, "system", place), text_if_any(row, "system_prompt", place)
    if text is not None and other is not None and text != other:
        raise bad_row(
            f"row {place.row} has two system prompts, in its fields 'system' and 'system_prompt'",
            place,
            expected="one",
        )
    return other if text is None else text


def with_system(row: Row, messages: Sequence[Message], place: Place) -> tuple[Message, ...]:
    """The messages behind the row's system prompt, if it has one.

    Raises:
        BadRow: the messages begin with another system prompt.
    """
    text = system_of(row, place)
    if text is None or not messages or messages[0].role != "system":
        return (*system(text), *messages)
    if messages[0].content != text:
        raise bad_row(
            f"row {place.row} has two system prompts, in its field {'system' if has(row, 'system') else 'system_prompt'!r} "
            "and as its first message",
            place,
            expected="one",
        )
    return tuple(messages)


def instructed(source: Source, instruction: str) -> tuple[Message, ...]:
    """The task as the system's message: the recipe's `instruction`, else this one; none where the recipe's is empty."""
    return system((instruction if source.instruction is None else source.instruction) or None)


def user(content: str | tuple[Any, ...]) -> Message:
    return Message("user", content)


def answer(text: str, keywords: Sequence[str] = ()) -> Message:
    return Message("assistant", text, 1.0, keywords=tuple(keywords))


def conversation_of(
    messages: Sequence[Message], place: Place, tools: tuple[dict[str, Any], ...] = (), side: str = ""
) -> Conversation:
    """The messages as a chat that can be learned from.

    User and assistant take turns, a tool's results follow the assistant's calls, and an answer to learn stands last.
    A system message may open the chat; later ones are context. Where the row lists tools, no others are called.

    Args:
        side: names the part of the row in messages, such as ", with its 'chosen' answer".

    Raises:
        BadRow: the roles are out of order, the user says nothing, a tool is unknown, or there is nothing to learn.
    """
    messages = tuple(messages)
    row = f"row {place.row}{side}"
    before = "start"
    ids: set[str] = set()
    known = {tool["function"]["name"] for tool in tools}
    for number, message in enumerate(messages, start=1):
        if message.role == "system" and (number == 1 or before != "start"):
            continue
        if message.role not in _FOLLOWS[before]:
            expected = " or ".join(f"the {role}'s" for role in _FOLLOWS[before])
            raise bad_row(
                f"message {number} of {row} is the {message.role}'s",
                place,
                expected=f"{expected} there (a system message may stand first, then user and assistant take turns; "
                "tool results follow the assistant's tool calls)",
            )
        content = message.content
        if message.role == "user" and isinstance(content, str) and (not content or content.isspace()):
            raise bad_row(
                f"message {number} of {row} is the user's and is empty", place, expected="something to answer"
            )
        if message.call_id is not None and ids and message.call_id not in ids:
            raise bad_row(
                f"message {number} of {row} answers the tool call {message.call_id!r}",
                place,
                expected=f"the id of a call made just before, {quoted(sorted(ids))}",
            )
        if message.tool_calls:
            _must_be_known(message, known, f"message {number} of {row}", place)
            ids = {call.id for call in message.tool_calls if call.id is not None}
        before = "assistant's tool calls" if message.tool_calls else message.role
    _must_end_with_something_to_learn(messages, row, place)
    return Conversation(messages, tools)


def _must_be_known(message: Message, known: set[str], what: str, place: Place) -> None:
    """Raise BadRow where tools are listed and a call is of none of them. Rows without a list are taken at their word."""
    for call in message.tool_calls:
        if known and call.name not in known:
            raise bad_row(
                f"{what} calls {call.name!r}, which is none of the row's tools",
                place,
                expected=f"one of {quoted(sorted(known))}",
                remedy=the_nearest(call.name, known),
            )


def _must_end_with_something_to_learn(messages: tuple[Message, ...], row: str, place: Place) -> None:
    if not any(message.loss for message in messages):
        raise bad_row(
            f"{row} has no assistant message to learn", place, expected="at least one whose weight is not 0"
        )
    if messages[-1].role != "assistant":
        raise bad_row(
            f"{row} ends with the {messages[-1].role}'s message",
            place,
            expected="an answer of the assistant's last",
        )
    if not messages[-1].loss:
        raise bad_row(
            f"the last message of {row} has weight 0",
            place,
            expected="an answer to learn last",
            remedy="drop the messages behind the last one to learn",
        )
