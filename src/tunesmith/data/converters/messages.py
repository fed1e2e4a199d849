"""messages: `{"messages": [{"role", "content"}, ...]}`, chats as OpenAI writes them.

An optional `weight` of 0 or 1 on an assistant's message says whether it is learned or only read.
https://platform.openai.com/docs/guides/supervised-fine-tuning
"""

from __future__ import annotations

from typing import Any

from tunesmith.config.words import nearest
from tunesmith.data.converters.base import Format, answer_of, bad_row, field_of, text_of
from tunesmith.data.schema import Conversation, Message, Place
from tunesmith.data.words import kind_of, quoted

ROLES = ("system", "user", "assistant")
# Fields that change what the model says; reading past them would train on something else than the row means.
_NOT_READ = ("tool_calls", "function_call", "tool_call_id", "reasoning_content", "reasoning", "thinking")


def convert(row: dict[str, Any], place: Place) -> Conversation:
    """Take the messages as they are.

    Raises:
        BadRow: a field is missing or of another type, a role is unknown, the roles are out of order, an answer is
            empty, or no answer is to be learned.
    """
    listed = field_of(row, "messages", place)
    if not isinstance(listed, list):
        raise bad_row(
            f"field 'messages' of row {place.row} is {kind_of(listed)}", place, expected="a list of messages"
        )
    if not listed:
        raise bad_row(
            f"field 'messages' of row {place.row} is empty", place, expected="a user's message and an answer"
        )
    messages = tuple(_message(value, number, place) for number, value in enumerate(listed, start=1))
    _check_order(messages, place)
    return Conversation(messages)


def _message(value: Any, number: int, place: Place) -> Message:
    what = f"message {number} of row {place.row}"
    if not isinstance(value, dict):
        raise bad_row(
            f"{what} is {kind_of(value)}",
            place,
            expected='an object such as {"role": "user", "content": "..."}',
        )
    for name in ("role", "content"):
        if name not in value:
            alike = nearest(name, value)
            remedy = f"the nearest it has is {alike!r}" if alike else None
            raise bad_row(f"{what} has no field {name!r}", place, remedy=remedy)
    role = value["role"]
    if not isinstance(role, str) or role not in ROLES:
        found = (
            f"{what} has the role {role!r}"
            if isinstance(role, str)
            else f"the role of {what} is {kind_of(role)}"
        )
        raise bad_row(found, place, expected=f"one of {quoted(ROLES)}")
    for name in _NOT_READ:
        if value.get(name):
            raise bad_row(f"{what} has a field {name!r}, which this format does not read", place)
    check = answer_of if role == "assistant" else text_of
    return Message(
        role, check(value["content"], f"the content of {what}", place), _loss(value, role, what, place)
    )


def _loss(value: dict[str, Any], role: str, what: str, place: Place) -> float:
    weight = value.get("weight")
    if weight is None:
        return 1.0 if role == "assistant" else 0.0
    if isinstance(weight, bool) or not isinstance(weight, int | float) or weight not in (0, 1):
        found = repr(weight) if isinstance(weight, int | float) else kind_of(weight)
        raise bad_row(f"the weight of {what} is {found}", place, expected="0 or 1")
    if weight and role != "assistant":
        raise bad_row(
            f"{what} is the {role}'s and has weight 1", place, expected="weight on assistant messages only"
        )
    return float(weight)


def _check_order(messages: tuple[Message, ...], place: Place) -> None:
    """System first and at most once, then user and assistant in turns, an answer with loss last."""
    turns = messages[1:] if messages[0].role == "system" else messages
    first = len(messages) - len(turns) + 1
    for number, message in enumerate(turns, start=first):
        expected = "user" if (number - first) % 2 == 0 else "assistant"
        if message.role != expected:
            raise bad_row(
                f"message {number} of row {place.row} is the {message.role}'s",
                place,
                expected=f"the {expected}'s there (a system message may stand first, then user and assistant take turns)",
            )
    if not any(message.loss for message in messages):
        raise bad_row(
            f"row {place.row} has no assistant message to learn",
            place,
            expected="at least one, with weight 1",
        )
    if messages[-1].role != "assistant":
        raise bad_row(
            f"row {place.row} ends with the user's message",
            place,
            expected="an answer of the assistant's last",
        )
    if not messages[-1].loss:
        raise bad_row(
            f"the last message of row {place.row} has weight 0",
            place,
            expected="an answer to learn last",
            remedy="drop the messages behind the last one to learn",
        )


FORMAT = Format(
    name="messages",
    shape='{"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}',
    fields=("messages",),
    makes=Conversation,
    convert=convert,
)
