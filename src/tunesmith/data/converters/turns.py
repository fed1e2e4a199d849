"""Turns: the messages of a chat, as OpenAI (`role`, `content`) or as sharegpt files (`from`, `value`) write them."""

from __future__ import annotations

import sys
from typing import Any

from tunesmith.data.converters.base import answer_of, bad_row, list_of, named, text_of, the_nearest
from tunesmith.data.converters.images import Pictures, joined
from tunesmith.data.converters.tools import calls_in_text, calls_of
from tunesmith.data.schema import Image, Message, Place, ToolCall
from tunesmith.data.words import kind_of, quoted

_OPENAI = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_CALL = "call"  # a sharegpt turn that is nothing but a tool call
_SHAREGPT = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "function_call": _CALL,
    "observation": "tool",
    "tool": "tool",
    "function_response": "tool",
}
_THINKING = ("reasoning_content", "reasoning", "thinking")


def messages_of(value: Any, field: str, place: Place, pictures: Pictures) -> tuple[Message, ...]:
    """The messages that a field holds. Their order is for `conversation_of` to check.

    Raises:
        BadRow: a field is missing or of another type, a role is unknown, or an answer is empty.
    """
    listed = list_of(value, named(field, place), place, "a list of messages")
    if not listed:
        raise bad_row(f"{named(field, place)} is empty", place, expected="a user's message and an answer")
    of = f"row {place.row}" if field in ("messages", "conversations") else named(field, place)
    return tuple(
        message_of(one, f"message {number} of {of}", place, pictures)
        for number, one in enumerate(listed, start=1)
    )


def message_of(value: Any, what: str, place: Place, pictures: Pictures) -> Message:
    """One message; `what` names it in error messages.

    Raises:
        BadRow: as `messages_of`.
    """
    if not isinstance(value, dict):
        expected = 'an object such as {"role": "user", "content": "..."}'
        raise bad_row(f"{what} is {kind_of(value)}", place, expected=expected)
    sharegpt = "role" not in value and ("from" in value or "value" in value)
    role_field, content_field = ("from", "value") if sharegpt else ("role", "content")
    role = _role(value, role_field, _SHAREGPT if sharegpt else _OPENAI, what, place)
    said = f"the {content_field} of {what}"
    if role == _CALL:
        calls = calls_in_text(_field(value, content_field, what, place), said, place)
        return Message("assistant", "", _loss(value, "assistant", what, place), tool_calls=calls)
    calls = _calls(value, role, what, place)
    thinking = _thinking(value, role, what, place)
    if calls and value.get(content_field) is None:
        content: str | tuple[str | Image, ...] = ""
    else:
        content = _content(
            _field(value, content_field, what, place), role, bool(calls), said, place, pictures
        )
    of_tool = role == "tool"
    return Message(
        role,
        content,
        _loss(value, role, what, place),
        thinking,
        calls,
        _text_or_none(value, "name", what, place) if of_tool else None,
        _text_or_none(value, "tool_call_id", what, place) if of_tool else None,
    )


def _field(value: dict[str, Any], name: str, what: str, place: Place) -> Any:
    if name in value:
        return value[name]
    raise bad_row(f"{what} has no field {name!r}", place, remedy=the_nearest(name, value))


def _role(value: dict[str, Any], field: str, roles: dict[str, str], what: str, place: Place) -> str:
    role = _field(value, field, what, place)
    if isinstance(role, str) and role in roles:
        return roles[role]
    if isinstance(role, str):
        found, remedy = f"{what} has the role {role!r}", the_nearest(role, roles)
    else:
        found, remedy = f"the role of {what} is {kind_of(role)}", None
    raise bad_row(found, place, expected=f"one of {quoted(roles)}", remedy=remedy)


def _calls(value: dict[str, Any], role: str, what: str, place: Place) -> tuple[ToolCall, ...]:
    calls = calls_of(value, what, place)
    if calls and role != "assistant":
        raise bad_row(
            f"{what} is the {role}'s and has tool calls", place, expected="the assistant's alone to have them"
        )
    return calls


def _thinking(value: dict[str, Any], role: str, what: str, place: Place) -> str | None:
    found = {
        name: text for name in _THINKING if (text := _text_or_none(value, name, what, place)) is not None
    }
    if not found:
        return None
    if role != "assistant":
        raise bad_row(
            f"{what} is the {role}'s and has {quoted(found)}",
            place,
            expected="the assistant's alone to think",
        )
    if len(set(found.values())) > 1:
        raise bad_row(f"{what} has {quoted(found)}, which differ", place, expected="one of them")
    return next(iter(found.values()))


def _text_or_none(value: dict[str, Any], name: str, what: str, place: Place) -> str | None:
    text = value.get(name)
    return None if text is None or text == "" else text_of(text, f"field {name!r} of {what}", place)


def _loss(value: dict[str, Any], role: str, what: str, place: Place) -> float:
    weight = value.get("weight")
    if weight is None:
        return 1.0 if role == "assistant" else 0.0
    number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not number or not 0 <= weight <= sys.float_info.max:  # an integer may be larger, and NaN is neither
        found = repr(weight) if number else kind_of(weight)
        raise bad_row(f"the weight of {what} is {found}", place, expected="a number, at least 0")
    if weight and role != "assistant":
        raise bad_row(
            f"{what} is the {role}'s and has weight {weight}",
            place,
            expected="weight on assistant messages only",
        )
    return float(weight)


# ---- content


def _content(
    value: Any, role: str, calls: bool, what: str, place: Place, pictures: Pictures
) -> str | tuple[str | Image, ...]:
    """A string, or OpenAI's list of parts. Pictures stand in the user's messages."""
    if isinstance(value, list):
        parts = [
            _part(part, role, f"part {number} of {what}", place, pictures)
            for number, part in enumerate(value, start=1)
        ]
        value = joined(parts)
    elif role == "user":
        return pictures.in_text(text_of(value, what, place))
    if isinstance(value, tuple):
        return value
    return answer_of(value, what, place) if role == "assistant" and not calls else text_of(value, what, place)


def _part(part: Any, role: str, what: str, place: Place, pictures: Pictures) -> str | Image:
    if isinstance(part, str):
        return text_of(part, what, place)
    if not isinstance(part, dict):
        raise bad_row(
            f"{what} is {kind_of(part)}", place, expected='an object such as {"type": "text", "text": "..."}'
        )
    kind = part.get("type")
    if kind == "text":
        return text_of(part.get("text"), f"the text of {what}", place)
    if kind not in ("image", "image_url"):
        found = (
            f"{what} has the type {kind!r}"
            if isinstance(kind, str)
            else f"the type of {what} is {kind_of(kind)}"
        )
        raise bad_row(found, place, expected="one of 'text', 'image', 'image_url'")
    if role != "user":
        raise bad_row(
            f"{what} is a picture in the {role}'s message",
            place,
            expected="pictures in the user's messages only",
        )
    if kind == "image_url":
        url = part.get("image_url")
        return pictures.at(url.get("url") if isinstance(url, dict) else url, what)
    where = next((part[name] for name in ("image", "path", "url") if part.get(name) is not None), None)
    return pictures.next() if where is None else pictures.at(where, what)
