"""The preference format: every form of prompt and sides."""

import json

import pytest

from tunesmith.data.converters import FORMATS
from tunesmith.data.schema import Message, Pair

from .rows import read, said


def chat(*pairs):
    return [{"role": role, "content": text} for role, text in pairs]


def ours(*pairs):
    return [{"from": role, "value": text} for role, text in pairs]


Q, A, B = Message("user", "q"), Message("assistant", "a", 1.0), Message("assistant", "b", 1.0)
PAIR = Pair((Q,), (A,), (B,))
TOLD = chat(("user", "q"))


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "chosen": "a", "rejected": "b"},
        {"instruction": "q", "input": "", "chosen": "a", "rejected": "b"},
        {"query": "q", "chosen": "a", "rejected": "b"},
        {"prompt": TOLD, "chosen": "a", "rejected": "b"},
        {"prompt": TOLD, "chosen": chat(("assistant", "a")), "rejected": chat(("assistant", "b"))},
        {"messages": TOLD, "chosen": chat(("assistant", "a"))[0], "rejected": chat(("assistant", "b"))[0]},
        {
            "conversations": ours(("human", "q")),
            "chosen": ours(("gpt", "a"))[0],
            "rejected": ours(("gpt", "b"))[0],
        },
        {"chosen": [*TOLD, *chat(("assistant", "a"))], "rejected": [*TOLD, *chat(("assistant", "b"))]},
        {
            "prompt": "q",
            "messages": "what UltraFeedback has here is not read",
            "chosen": [*TOLD, *chat(("assistant", "a"))],
            "rejected": [*TOLD, *chat(("assistant", "b"))],
        },
        {
            "prompt": TOLD,
            "chosen": [*TOLD, *chat(("assistant", "a"))],
            "rejected": [*TOLD, *chat(("assistant", "b"))],
        },
        {
            "chosen_messages": ours(("human", "q"), ("gpt", "a")),
            "rejected_messages": ours(("human", "q"), ("gpt", "b")),
        },
        {
            "messages": [*TOLD, *chat(("assistant", "a"))],
            "rejected_messages": [*TOLD, *chat(("assistant", "b"))],
        },
        {"messages": [*TOLD, *chat(("assistant", "a"))], "rejected_response": "b"},
        {"messages": [*TOLD, *chat(("assistant", "a"))], "rejected_response": chat(("assistant", "b"))},
        {"query": "q", "response": "a", "rejected_response": "b"},
        {"prompt": "q", "completion": "a", "rejected_response": "b"},
        {"instruction": "q", "output": "a", "rejected_response": "b"},
        {"question": "q", "answer": "a", "rejected_response": "b"},
        {"question": "q", "chosen": "a", "rejected": "b"},
        {"instruction": "q", "chosen_response": "a", "rejected_response": "b"},
        {
            "messages": [*TOLD, *chat(("assistant", "a"))],
            "rejected_response": "b",
            "chosen": None,
            "rejected": None,
            "prompt": None,
        },
        {"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"},
        {
            "input": {"messages": TOLD, "tools": [], "parallel_tool_calls": True},
            "preferred_output": chat(("assistant", "a")),
            "non_preferred_output": chat(("assistant", "b")),
        },
    ],
)
def test_every_form_says_the_same_and_no_other_format_fits(row):
    assert read("preference", row) == PAIR
    assert [name for name, format in FORMATS.items() if format.fits(row)] == ["preference"]


def test_history_and_system_are_context():
    row = {
        "instruction": "i",
        "input": "j",
        "system": "s",
        "history": [["p", "o"]],
        "chosen": "a",
        "rejected": "b",
    }
    pair = read("preference", row, join=" ")
    assert pair.prompt == (
        Message("system", "s"),
        Message("user", "p"),
        Message("assistant", "o"),
        Message("user", "i j"),
    )


def test_sides_may_share_more_than_the_first_turn():
    before = chat(("system", "s"), ("user", "p"), ("assistant", "o"), ("user", "q"))
    row = {
        "chosen": [*before, *chat(("assistant", "a"), ("user", "r"), ("assistant", "c"))],
        "rejected": [*before, *chat(("assistant", "b"))],
    }
    pair = read("preference", row)
    assert [message.content for message in pair.prompt] == ["s", "p", "o", "q"]
    assert not any(message.loss for message in pair.prompt)
    assert [message.content for message in pair.chosen] == ["a", "r", "c"]
    assert pair.rejected == (B,)


