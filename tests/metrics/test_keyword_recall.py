"""Keyword recall: which of a row's words stand in the answer."""

from __future__ import annotations

import pytest

from tunesmith.metrics import Answers
from tunesmith.metrics.keyword_recall import keyword_recall


def recall(*rows: tuple[str, tuple[str, ...]], references: tuple[str, ...] | None = None) -> dict[str, float]:
    texts, keywords = tuple(text for text, _ in rows), tuple(words for _, words in rows)
    count = len(rows)
    return keyword_recall(
        Answers(
            texts, (1,) * count, (True,) * count, references=references or ("",) * count, keywords=keywords
        )
    )


def test_it_is_the_share_of_all_keywords() -> None:
    found = recall(("solid and gas", ("solid", "liquid", "gas")), ("木星", ("木星",)))
    assert found == {"keyword_recall": 3 / 4}


@pytest.mark.parametrize(
    ("answer", "keyword", "held"),
    [
        ("It is Jupiter.", "jupiter", 1.0),
        ("ＪＵＰＩＴＥＲ", "Jupiter", 1.0),
        ("often", "ten", 0.0),
        ("1000", "100", 0.0),
        ("100%", "100", 1.0),
        ("New\nYork", "new york", 1.0),
        ("约有100万人", "100", 1.0),
        ("造纸术和火药", "火药", 1.0),
        ("C++ and C", "c++", 1.0),
        ("a.b", "a+b", 0.0),
        ("", "x", 0.0),
    ],
)
def test_words_are_whole_words_and_han_characters_stand_anywhere(
    answer: str, keyword: str, held: float
) -> None:
    assert recall((answer, (keyword,))) == {"keyword_recall": held}


def test_a_row_without_keywords_is_looked_through_for_its_answer() -> None:
    assert recall(("Yes: it is blue.", ()), ("no", ()), references=("it is blue", "green")) == {
        "keyword_recall": 0.5
    }


def test_no_answers_have_no_recall() -> None:
    assert recall() == {}
