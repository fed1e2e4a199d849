"""The way back: a sample as the row that means it, in the one form of its kind.

Reading the row gives the same sample, but for `article`, the part of a question that may be cut: rows cannot say it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tunesmith.data.converters.images import VISION
from tunesmith.data.schema import (
    Conversation,
    Converted,
    Image,
    Labelled,
    Message,
    Pair,
    Prompt,
    Text,
    ToolCall,
)


def to_messages(converted: Converted) -> dict[str, Any]:
    """A row of the format messages, preference, labelled, prompt or text, ready to be written as JSON."""
    if isinstance(converted, Text):
        return {"text": converted.text}
    if isinstance(converted, Labelled):
        return {**_chat(converted.conversation), "label": converted.good}
    if isinstance(converted, Conversation):
        return _chat(converted)
    if isinstance(converted, Prompt):
        answer = {} if converted.reference is None else {"reference": converted.reference}
        return {
            "prompt": _messages(converted.messages, in_prompt=True),
            **answer,
            **_tools(converted.tools),
        }
    return _pair(converted)


def _chat(conversation: Conversation) -> dict[str, Any]:
    return {"messages": _messages(conversation.messages), **_tools(conversation.tools)}


def _pair(pair: Pair) -> dict[str, Any]:
    sides = {"prompt": pair.prompt, "chosen": pair.chosen, "rejected": pair.rejected}
    return {
        **{name: _messages(side, in_prompt=name == "prompt") for name, side in sides.items()},
        **_tools(pair.tools),
    }


def _tools(tools: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    return {"tools": list(tools)} if tools else {}


def _messages(messages: Sequence[Message], *, in_prompt: bool = False) -> list[dict[str, Any]]:
    return [_message(message, weighted=not in_prompt) for message in messages]


def _message(message: Message, *, weighted: bool) -> dict[str, Any]:
    """`weight` is written where it is not what readers take it to be: 1 for the assistant's."""
    written: dict[str, Any] = {"role": message.role, "content": _content(message.content)}
    if message.thinking is not None:
        written["reasoning_content"] = message.thinking
    if message.tool_calls:
        written["tool_calls"] = [_call(call) for call in message.tool_calls]
    if message.name is not None:
        written["name"] = message.name
    if message.call_id is not None:
        written["tool_call_id"] = message.call_id
    if weighted and message.role == "assistant" and message.loss != 1.0:
        written["weight"] = message.loss
    return written


def _content(content: str | tuple[str | Image, ...]) -> str | list[dict[str, str]]:
    """Text as text; with pictures, or where text would be read as a picture's place, as parts."""
    if isinstance(content, str):
        forges = "<image>" in content or VISION.search(content)
        return [{"type": "text", "text": content}] if forges else content
    return [
        {"type": "text", "text": part} if isinstance(part, str) else {"type": "image", "image": part.path}
        for part in content
    ]


def _call(call: ToolCall) -> dict[str, Any]:
    written: dict[str, Any] = {} if call.id is None else {"id": call.id}
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    return {**written, "type": "function", "function": {"name": call.name, "arguments": arguments}}
