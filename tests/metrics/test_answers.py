"""Scores: the named metrics, and the facts that all answers have."""

from __future__ import annotations

import pytest

from tunesmith.errors import InputError
from tunesmith.metrics import METRICS, Answers, answer_facts, metric_named, score, those_that_compare

ANSWERS = Answers(("a", "b"), (10, 20), (True, False), references=("a", "c"))


def test_facts_are_the_mean_length_and_the_share_that_ended() -> None:
    assert answer_facts((10, 20), (True, False)) == {"mean_tokens": 15.0, "end_token_rate": 0.5}


def test_no_answers_have_no_facts_rather_than_nan() -> None:
    assert answer_facts((), ()) == {}
    assert score(METRICS, Answers((), (), (), references=())) == {}


def test_facts_come_with_every_score() -> None:
    assert score([], ANSWERS) == answer_facts((10, 20), (True, False))
    scored = score(["poem_form"], ANSWERS)
    assert list(scored) == ["form_validity", "copied", "mean_tokens", "end_token_rate"]


def test_every_metric_in_the_table_gives_numbers() -> None:
    for metric in METRICS.values():
        assert all(isinstance(value, float) for value in metric.numbers(ANSWERS).values())


def test_a_metric_that_compares_says_so() -> None:
    without = Answers(("a", "b"), (10, 20), (True, False))
    for name, metric in METRICS.items():
        assert those_that_compare([name]) == ((name,) if metric.compares else ())
        if metric.compares:
            with pytest.raises(ValueError, match="no references"):
                metric.numbers(without)
        else:
            assert metric.numbers(without)
    assert those_that_compare(["accuracy", "poem_form"], compare=False) == ("poem_form",)


def test_an_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"no metric named `poemform`.*nearest name is `poem_form`"):
        metric_named("poemform")
    with pytest.raises(InputError, match="expected one of: poem_form"):
        score(["zzz"], ANSWERS)


def test_answers_of_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="do not describe the same answers"):
        Answers(("a",), (1, 2), (True,))
