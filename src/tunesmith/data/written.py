"""Nothing of a row may be lost in a template: templates pass over what they do not know."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from tunesmith.data.schema import BadRow, Message

_OTHER = "name a template that does as data.template (`tunesmith recipes templates` lists those there are)"

Mark = Callable[[str, str], str]  # how what a role says stands in a rendering: see encode.py


def must_be_shown(
    history: Sequence[Message], shown: str, tools: Sequence[dict[str, Any]], mark: Mark
) -> None:
    """Check the prompt of an answer.

    Raises:
        BadRow: the tools, what a system prompt, a user or a tool says, or an earlier call is missing from the prompt.
    """
    for tool in tools:
        name = tool.get("function", tool).get("name")
        if isinstance(name, str) and name not in shown:
            raise BadRow(
                f"the chat template writes no tools: {name!r} is missing from the prompt", remedy=_OTHER
            )
    for earlier in history:
        if earlier.role != "assistant" and not _says(earlier, shown, mark):
            what = {"tool": "what a tool gave", "user": "everything that the user says"}.get(
                earlier.role, "every system prompt"
            )
            raise BadRow(f"the chat template does not write {what}", remedy=_OTHER)
        for call in earlier.tool_calls:
            if mark(call.name, "user") not in shown:
                raise BadRow(
                    f"the chat template does not write the earlier call of {call.name!r}", remedy=_OTHER
                )


def must_be_written(message: Message, answer: str, mark: Mark) -> None:
    """Check an answer that is to be learned.

    Raises:
        BadRow: a call, the text beside it or a thought is missing from the text.
    """
    for call in message.tool_calls:
        times = sum(other.name == call.name for other in message.tool_calls)
        if answer.count(mark(call.name, "user")) < times:
            raise BadRow(f"the chat template does not write every call of {call.name!r}", remedy=_OTHER)
    if message.tool_calls and not _says(message, answer, mark):
        raise BadRow("the chat template does not write the text beside a call", remedy=_OTHER)
    if not _is_in(mark(message.thinking or "", "assistant"), answer):
        raise BadRow(
            "the chat template does not write what the assistant thought",
            remedy=f"leave it out with `thinking: drop` under data, or {_OTHER}",
        )


def must_keep_thoughts(messages: Sequence[Message], text: str, mark: Mark) -> None:
    """Check a chat of which every token is learned: thinking templates leave earlier thoughts out.

    Raises:
        BadRow: a thought is missing.
    """
    if not all(_is_in(mark(message.thinking or "", "assistant"), text) for message in messages):
        raise BadRow(
            "the chat template leaves out what the assistant thought in an earlier turn",
            remedy="with `loss_on: everything` such a chat needs `thinking: drop` under data; `loss_on: all_turns` "
            "learns each thought where it was thought",
        )


def _says(message: Message, rendered: str, mark: Mark) -> bool:
    parts = (message.content,) if isinstance(message.content, str) else message.content
    return all(_is_in(mark(part, message.role), rendered) for part in parts if isinstance(part, str))


def _is_in(text: str, rendered: str) -> bool:
    """Whether a text stands in a rendering, with its outer blanks or without, as it is or as a JSON string."""
    bare = text.strip()
    return bare in rendered or json.dumps(bare, ensure_ascii=False)[1:-1] in rendered
