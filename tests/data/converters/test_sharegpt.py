"""The sharegpt format, and vision: the same with the paths of pictures in the text."""

import pytest

from tunesmith.data.converters import FORMATS
from tunesmith.data.schema import Conversation, Image, Message, Place, ToolCall

from .rows import picture, read, said, turns


def row(*pairs, **more):
    return {"conversations": [{"from": who, "value": text} for who, text in pairs], **more}


@pytest.mark.parametrize("human", ["human", "user"])
@pytest.mark.parametrize("gpt", ["gpt", "assistant", "model", "bot"])
def test_speakers(human, gpt):
    expected = [("system", "s", 0.0), ("user", "q", 0.0), ("assistant", "a", 1.0)]
    assert turns(read("sharegpt", row(("system", "s"), (human, "q"), (gpt, "a")))) == expected
    assert turns(read("sharegpt", row((human, "q"), (gpt, "a"), system="s"))) == expected


def test_role_and_content_inside_conversations():
    value = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    assert turns(read("sharegpt", {"conversations": value})) == [("user", "q", 0.0), ("assistant", "a", 1.0)]


@pytest.mark.parametrize("result", ["observation", "tool", "function_response"])
def test_calls_and_results(result):
    read_row = read(
        "sharegpt",
        row(
            ("human", "q"),
            ("function_call", '[{"name": "f", "arguments": {"x": 1}}, {"name": "g", "arguments": "{}"}]'),
            (result, "1"),
            ("gpt", "a"),
            tools='[{"name": "f"}, {"name": "g"}]',
        ),
    )
    assert read_row == Conversation(
        (
            Message("user", "q"),
            Message("assistant", "", 1.0, tool_calls=(ToolCall("f", {"x": 1}), ToolCall("g", {}))),
            Message("tool", "1"),
            Message("assistant", "a", 1.0),
        ),
        tuple({"type": "function", "function": {"name": name}} for name in "fg"),
    )


def test_role_and_value_inside_conversations():
    value = [{"role": "human", "value": "q"}, {"role": "assistant", "value": "a"}]
    assert turns(read("sharegpt", {"conversations": value})) == [("user", "q", 0.0), ("assistant", "a", 1.0)]


def test_train_says_which_turns_are_learned():
    value = row(("human", "q"), ("gpt", "a"), ("human", "r"), ("gpt", "b"))
    for turn, train in zip(value["conversations"], [False, False, None, True], strict=True):
        turn["train"] = train
    assert [loss for *_, loss in turns(read("sharegpt", value))] == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        ({"conversations": [{"from": "human"}]}, "message 1 of row 3 has no field 'value'"),
        ({"conversations": [{"value": "q"}]}, "message 1 of row 3 has no field 'from'"),
        (row(("huma", "q")), "has the role 'huma'"),
        (row(("human", "q"), ("gpt", "")), "the value of message 2 of row 3 is empty"),
        (row(("human", "q"), ("function_call", "f(1)")), "is a string that is no JSON"),
        (row(("human", "q"), ("function_call", "[]")), "is an empty list"),
        (row(("human", "q"), ("gpt", "a"), system=3), "field 'system' of row 3 is a number"),
        (row(("gpt", "a")), "is the assistant's; expected the user's"),
    ],
)
def test_wrong_rows_are_told(bad, found):
    assert found in said("sharegpt", bad)


def test_vision_rows_have_the_path_in_the_text(tmp_path):
    path = picture(tmp_path / "a.png")
    value = row(
        ("user", f"COCO Yes: <|vision_start|>{path}<|vision_end|>"), ("assistant", "red\n"), id="identity_1"
    )
    assert FORMATS["vision"].fits(value)
    assert not FORMATS["sharegpt"].fits(value)
    assert FORMATS["vision"].id_field == "id"
    converted = read("vision", value, Place(str(tmp_path / "rows.json"), 1, 1))
    assert turns(converted) == [
        ("user", ("COCO Yes: ", Image(path, 4, 3)), 0.0),
        ("assistant", "red\n", 1.0),
    ]
