"""Answers in words: is it the reference, word for word?"""

from __future__ import annotations

from tunesmith.metrics.answers import Answers


def exact_match(answers: Answers) -> dict[str, float]:
    """The share of answers that are their reference, where one run of white space is as good as another.

    Captions and texts are wrapped in many ways; upper and lower case and punctuation count.

    Returns:
        `exact_match`, a share from 0 to 1; nothing when there are no answers.

    Raises:
        ValueError: the answers have no references.
    """
    pairs = answers.beside_references()
    if not pairs:
        return {}
    return {"exact_match": sum(text.split() == wanted.split() for text, wanted in pairs) / len(pairs)}
