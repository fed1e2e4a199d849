"""Rewards of single answers: plain functions from what was asked and answered to a number.

To add one, write a function `Attempt -> float` and a line in `REWARDS`. A recipe may name functions of other files.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

from tunesmith.metrics.keyword_recall import holds
from tunesmith.metrics.poem_form import is_five_character_quatrain, is_verse_line


class Attempt(NamedTuple):
    """One answer that was drawn.

    Args:
        prompt: the last question.
        answer: without the end token.
        reference: what the row says that the answer should have been; None: it does not say.
        keywords: the words that the answer should hold, where the row lists them.
        ended: whether the model stopped by itself.
    """

    prompt: str
    answer: str
    reference: str | None
    keywords: tuple[str, ...]
    ended: bool


Reward = Callable[[Attempt], float]


def poem_form(attempt: Attempt) -> float:
    """1 for a five-character quatrain and nothing else; below, a half times the share of its four lines that are there.

    Lines are counted from the top, so that what is on the way to the form is worth more than what is not.
    """
    if is_five_character_quatrain(attempt.answer):
        return 1.0
    lines = attempt.answer.strip().splitlines()[:4]
    return 0.5 * sum(is_verse_line(line, number) for number, line in enumerate(lines)) / 4


def valid_json(attempt: Attempt) -> float:
    """1 where the whole answer is one JSON value, or one a line."""
    lines = [line for line in attempt.answer.splitlines() if line.strip()]
    return float(_is_json(attempt.answer) or (bool(lines) and all(map(_is_json, lines))))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def label(attempt: Attempt) -> float:
    """1 where the answer is the row's own, apart from white space at its ends.

    Raises:
        ValueError: the row has none.
    """
    if attempt.reference is None:
        raise ValueError("the row has no answer to compare with")
    return float(attempt.answer.strip() == attempt.reference.strip())


def keyword_recall(attempt: Attempt) -> float:
    """The share of the row's keywords that stand in the answer; where it lists none, whether its whole answer does.

    Raises:
        ValueError: the row has neither.
    """
    words = attempt.keywords or ((attempt.reference,) if attempt.reference else ())
    if not words:
        raise ValueError("the row has no keywords and no answer to compare with")
    return sum(holds(attempt.answer, word) for word in words) / len(words)


REWARDS: dict[str, Reward] = {
    "poem_form": poem_form,
    "json": valid_json,
    "label": label,
    "keyword_recall": keyword_recall,
}