def test_a_dialogue_in_a_string_is_kept_as_it_is():
    before = "\n\nHuman: one\n\nof two\n\nAssistant: o\n\nHuman: Human: q \n\nAssistant:"
    pair = read("preference", {"chosen": f"{before} a\n", "rejected": f"{before} b"})
    assert [(message.role, message.content) for message in (*pair.prompt, *pair.chosen, *pair.rejected)] == [
        ("user", "one\n\nof two"),
        ("assistant", "o"),
        ("user", "Human: q "),
        ("assistant", "a\n"),
        ("assistant", "b"),
    ]


def test_tools_of_an_input_are_the_pairs():
    row = {
        "input": {"messages": TOLD, "tools": [{"name": "f"}]},
        "preferred_output": chat(("assistant", "a")),
        "non_preferred_output": chat(("assistant", "b")),
    }
    assert read("preference", row).tools == ({"type": "function", "function": {"name": "f"}},)
    assert read("preference", {**row, "input": json.dumps(row["input"])}) == read("preference", row)


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"preferred_output": "a", "non_preferred_output": "b"}, "row 3 has no field 'input'"),
        (
            {"input": "x", "preferred_output": "a", "non_preferred_output": "b"},
            "field 'input' of row 3 is a string",
        ),
        (
            {"input": {}, "preferred_output": "a", "non_preferred_output": "b"},
            "field 'input' of row 3 has no messages",
        ),
        (
            {"input": {"messages": TOLD}, "preferred_output": chat(("assistant", "a"))},
            "row 3 has no field 'non_preferred_output'",
        ),
        ({"chosen": "The sky is blue.", "rejected": "The sky is green."}, "`columns: {prompt: ...}`"),
        ({"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "b"}, "strings that carry none"),
        (
            {"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: r\n\nAssistant: b"},
            "the prompts differ",
        ),
        ({"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant:"}, "is empty"),
        ({"prompt": "q", "chosen": "a", "rejected": "a"}, "'chosen' and 'rejected' of row 3 are the same"),
        (
            {"chosen": [*TOLD, *chat(("assistant", "a"))], "rejected": [*TOLD, *chat(("assistant", "a"))]},
            "the same",
        ),
        ({"prompt": "q", "chosen": "", "rejected": "a"}, "field 'chosen' of row 3 is empty"),
        ({"prompt": "q", "chosen": "a", "rejected": None}, "field 'rejected' of row 3 is null"),
        ({"prompt": "q", "chosen": "a"}, "row 3 has no field 'rejected'"),
        ({"prompt": "q", "chosen": "a", "rejectd": "b"}, "The nearest is 'rejectd'"),
        ({"prompt": "q", "chosen": [], "rejected": "b"}, "field 'chosen' of row 3 is empty"),
        (
            {"prompt": "q", "chosen": "a", "rejected": [3]},
            "message 1 of field 'rejected' of row 3 is a number",
        ),
        ({"chosen": "a", "rejected": "b"}, "row 3 has no prompt"),
        ({"prompt": 3, "chosen": "a", "rejected": "b"}, "field 'prompt' of row 3 is a number"),
        (
            {
                "chosen": chat(("user", "q"), ("assistant", "a")),
                "rejected": chat(("user", "r"), ("assistant", "b")),
            },
            "so the prompts differ",
        ),
        (
            {
                "prompt": "r",
                "chosen": [*TOLD, *chat(("assistant", "a"))],
                "rejected": [*TOLD, *chat(("assistant", "b"))],
            },
            "field 'prompt' of row 3 is not what the sides begin with",
        ),
        (
            {
                "prompt": chat(("user", "r")),
                "chosen": [*TOLD, *chat(("assistant", "a"))],
                "rejected": [*TOLD, *chat(("assistant", "b"))],
            },
            "field 'prompt' of row 3 is not what the sides begin with",
        ),
        ({"chosen": [*TOLD, *chat(("assistant", "a"))], "rejected": TOLD}, "'rejected' of row 3 ends where"),
        ({"prompt": "q", "chosen": [*TOLD, *chat(("assistant", "a"))], "rejected": "b"}, "in the same form"),
        ({"messages": TOLD, "rejected_response": "b"}, "does not end with an answer"),
        (
            {"messages": [*TOLD, *chat(("assistant", "x"))], "chosen": "a", "rejected": "b"},
            "message 3 of row 3, with its 'chosen' answer is the assistant's",
        ),
    ],
)
def test_wrong_rows_are_told(row, found):
    assert found in said("preference", row)
