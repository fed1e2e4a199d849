"""The alpaca format: instruction and input joined, history, system."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ..tiny import STEADY
from .rows import read, said, turns


def row(instruction="do", input="this", output="done", **more):
    return {"instruction": instruction, "input": input, "output": output, **more}


@pytest.mark.parametrize(
    ("instruction", "input", "options", "asked"),
    [
        ("do", "this", {}, "do\nthis"),
        ("do", "this", {"join": ": "}, "do: this"),
        ("do", "this", {"join": ""}, "dothis"),
        ("do", "", {"join": ": "}, "do"),
        ("", "this", {"join": ": "}, "this"),
    ],
)
def test_user_says_instruction_and_input(instruction, input, options, asked):
    assert turns(read("alpaca", row(instruction, input), **options)) == [
        ("user", asked, 0.0),
        ("assistant", "done", 1.0),
    ]


def test_input_may_be_missing_but_not_misspelt():
    assert turns(read("alpaca", {"instruction": "do", "output": "done", "id": 1}))[0] == ("user", "do", 0.0)
    assert "`columns: {input: inputs}`" in said(
        "alpaca", {"instruction": "do", "inputs": "x", "output": "done"}
    )


@pytest.mark.parametrize("history", [[["q", "a"]], '[["q", "a"]]'])
def test_system_and_history_come_before(history):
    assert turns(read("alpaca", row(system="s", history=history))) == [
        ("system", "s", 0.0),
        ("user", "q", 0.0),
        ("assistant", "a", 1.0),
        ("user", "do\nthis", 0.0),
        ("assistant", "done", 1.0),
    ]


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        (row("", " "), "fields 'instruction' and 'input' of row 3 are both empty"),
        (row(None), "field 'instruction' of row 3 is null"),
        (row(input=3), "field 'input' of row 3 is a number"),
        (row(output=""), "field 'output' of row 3 is empty"),
        ({"instrution": "do", "input": "", "output": "done"}, "The nearest is 'instrution'"),
        (row(history=[["q"]]), "turn 1 of the history of row 3 is a list of 1"),
        (row(history=["q", "a"]), "turn 1 of the history of row 3 is no list"),
        (row(history=[["q", ""]]), "the answer in turn 1 of the history of row 3 is empty"),
        (row(history=3), "field 'history' of row 3 is a number"),
        (row(system=[]), "field 'system' of row 3 is a list"),
    ],
)
def test_wrong_rows_are_told(bad, found):
    assert found in said("alpaca", bad)


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=9)


@STEADY
@given(asked=WORDS, answered=WORDS, before=st.lists(st.tuples(WORDS, WORDS), max_size=3), system=WORDS)
def test_the_same_chat_in_every_form_is_the_same_conversation(asked, answered, before, system):
    pairs = [*before, (asked, answered)]
    history = [list(pair) for pair in before]
    chat = [
        {"role": role, "content": text}
        for pair in pairs
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]
    expected = read("messages", {"messages": [{"role": "system", "content": system}, *chat]})
    ours = [{"from": {"user": "human", "assistant": "gpt"}[m["role"]], "value": m["content"]} for m in chat]
    assert expected == read("alpaca", row(asked, "", answered, system=system, history=history))
    assert expected == read(
        "query_response", {"query": asked, "response": answered, "system": system, "history": history}
    )
    assert expected == read("sharegpt", {"conversations": ours, "system": system})
    as_pairs = [{"human": question, "assistant": text} for question, text in pairs]
    assert expected == read("conversation", {"conversation": as_pairs, "system": system})
