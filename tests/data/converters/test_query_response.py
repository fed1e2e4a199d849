"""The query_response format."""

import pytest

from .rows import read, said, turns


def test_history_system_query_response():
    row = {"system": "s", "history": [["p", "o"]], "query": "q", "response": "a"}
    assert turns(read("query_response", row)) == [
        ("system", "s", 0.0),
        ("user", "p", 0.0),
        ("assistant", "o", 1.0),
        ("user", "q", 0.0),
        ("assistant", "a", 1.0),
    ]


def test_history_may_be_messages():
    history = [{"role": "user", "content": "p"}, {"role": "assistant", "content": "o"}]
    row = {"system_prompt": "s", "history": history, "query": "q", "response": "a"}
    assert [content for _, content, _ in turns(read("query_response", row))] == ["s", "p", "o", "q", "a"]
    row["history"] = [*history, ["p", "o"]]
    assert "turn 1 of the history of row 3 is no list" in said("query_response", row)


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"query": "q"}, "row 3 has no field 'response'"),
        ({"query": None, "response": "a"}, "field 'query' of row 3 is null"),
        ({"query": "q", "response": "\n"}, "field 'response' of row 3 holds nothing but blanks"),
    ],
)
def test_wrong_rows_are_told(row, found):
    assert found in said("query_response", row)
