"""The messages format: roles and their order, weights, thinking, tools."""

import pytest

from tunesmith.data.schema import Message, ToolCall

from .rows import read, said, turns


def chat(*turns, **more):
    """A row from strings such as `user: Hi`, or from messages as they are."""
    messages = []
    for turn in turns:
        if isinstance(turn, str):
            role, content = turn.split(": ", 1)
            turn = {"role": role, "content": content}
        messages.append(turn)
    return {"messages": messages, **more}


def error_of(row) -> str:
    return said("messages", row)


CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
    ],
}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "4 degrees"}


def test_assistant_turns_carry_loss_and_others_none():
    row = chat("system: s", "user: q", "assistant: a", "user: r", "assistant: b")
    assert turns(read("messages", row)) == [
        ("system", "s", 0.0),
        ("user", "q", 0.0),
        ("assistant", "a", 1.0),
        ("user", "r", 0.0),
        ("assistant", "b", 1.0),
    ]


def test_developer_is_the_system_and_later_system_messages_are_context():
    row = chat("developer: s", "user: q", "assistant: a", "system: t", "user: r", "system: u", "assistant: b")
    roles = [message.role for message in read("messages", row).messages]
    assert roles == ["system", "user", "assistant", "system", "user", "system", "assistant"]


def test_system_field_of_the_row_opens_the_chat():
    assert turns(read("messages", chat("user: q", "assistant: a", system="s")))[0] == ("system", "s", 0.0)
    assert "two system prompts" in error_of(chat("system: t", "user: q", "assistant: a", system="s"))


@pytest.mark.parametrize("weight", [0, 0.0, 0.5, 3])
def test_weight_is_the_loss(weight):
    first = {"role": "assistant", "content": "a", "weight": weight}
    row = chat("user: q", first, "user: r", "assistant: b")
    assert [message.loss for message in read("messages", row).messages] == [0, weight, 0, 1]


@pytest.mark.parametrize("weight", [-1, True, "1", [], float("nan"), float("inf"), 10**400])
def test_other_weights_are_refused(weight):
    row = chat("user: q", {"role": "assistant", "content": "a", "weight": weight})
    assert "the weight of message 2 of row 3" in error_of(row)


def test_weight_on_a_users_message_is_refused():
    row = chat({"role": "user", "content": "q", "weight": 1}, "assistant: a")
    assert "weight on assistant messages only" in error_of(row)


@pytest.mark.parametrize("field", ["train", "loss"])
@pytest.mark.parametrize(("value", "loss"), [(True, 1), (False, 0), (1, 1), (0, 0), (None, 1)])
def test_train_and_loss_switch_a_message_on_and_off(field, value, loss):
    first = {"role": "assistant", "content": "a", field: value}
    row = chat({"role": "user", "content": "q", field: False}, first, "user: r", "assistant: b")
    assert [message.loss for message in read("messages", row).messages] == [0, loss, 0, 1]
    row["messages"][1]["weight"] = 0.5 if loss else 0
    assert read("messages", row).messages[1].loss == (0.5 if loss else 0)


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ({"train": False, "weight": 1}, "field 'train' of message 2 of row 3 is false, and its weight is 1"),
        ({"loss": True, "weight": 0}, "field 'loss' of message 2 of row 3 is true, and its weight is 0"),
        ({"train": True, "loss": False}, "field 'loss' of message 2 of row 3 is false, and its weight is 1"),
        ({"train": "no"}, "field 'train' of message 2 of row 3 is 'no'; expected true or false"),
        ({"loss": 0.5}, "field 'loss' of message 2 of row 3 is 0.5; expected true or false"),
        (
            {"train_detail": [{"begin_offset": 0}]},
            "has a field 'train_detail', which is not read there. Weights of parts",
        ),
        (
            {"images": ["a.png"]},
            "has a field 'images', which is not read there. List pictures in `images` beside",
        ),
    ],
)
def test_what_is_said_of_a_message_and_cannot_be_done(message, found):
    assert found in error_of(chat("user: q", {"role": "assistant", "content": "a", **message}))


def test_train_on_a_users_message_is_refused():
    row = chat({"role": "user", "content": "q", "train": True}, "assistant: a")
    assert "the user's and has `train: true`; expected weight on assistant messages only" in error_of(row)


