"""Classification: is the answer the label, and nothing else?"""

from __future__ import annotations

from tunesmith.metrics.answers import Answers


def accuracy(answers: Answers) -> dict[str, float]:
    """The share of answers that are their label, white space around it aside.

    Returns:
        `accuracy`, a share from 0 to 1; nothing when there are no answers.

    Raises:
        ValueError: the answers have no references.
    """
    pairs = answers.beside_references()
    if not pairs:
        return {}
    return {"accuracy": sum(text.strip() == label.strip() for text, label in pairs) / len(pairs)}
