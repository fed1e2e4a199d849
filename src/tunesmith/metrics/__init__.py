"""Metrics of answers: plain functions from answers to numbers, with no model in sight.

To add one, write a file with a function `Answers -> {name: number}` and a line in `METRICS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from tunesmith.errors import InputError
from tunesmith.metrics.accuracy import accuracy
from tunesmith.metrics.answers import Answers, answer_facts
from tunesmith.metrics.exact_match import exact_match
from tunesmith.metrics.keyword_recall import keyword_recall
from tunesmith.metrics.ner_f1 import ner_f1
from tunesmith.metrics.poem_form import poem_form

__all__ = ["METRICS", "Answers", "Metric", "answer_facts", "metric_named", "score", "those_that_compare"]


@dataclass(frozen=True)
class Metric:
    """A metric: `numbers` of answers; `compares` where it needs to know what each answer should have been."""

    numbers: Callable[[Answers], dict[str, float]]
    compares: bool


METRICS: dict[str, Metric] = {
    "poem_form": Metric(poem_form, compares=False),
    "accuracy": Metric(accuracy, compares=True),
    "exact_match": Metric(exact_match, compares=True),
    "ner_f1": Metric(ner_f1, compares=True),
    "keyword_recall": Metric(keyword_recall, compares=True),
}


def metric_named(name: str) -> Metric:
    """The metric of that name.

    Raises:
        InputError: there is none; names the nearest one.
    """
    if name not in METRICS:
        near = get_close_matches(name, METRICS, n=1)
        raise InputError(
            f"there is no metric named `{name}`",
            where="evaluate.metrics",
            expected="one of: " + ", ".join(METRICS),
            remedy=f"the nearest name is `{near[0]}`" if near else None,
        )
    return METRICS[name]


def those_that_compare(names: Iterable[str], *, compare: bool = True) -> tuple[str, ...]:
    """Of the named metrics, those that compare with references, or (`compare` false) those that do not.

    Raises:
        InputError: there is no metric of that name.
    """
    return tuple(name for name in names if metric_named(name).compares is compare)


def score(names: Iterable[str], answers: Answers) -> dict[str, float]:
    """The numbers of the named metrics, then the facts that every set of answers has (`answer_facts`).

    Raises:
        InputError: there is no metric of that name.
        ValueError: a metric compares with references, and the answers have none.
    """
    numbers: dict[str, float] = {}
    for metric in [metric_named(name) for name in names]:
        numbers |= metric.numbers(answers)
    return numbers | answer_facts(answers.token_counts, answers.ended)