def test_a_refusal_stands_in_for_the_content():
    row = chat("user: q", {"role": "assistant", "content": None, "refusal": "No."})
    assert turns(read("messages", row))[1] == ("assistant", "No.", 1.0)
    parts = [{"type": "refusal", "refusal": "No."}]
    assert turns(read("messages", chat("user: q", {"role": "assistant", "content": parts})))[1][1] == "No."
    both = {"role": "assistant", "content": "a", "refusal": "No."}
    assert "message 2 of row 3 has a refusal and a content" in error_of(chat("user: q", both))
    assert "is the user's" in error_of(chat({"role": "user", "content": None, "refusal": "No."}))


def test_names_are_kept_whoever_speaks():
    row = chat(
        {"role": "user", "content": "q", "name": "Ann"}, {"role": "assistant", "content": "a", "name": "Bo"}
    )
    assert [message.name for message in read("messages", row).messages] == ["Ann", "Bo"]


def test_text_parts_are_joined_as_they_are():
    parts = [{"type": "text", "text": "a "}, {"type": "text", "text": "<image>b"}]
    assert (
        turns(read("messages", chat({"role": "user", "content": parts}, "assistant: a")))[0][1]
        == "a <image>b"
    )


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking"])
def test_thinking_is_kept_apart(field):
    message = {"role": "assistant", "content": "a", field: "hm"}
    assert read("messages", chat("user: q", message)).messages[1] == Message("assistant", "a", 1.0, "hm")


def test_thinking_twice_or_by_others_is_refused():
    twice = {"role": "assistant", "content": "a", "reasoning": "x", "thinking": "y"}
    assert "'reasoning', 'thinking', which differ" in error_of(chat("user: q", twice))
    users = {"role": "user", "content": "q", "thinking": "y"}
    assert "is the user's and has 'thinking'" in error_of(chat(users, "assistant: a"))


@pytest.mark.parametrize("as_text", [False, True])
def test_tools_calls_and_results(as_text):
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    tools = '[{"name": "weather", "parameters": {"type": "object"}}]' if as_text else [tool]
    conversation = read("messages", chat("user: q", CALL, RESULT, "assistant: cold", tools=tools))
    assert conversation.tools == (tool,)
    assert conversation.messages[1:3] == (
        Message("assistant", "", 1.0, tool_calls=(ToolCall("weather", {"city": "Oslo"}, "c1"),)),
        Message("tool", "4 degrees", call_id="c1"),
    )


def test_the_older_function_call():
    call = {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}
    result = {"role": "function", "name": "f", "content": "1"}
    conversation = read("messages", chat("user: q", call, result, "assistant: a", functions=[{"name": "f"}]))
    assert conversation.tools == ({"type": "function", "function": {"name": "f"}},)
    assert conversation.messages[1].tool_calls == (ToolCall("f", {}),)
    assert conversation.messages[2] == Message("tool", "1", name="f")


@pytest.mark.parametrize(
    ("call", "result"),
    [("tool_call", "tool_response"), ("tool_call", "tool"), ("function_call", "observation")],
)
def test_calls_and_results_as_turns_of_their_own(call, result):
    row = chat(
        "user: q",
        {"role": call, "content": '{"name": "f", "arguments": {"x": 1}}'},
        {"role": call, "content": '{"name": "g", "arguments": {}}'},
        {"role": result, "content": "1"},
        {"role": result, "content": "2"},
        "assistant: a",
    )
    assert read("messages", row).messages[1:4] == (
        Message("assistant", "", 1.0, tool_calls=(ToolCall("f", {"x": 1}), ToolCall("g", {}))),
        Message("tool", "1"),
        Message("tool", "2"),
    )


def test_calls_are_of_the_tools_where_any_are_listed():
    tools = [{"name": "wether"}, {"name": "time"}]
    message = error_of(chat("user: q", CALL, tools=tools))
    assert (
        "message 2 of row 3 calls 'weather', which is none of the row's tools; expected one of 'time'"
        in message
    )
    assert "The nearest is 'wether'" in message
    assert read("messages", chat("user: q", CALL, tools=[])).tools == ()


def test_a_call_may_be_the_answer_to_learn():
    assert read("messages", chat("user: q", CALL)).messages[-1].loss == 1.0


def call_with(**changes):
    function = {"name": "f", "arguments": "{}", **changes}
    return chat("user: q", {"role": "assistant", "content": "", "tool_calls": [{"function": function}]})


