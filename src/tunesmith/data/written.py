"""Nothing of a row may be lost in a template: templates pass over what they do not know."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from tunesmith.data.schema import BadRow, Message

_OTHER = "name a template that does as data.template (`tunesmith recipes templates` lists those there are)"

Mark = Callable[[str], str]  # how a message's text stands in a rendering: see encode.py


def must_be_shown(
    history: Sequence[Message], shown: str, tools: Sequence[dict[str, Any]], mark: Mark
) -> None:
    """Check the prompt of an answer.

    Raises:
        BadRow: the tools or a tool's result are missing from the prompt.
    """
    for tool in tools:
        name = tool.get("function", tool).get("name")
        if isinstance(name, str) and name not in shown:
            raise BadRow(
                f"the chat template writes no tools: {name!r} is missing from the prompt", remedy=_OTHER
            )
    for earlier in history:
        if earlier.role == "tool" and not _is_in(mark(earlier.text), shown):
            raise BadRow("the chat template does not write what a tool gave", remedy=_OTHER)


def must_be_written(message: Message, answer: str, mark: Mark) -> None:
    """Check an answer that is to be learned.

    Raises:
        BadRow: a call, the text beside it or a thought is missing from the text.
    """
    for call in message.tool_calls:
        times = sum(other.name == call.name for other in message.tool_calls)
        if answer.count(call.name) < times:
            raise BadRow(f"the chat template does not write every call of {call.name!r}", remedy=_OTHER)
    if message.tool_calls and not _is_in(mark(message.text), answer):
        raise BadRow("the chat template does not write the text beside a call", remedy=_OTHER)
    if not _is_in(mark(message.thinking or ""), answer):
        raise BadRow(
            "the chat template does not write what the assistant thought",
            remedy=f"leave it out with `thinking: drop` under data, or {_OTHER}",
        )


def _is_in(text: str, rendered: str) -> bool:
    """Whether a text stands in a rendering, with its outer blanks or without, as it is or as a JSON string."""
    bare = text.strip()
    return bare in rendered or json.dumps(bare, ensure_ascii=False)[1:-1] in rendered
