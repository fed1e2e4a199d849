"""Metrics of answers: plain functions from answers to numbers, with no model in sight.

To add one, write a file with a function `Answers -> {name: number}` and a line in `METRICS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches

from tunesmith.errors import InputError
from tunesmith.metrics.answers import Answers, answer_facts
from tunesmith.metrics.poem_form import poem_form

__all__ = ["METRICS", "Answers", "answer_facts", "metric_named", "score"]

Metric = Callable[[Answers], dict[str, float]]

METRICS: dict[str, Metric] = {
    "poem_form": poem_form,
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


def score(names: Iterable[str], answers: Answers) -> dict[str, float]:
    """The numbers of the named metrics, then the facts that every set of answers has (`answer_facts`).

    Raises:
        InputError: there is no metric of that name.
    """
    numbers: dict[str, float] = {}
    for metric in [metric_named(name) for name in names]:
        numbers |= metric(answers)
    return numbers | answer_facts(answers.token_counts, answers.ended)
