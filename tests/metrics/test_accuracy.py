"""Accuracy: the answer is the label."""

from __future__ import annotations

import pytest

from tunesmith.metrics import Answers
from tunesmith.metrics.accuracy import accuracy


def answers(texts: list[str], references: list[str] | None) -> Answers:
    count = len(texts)
    given = None if references is None else tuple(references)
    return Answers(tuple(texts), (1,) * count, (True,) * count, references=given)


def test_it_is_the_share_of_answers_that_are_their_label() -> None:
    found = accuracy(
        answers(
            [" 体育\n", "财经", "体育。", "sports", "Sports"], ["体育", "体育", "体育", "Sports", "Sports"]
        )
    )
    assert found == {"accuracy": 2 / 5}


def test_a_label_inside_a_sentence_is_no_label() -> None:
    assert accuracy(answers(["The class is Sports", ""], ["Sports", "Sports"])) == {"accuracy": 0.0}


def test_no_answers_have_no_accuracy() -> None:
    assert accuracy(answers([], [])) == {}


def test_without_references_there_is_nothing_to_compare() -> None:
    with pytest.raises(ValueError, match="no references"):
        accuracy(answers(["a"], None))
    with pytest.raises(ValueError, match="2 answers and 1 references"):
        answers(["a", "b"], ["a"])
