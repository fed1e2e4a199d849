"""The labelled format: a chat and whether its answer is good."""

import pytest

from tunesmith.data.converters import FORMATS
from tunesmith.data.schema import Conversation, Labelled, Message

from .rows import read, said

CHAT = Conversation((Message("user", "q"), Message("assistant", "a", 1.0)))
MESSAGES = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


@pytest.mark.parametrize(("label", "good"), [(True, True), (False, False), ("True", True), ("false", False)])
@pytest.mark.parametrize(
    "row",
    [
        {"messages": MESSAGES},
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        {"prompt": "q", "completion": "a"},
        {"prompt": MESSAGES[:1], "completion": MESSAGES[1:]},
        {"instruction": "q", "input": "", "output": "a"},
        {"query": "q", "response": "a"},
    ],
)
def test_every_chat_with_a_judgement(row, label, good):
    assert read("labelled", {**row, "label": label}) == Labelled(CHAT, good)
    assert read("labelled", {**row, "kto_tag": label}) == Labelled(CHAT, good)
    assert [name for name, format in FORMATS.items() if format.fits({**row, "label": label})] == ["labelled"]


def test_a_label_that_is_no_judgement_leaves_the_chat_a_chat():
    assert FORMATS["messages"].fits({"messages": MESSAGES, "label": "spam"})
    assert not FORMATS["labelled"].fits({"messages": MESSAGES, "label": "spam"})


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"messages": MESSAGES}, "row 3 has no field 'label'"),
        ({"messages": MESSAGES, "label": 1}, "field 'label' of row 3 is 1; expected true"),
        ({"messages": MESSAGES, "label": None}, "field 'label' of row 3 is null"),
        ({"label": True}, "row 3 has no chat"),
        ({"messages": MESSAGES[:1], "label": True}, "no assistant message to learn"),
    ],
)
def test_wrong_rows_are_told(row, found):
    assert found in said("labelled", row)
