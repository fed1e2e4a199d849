"""The messages format: roles, their order, weights."""

import pytest

from tunesmith.data.converters.messages import convert
from tunesmith.data.schema import BadRow, Place

PLACE = Place("chats.jsonl", 4, 4)


def chat(*turns):
    """A row from strings such as `user: Hi`, or from messages as they are."""
    messages = []
    for turn in turns:
        if isinstance(turn, str):
            role, content = turn.split(": ", 1)
            turn = {"role": role, "content": content}
        messages.append(turn)
    return {"messages": messages}


def error_of(row) -> str:
    with pytest.raises(BadRow) as caught:
        convert(row, PLACE)
    message = str(caught.value)
    assert message.startswith("chats.jsonl:4: ")
    return message


def test_assistant_turns_carry_loss_and_others_none():
    messages = convert(
        chat("system: s", "user: q", "assistant: a", "user: r", "assistant: b"), PLACE
    ).messages
    assert [m.role for m in messages] == ["system", "user", "assistant", "user", "assistant"]
    assert [m.content for m in messages] == ["s", "q", "a", "r", "b"]
    assert [m.loss for m in messages] == [0, 0, 1, 0, 1]


@pytest.mark.parametrize("weight", [0, 0.0])
def test_weight_0_is_context_only(weight):
    read = {"role": "assistant", "content": "a", "weight": weight}
    assert [m.loss for m in convert(chat("user: q", read, "user: r", "assistant: b"), PLACE).messages] == [
        0,
        0,
        0,
        1,
    ]


@pytest.mark.parametrize("weight", [2, -1, 0.5, True, "1", [], float("nan")])
def test_other_weights_are_refused(weight):
    row = chat("user: q", {"role": "assistant", "content": "a", "weight": weight})
    assert "the weight of message 2 of row 4" in error_of(row)


def test_weight_on_a_users_message_is_refused():
    row = chat({"role": "user", "content": "q", "weight": 1}, "assistant: a")
    assert "weight on assistant messages only" in error_of(row)


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({}, "row 4 has no field 'messages'"),
        ({"messages": "x"}, "field 'messages' of row 4 is a string"),
        ({"messages": []}, "field 'messages' of row 4 is empty"),
        ({"messages": ["x"]}, "message 1 of row 4 is a string"),
        (chat({"role": "user", "text": "q"}), "message 1 of row 4 has no field 'content'"),
        (chat({"rolle": "user", "content": "q"}), "The nearest it has is 'rolle'"),
        (chat("human: q", "assistant: a"), "message 1 of row 4 has the role 'human'"),
        (chat({"role": None, "content": "q"}), "the role of message 1 of row 4 is null"),
        (
            chat("user: q", {"role": "assistant", "content": None}),
            "the content of message 2 of row 4 is null",
        ),
        (
            chat("user: q", {"role": "assistant", "content": [{"type": "text"}]}),
            "message 2 of row 4 is a list",
        ),
        (chat("user: q", "assistant:  "), "holds nothing but blanks"),
        (chat("user: q", {"role": "assistant", "content": "a", "tool_calls": [{}]}), "'tool_calls'"),
    ],
)
def test_wrong_messages_are_told(row, found):
    assert found in error_of(row)


@pytest.mark.parametrize(
    ("row", "found"),
    [
        (chat("assistant: a"), "message 1 of row 4 is the assistant's; expected the user's"),
        (
            chat("user: q", "user: r", "assistant: a"),
            "message 2 of row 4 is the user's; expected the assistant's",
        ),
        (chat("user: q", "system: s", "assistant: a"), "message 2 of row 4 is the system's"),
        (chat("system: s", "system: s", "user: q", "assistant: a"), "message 2 of row 4 is the system's"),
        (chat("user: q", "assistant: a", "user: r"), "ends with the user's message"),
        (chat("user: q"), "no assistant message to learn"),
        (chat("system: s"), "no assistant message to learn"),
        (
            chat("user: q", {"role": "assistant", "content": "a", "weight": 0}),
            "no assistant message to learn",
        ),
        (
            chat("user: q", "assistant: a", "user: r", {"role": "assistant", "content": "b", "weight": 0}),
            "the last message of row 4 has weight 0",
        ),
    ],
)
def test_broken_order_is_told(row, found):
    assert found in error_of(row)
