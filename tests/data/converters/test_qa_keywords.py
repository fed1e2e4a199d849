"""The question/answer_keywords format: the separator by script, or the recipe's."""

import pytest

from .rows import read, said, turns


@pytest.mark.parametrize(
    ("keywords", "options", "answer"),
    [
        (["ginger", "warm"], {}, "ginger, warm"),
        (["生姜", "温"], {}, "生姜，温"),
        (["ginger", "温"], {}, "ginger，温"),
        (["ginger", "温"], {"separator": " | "}, "ginger | 温"),
        (["a", "b"], {"separator": ""}, "ab"),
        ('["a"]', {}, "a"),
    ],
)
def test_keywords_are_the_answer(keywords, options, answer):
    row = {"question": "q", "answer_keywords": keywords}
    assert turns(read("qa_keywords", row, **options)) == [("user", "q", 0.0), ("assistant", answer, 1.0)]


@pytest.mark.parametrize(
    ("keywords", "found"),
    [
        ([], "field 'answer_keywords' of row 3 is an empty list"),
        (["a", 3], "keyword 2 of row 3 is a number"),
        (["a", ""], "keyword 2 of row 3 is empty"),
        ("a, b", "is a string that is no JSON"),
        (None, "is null"),
    ],
)
def test_wrong_keywords_are_told(keywords, found):
    assert found in said("qa_keywords", {"question": "q", "answer_keywords": keywords})
