"""The question_answer format."""

import pytest

from .rows import read, said, turns


def test_a_question_and_its_answer():
    assert turns(read("question_answer", {"question": "q", "answer": "a", "book": "b"})) == [
        ("user", "q", 0.0),
        ("assistant", "a", 1.0),
    ]


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"question": "q"}, "row 3 has no field 'answer'"),
        ({"question": 3, "answer": "a"}, "field 'question' of row 3 is a number"),
        ({"question": "q", "answer": ""}, "field 'answer' of row 3 is empty"),
    ],
)
def test_wrong_rows_are_told(row, found):
    assert found in said("question_answer", row)