@pytest.mark.parametrize(
    ("row", "found"),
    [
        (
            call_with(arguments="{"),
            "the arguments of tool call 1 of message 2 of row 3 is a string that is no JSON",
        ),
        (call_with(arguments="[]"), "the arguments of tool call 1 of message 2 of row 3 is a list"),
        (call_with(arguments={"x": float("nan")}), "cannot be written as JSON"),
        (call_with(arguments={"x": b""}), "cannot be written as JSON"),
        (call_with(name=3), "the name in tool call 1 of message 2 of row 3 is a number"),
        (
            chat("user: q", {"role": "assistant", "content": "", "tool_calls": [{"function": {}}]}),
            "no field 'name'",
        ),
        (
            chat("user: q", {"role": "assistant", "content": "", "tool_calls": [3]}),
            "tool call 1 of message 2",
        ),
        (chat("user: q", "assistant: a", tools=[{}]), "tool 1 of row 3 has no name"),
        (chat("user: q", "assistant: a", tools="x"), "field 'tools' of row 3 is a string that is no JSON"),
        (
            chat("user: q", CALL, "user: r", "assistant: a"),
            "message 3 of row 3 is the user's; expected the tool's",
        ),
        (chat("user: q", {**RESULT}, "assistant: a"), "message 2 of row 3 is the tool's"),
        (
            chat("user: q", CALL, {**RESULT, "tool_call_id": "c2"}, "assistant: a"),
            "answers the tool call 'c2'",
        ),
        (chat("user: q", CALL, RESULT), "ends with the tool's message"),
        (
            chat({"role": "user", "content": "q", "tool_calls": CALL["tool_calls"]}, "assistant: a"),
            "has tool calls",
        ),
    ],
)
def test_wrong_tools_are_told(row, found):
    assert found in error_of(row)


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({}, "row 3 has no field 'messages'"),
        ({"mesages": []}, "The nearest is 'mesages'"),
        ({"messages": "x"}, "field 'messages' of row 3 is a string that is no JSON"),
        ({"messages": 3}, "field 'messages' of row 3 is a number"),
        ({"messages": []}, "field 'messages' of row 3 is empty"),
        ({"messages": ["x"]}, "message 1 of row 3 is a string"),
        (chat({"role": "user", "text": "q"}), "message 1 of row 3 has no field 'content'"),
        (chat({"rolle": "user", "content": "q"}), "The nearest is 'rolle'"),
        (chat("usr: q", "assistant: a"), "message 1 of row 3 has the role 'usr'"),
        (chat("usr: q", "assistant: a"), "The nearest is 'user'"),
        (chat({"role": None, "content": "q"}), "the role of message 1 of row 3 is null"),
        (
            chat("user: q", {"role": "assistant", "content": None}),
            "the content of message 2 of row 3 is null",
        ),
        (
            chat({"role": "user", "content": 3}, "assistant: a"),
            "the content of message 1 of row 3 is a number",
        ),
        (chat("user: q", {"role": "assistant", "content": []}), "the content of message 2 of row 3 is empty"),
        (
            chat({"role": "user", "content": [{"type": "text"}]}),
            "the text of part 1 of the content of message 1",
        ),
        (chat({"role": "user", "content": [{"type": "video"}]}), "has the type 'video'"),
        (chat("user: q", "assistant:  "), "holds nothing but blanks"),
        (chat("user: ", "assistant: a"), "message 1 of row 3 is the user's and is empty; expected something"),
        (
            chat("user: q", "assistant: a", "user: \n", "assistant: b"),
            "message 3 of row 3 is the user's and is empty",
        ),
        (chat("user: \ud83d", "assistant: a"), "half a character"),
    ],
)
def test_wrong_messages_are_told(row, found):
    assert found in error_of(row)


@pytest.mark.parametrize(
    ("row", "found"),
    [
        (chat("assistant: a"), "message 1 of row 3 is the assistant's; expected the user's"),
        (
            chat("user: q", "user: r", "assistant: a"),
            "message 2 of row 3 is the user's; expected the assistant's",
        ),
        (chat("system: s", "system: s", "user: q", "assistant: a"), "message 2 of row 3 is the system's"),
        (chat("user: q", "assistant: a", "user: r"), "ends with the user's message"),
        (chat("user: q"), "no assistant message to learn"),
        (chat("system: s"), "no assistant message to learn"),
        (
            chat("user: q", {"role": "assistant", "content": "a", "weight": 0}),
            "no assistant message to learn",
        ),
        (
            chat("user: q", "assistant: a", "user: r", {"role": "assistant", "content": "b", "weight": 0}),
            "the last message of row 3 has weight 0",
        ),
    ],
)
def test_broken_order_is_told(row, found):
    assert found in error_of(row)
