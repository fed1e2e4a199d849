"""The question_answer format."""

import pytest

from tunesmith.data.converters import FORMATS

from .rows import read, said, turns


def test_a_question_and_its_answer():
    assert turns(read("question_answer", {"question": "q", "answer": "a", "book": "b"})) == [
        ("user", "q", 0.0),
        ("assistant", "a", 1.0),
    ]


def test_a_system_prompt_and_a_response():
    row = {"id": "1", "system_prompt": "s", "question": "q", "response": "a", "answer": None}
    assert [name for name, format in FORMATS.items() if format.fits(row)] == ["question_answer"]
    assert turns(read("question_answer", row)) == [
        ("system", "s", 0.0),
        ("user", "q", 0.0),
        ("assistant", "a", 1.0),
    ]
    assert "two system prompts" in said("question_answer", {**row, "system": "t"})
    assert len(turns(read("question_answer", {**row, "system": "s"}))) == 3


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
