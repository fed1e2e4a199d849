"""Turns: the messages of a chat, as OpenAI (`role`, `content`) or as sharegpt files (`from`, `value`) write them."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from tunesmith.data.converters.base import answer_of, bad_row, list_of, named, text_of, the_nearest
from tunesmith.data.converters.images import Pictures, joined
from tunesmith.data.converters.tools import calls_in_text, calls_of
from tunesmith.data.schema import Image, Message, Place, ToolCall
from tunesmith.data.words import kind_of, quoted

_CALL = "call"  # a turn that is nothing but a tool call
_OPENAI = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
    # ms-swift's and GLM's, in the same frame
    "tool_call": _CALL,
    "tool_response": "tool",
    "function_call": _CALL,
    "observation": "tool",
}
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
_EITHER = {**_SHAREGPT, **_OPENAI}
# What no template shows and nothing here reads, so that it would be lost.
_LOST = {
    "train_detail": 'weights of parts of a message are not read: give the whole message a `"weight"`, or cut it in two rows',
    **dict.fromkeys(
        ("image", "images"),
        "list pictures in `images` beside the messages, or write them as parts of the content",
    ),
    **dict.fromkeys(
        ("video", "videos", "audio", "audios"), "text and pictures are all that can be read; take it out"
    ),
}
_SWITCHES = ("train", "loss")  # whether a message is learned: Axolotl's and ms-swift's
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
    messages: list[Message] = []
    before_was_a_call = False
    for number, one in enumerate(listed, start=1):
        message = message_of(one, f"message {number} of {of}", place, pictures)
        is_a_call = bool(message.tool_calls) and _is_a_call(one)
        if is_a_call and before_was_a_call and message.loss == messages[-1].loss:
            # ms-swift writes calls that are made together as a turn each.
            calls = (*messages[-1].tool_calls, *message.tool_calls)
            messages[-1] = replace(messages[-1], tool_calls=calls)
        else:
            messages.append(message)
        before_was_a_call = is_a_call
    return tuple(messages)


def _is_a_call(value: dict[str, Any]) -> bool:
    return _EITHER.get(value["role"] if "role" in value else value["from"]) == _CALL


def message_of(value: Any, what: str, place: Place, pictures: Pictures) -> Message:
    """One message; `what` names it in error messages.

    Raises:
        BadRow: as `messages_of`.
    """
    if not isinstance(value, dict):
        expected = 'an object such as {"role": "user", "content": "..."}'
        raise bad_row(f"{what} is {kind_of(value)}", place, expected=expected)
    role_field, content_field, roles = _form(value)
    role = _role(value, role_field, roles, what, place)
    said = f"the {content_field} of {what}"
    if len(value) == 2 and content_field in value and role != _CALL:  # nothing besides: most messages
        content = _content(value[content_field], role, False, said, place, pictures)
        return Message(role, content, 1.0 if role == "assistant" else 0.0)
    if not _LOST.keys().isdisjoint(value):
        _must_lose_nothing(value, what, place)
    if role == _CALL:
        calls = calls_in_text(_field(value, content_field, what, place), said, place)
        return Message("assistant", "", _loss(value, "assistant", what, place), tool_calls=calls)
    calls = _calls(value, role, what, place)
    thinking = _thinking(value, role, what, place)
    refusal = _refusal(value, content_field, role, what, place)
    if refusal is not None:
        content = refusal
    elif calls and value.get(content_field) is None:
        content = ""
    else:
        content = _content(
            _field(value, content_field, what, place), role, bool(calls), said, place, pictures
        )
    return Message(
        role,
        content,
        _loss(value, role, what, place),
        thinking,
        calls,
        _text_or_none(value, "name", what, place),
        _text_or_none(value, "tool_call_id", what, place) if role == "tool" else None,
    )


def _form(value: dict[str, Any]) -> tuple[str, str, dict[str, str]]:
    """The fields of the role and the content, and the roles there are."""
    if "role" not in value and ("from" in value or "value" in value):
        return "from", "value", _SHAREGPT
    if "value" in value and "content" not in value:
        return "role", "value", _EITHER
    return "role", "content", _OPENAI


def _must_lose_nothing(value: dict[str, Any], what: str, place: Place) -> None:
    for name, remedy in _LOST.items():
        if value.get(name):
            raise bad_row(f"{what} has a field {name!r}, which is not read there", place, remedy=remedy)


def _refusal(value: dict[str, Any], content_field: str, role: str, what: str, place: Place) -> str | None:
    """What OpenAI writes in place of the content where the assistant refuses."""
    refusal = _text_or_none(value, "refusal", what, place)
    if refusal is None:
        return None
    if role != "assistant" or value.get(content_field):
        raise bad_row(
            f"{what} has a refusal" + (" and a content" if role == "assistant" else f" and is the {role}'s"),
            place,
            expected="a refusal in place of the assistant's content",
        )
    return answer_of(refusal, f"the refusal of {what}", place)


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
    weight = _weight(value, what, place)
    if weight is None:
        return 1.0 if role == "assistant" else 0.0
    number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not number or not 0 <= weight <= sys.float_info.max:  # an integer may be larger, and NaN is neither
        found = repr(weight) if number else kind_of(weight)
        raise bad_row(f"the weight of {what} is {found}", place, expected="a number, at least 0")
    if weight and role != "assistant":
        raise bad_row(
            f"{what} is the {role}'s and has {_which(value, weight)}",
            place,
            expected="weight on assistant messages only",
        )
    return float(weight)


def _which(value: dict[str, Any], weight: Any) -> str:
    """How the row says that the message is learned."""
    return next((f"`{name}: true`" for name in _SWITCHES if value.get(name)), f"weight {weight}")


def _weight(value: dict[str, Any], what: str, place: Place) -> Any:
    """`weight`, or what Axolotl's `train` and ms-swift's `loss` say in its place."""
    weight = value.get("weight")
    for name in _SWITCHES:
        switch = value.get(name)
        if switch is None:
            continue
        if switch not in (True, False):  # 1 and 0 are
            found = repr(switch) if isinstance(switch, str | int | float) else kind_of(switch)
            raise bad_row(f"field {name!r} of {what} is {found}", place, expected="true or false")
        if weight is None:
            weight = int(switch)
        elif bool(weight) != switch:
            raise bad_row(
                f"field {name!r} of {what} is {str(bool(switch)).lower()}, and its weight is {weight}",
                place,
                expected="fields that agree",
            )
    return weight


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
    if kind == "text" or (kind == "refusal" and role == "assistant"):
        return text_of(part.get(kind), f"the {kind} of {what}", place)
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
