"""The conversation format: pairs of human and assistant."""

import pytest

from .rows import read, said, turns


@pytest.mark.parametrize("system", [{}, {"system": ""}, {"system": None}])
def test_each_pair_is_two_turns(system):
    row = {"conversation": [{"human": "q", "assistant": "a"}, {"human": "r", "assistant": "b"}], **system}
    assert turns(read("conversation", row)) == [
        ("user", "q", 0.0),
        ("assistant", "a", 1.0),
        ("user", "r", 0.0),
        ("assistant", "b", 1.0),
    ]


def test_a_csv_writes_the_list_as_json():
    row = {"conversation": '[{"human": "q", "assistant": "a"}]', "system": "s"}
    assert turns(read("conversation", row))[0] == ("system", "s", 0.0)


@pytest.mark.parametrize(
    ("pairs", "found"),
    [
        ([], "field 'conversation' of row 3 is empty"),
        (None, "is null"),
        (["x"], "pair 1 of row 3 is a string"),
        ([{"human": "q", "asistant": "a"}], "The nearest is 'asistant'"),
        ([{"human": "q", "assistant": ""}], "the assistant's side of pair 1 of row 3 is empty"),
        ([{"human": 3, "assistant": "a"}], "the human's side of pair 1 of row 3 is a number"),
        ([{"role": "user", "content": "q"}], "`columns: {messages: conversation}`"),
    ],
)
def test_wrong_rows_are_told(pairs, found):
    assert found in said("conversation", {"conversation": pairs})
