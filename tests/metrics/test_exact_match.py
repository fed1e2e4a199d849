"""Exact match: the answer is the reference, word for word."""

from __future__ import annotations

from tests.metrics.test_accuracy import answers
from tunesmith.metrics.exact_match import exact_match


def test_one_run_of_white_space_is_as_good_as_another() -> None:
    found = exact_match(
        answers(["a red\n circle ", "a red circle", "红圆"], ["a red circle", "a  red\tcircle", "红圆"])
    )
    assert found == {"exact_match": 1.0}


def test_case_punctuation_and_every_word_count() -> None:
    wrong = ["A red circle", "a red circle.", "a red", "a red circle and more", "aredcircle"]
    assert exact_match(answers(wrong, ["a red circle"] * 5)) == {"exact_match": 0.0}


def test_no_answers_have_no_number() -> None:
    assert exact_match(answers([], [])) == {}
