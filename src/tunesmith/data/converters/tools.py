"""Tools, and the calls that an assistant makes of them, as OpenAI and the sharegpt files write them."""

from __future__ import annotations

import json
from typing import Any

from tunesmith.data.converters.base import Row, bad_row, json_of, list_of, named, text_of, the_nearest
from tunesmith.data.schema import Place, ToolCall
from tunesmith.data.words import kind_of

_A_CALL = 'an object such as {"name": "get_weather", "arguments": {"city": "Oslo"}}'
_A_TOOL = 'an object such as {"type": "function", "function": {"name": "get_weather", "parameters": {...}}}'


def tools_of(row: Row, place: Place) -> tuple[dict[str, Any], ...]:
    """The row's `tools` (or `functions`, the older name): a list, or a JSON string of one.

    Bare function schemas, as sharegpt files have them, are put in OpenAI's frame.

    Raises:
        BadRow: it is no list of tools.
    """
    field = "tools" if "tools" in row else "functions"
    value = row.get(field)
    if value is None or value == "":
        return ()
    listed = list_of(value, named(field, place), place, "a list of tools")
    return tuple(
        _tool(tool, f"tool {number} of row {place.row}", place) for number, tool in enumerate(listed, start=1)
    )


def _tool(value: Any, what: str, place: Place) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise bad_row(f"{what} is {kind_of(value)}", place, expected=_A_TOOL)
    tool = value if "function" in value else {"type": "function", "function": value}
    function = tool["function"]
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        raise bad_row(f"{what} has no name", place, expected=_A_TOOL)
    _must_be_plain_json(tool, what, place)
    return tool


def calls_of(message: dict[str, Any], what: str, place: Place) -> tuple[ToolCall, ...]:
    """The calls in an assistant's message: its `tool_calls`, or the older `function_call`.

    Raises:
        BadRow: they are no calls.
    """
    legacy = message.get("function_call")
    if legacy:
        return (_call(legacy, f"the function call of {what}", place),)
    value = message.get("tool_calls")
    if not value:
        return ()
    listed = list_of(value, f"field 'tool_calls' of {what}", place, "a list of tool calls")
    return tuple(
        _call(call, f"tool call {number} of {what}", place) for number, call in enumerate(listed, start=1)
    )


def calls_in_text(value: Any, what: str, place: Place) -> tuple[ToolCall, ...]:
    """The calls of a sharegpt `function_call` turn, whose value is JSON: one call, or a list of them.

    Raises:
        BadRow: it is something else.
    """
    if isinstance(value, str):
        value = json_of(text_of(value, what, place), what, place, _A_CALL)
    calls = value if isinstance(value, list) else [value]
    if not calls:
        raise bad_row(f"{what} is an empty list", place, expected=_A_CALL)
    return tuple(_call(call, what, place) for call in calls)


def _call(value: Any, what: str, place: Place) -> ToolCall:
    if not isinstance(value, dict):
        raise bad_row(f"{what} is {kind_of(value)}", place, expected=_A_CALL)
    function = value.get("function", value)
    if not isinstance(function, dict):
        raise bad_row(f"the function of {what} is {kind_of(function)}", place, expected=_A_CALL)
    for name in ("name", "arguments"):
        if name not in function:
            raise bad_row(
                f"{what} has no field {name!r}", place, expected=_A_CALL, remedy=the_nearest(name, function)
            )
    name = text_of(function["name"], f"the name in {what}", place)
    if not name:
        raise bad_row(f"the name in {what} is empty", place, expected=_A_CALL)
    call_id = value.get("id")
    return ToolCall(
        name,
        _arguments(function["arguments"], f"the arguments of {what}", place),
        None if call_id is None else text_of(call_id, f"the id of {what}", place),
    )


def _arguments(value: Any, what: str, place: Place) -> dict[str, Any]:
    expected = "an object, or a string that holds one as JSON"
    if isinstance(value, str):
        value = json_of(value, what, place, expected)
    if not isinstance(value, dict):
        raise bad_row(f"{what} is {kind_of(value)}", place, expected=expected)
    _must_be_plain_json(value, what, place)
    return value


def _must_be_plain_json(value: Any, what: str, place: Place) -> None:
    """Templates write tools and arguments as JSON, so they must be writable as it."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise bad_row(f"{what} cannot be written as JSON: {error}", place) from None
