"""The labelled format: a chat and whether its answer is good."""

import pytest

from tunesmith.data.converters import FORMATS
from tunesmith.data.schema import Conversation, Labelled, Message

from .rows import read, said

CHAT = Conversation((Message("user", "q"), Message("assistant", "a", 1.0)))
MESSAGES = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


@pytest.mark.parametrize(
    ("label", "good"),
    [
        (True, True),
        (False, False),
        ("True", True),
        ("false", False),
        (1, True),
        (0, False),
        ("1", True),
        ("0", False),
    ],
)
@pytest.mark.parametrize(
    "row",
    [
        {"messages": MESSAGES},
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        {"prompt": "q", "completion": "a"},
        {"prompt": MESSAGES[:1], "completion": MESSAGES[1:]},
        {"instruction": "q", "input": "", "output": "a"},
        {"query": "q", "response": "a"},
        {"question": "q", "answer": "a"},
        {"question": "q", "response": "a"},
        {"conversation": [{"human": "q", "assistant": "a"}]},
    ],
)
def test_every_chat_with_a_judgement(row, label, good):
    assert read("labelled", {**row, "label": label}) == Labelled(CHAT, good)
    assert read("labelled", {**row, "kto_tag": label}) == Labelled(CHAT, good)
    assert [name for name, format in FORMATS.items() if format.fits({**row, "label": label})] == ["labelled"]


@pytest.mark.parametrize("label", ["spam", "yes", "good", "", 2, 0.8, [], 1.0])
def test_a_label_beside_a_chat_is_never_passed_over(label):
    row = {"messages": MESSAGES, "label": label}
    assert [name for name, format in FORMATS.items() if format.fits(row)] == ["labelled"]
    message = said("labelled", row)
    assert "expected true or 1 (a good answer), or false or 0 (a bad one)" in message
    assert "`format: messages`" in message


def test_null_is_no_label():
    assert FORMATS["messages"].fits({"messages": MESSAGES, "label": None, "kto_tag": None})
    assert read("labelled", {"messages": MESSAGES, "label": None, "kto_tag": True}) == Labelled(CHAT, True)


def test_a_text_and_its_label_are_a_classification():
    row = {"text": "t", "label": 1}
    assert [name for name, format in FORMATS.items() if format.fits(row)] == ["classification"]


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"messages": MESSAGES}, "row 3 has no field 'label'"),
        ({"messages": MESSAGES, "label": 2}, "field 'label' of row 3 is 2; expected true"),
        ({"messages": MESSAGES, "label": None}, "field 'label' of row 3 is null"),
        ({"label": True}, "row 3 has no chat"),
        ({"messages": MESSAGES[:1], "label": True}, "no assistant message to learn"),
    ],
)
def test_wrong_rows_are_told(row, found):
    assert found in said("labelled", row)
