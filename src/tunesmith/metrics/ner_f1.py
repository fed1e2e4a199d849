"""Named entities as JSON lines: precision, recall and F1 over the spans of all answers together.

    {"entity_text": "南京", "entity_label": "地理实体"}
    {"entity_text": "陈书航", "entity_label": "人名"}

An answer without entities is the sentence `NOTHING_FOUND`.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import NamedTuple

from tunesmith.metrics.answers import Answers

NOTHING_FOUND = "没有找到任何实体"


class Spans(NamedTuple):
    """The entities of one answer, as often as they are named; `whole`: every line of it could be read."""

    found: Counter[tuple[str, str]]
    whole: bool


def spans_in(answer: str) -> Spans:
    """The (text, label) of each line. What cannot be read names no entity; an empty answer cannot be read."""
    lines = [line.strip() for line in answer.split("\n") if line.strip()]
    if lines == [NOTHING_FOUND]:
        return Spans(Counter(), whole=True)
    spans = [_span(line) for line in lines]
    return Spans(Counter(span for span in spans if span is not None), whole=bool(spans) and None not in spans)


def _span(line: str) -> tuple[str, str] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    text, label = value.get("entity_text"), value.get("entity_label")
    return (text, label) if isinstance(text, str) and isinstance(label, str) else None


def ner_f1(answers: Answers) -> dict[str, float]:
    """Micro-averaged over all answers: an entity is right if its text and its label are those of the reference.

    An entity that the reference names twice must be named twice. The answers do not say where in the sentence an
    entity stands, so two mentions of one name are told apart by their number alone. A share without a denominator
    is 0, as in seqeval.

    Returns:
        `ner_precision`, `ner_recall`, `ner_f1`, and `unparsable`, the share of answers with a line that is no entity;
        nothing when there are no answers.

    Raises:
        ValueError: the answers have no references.
    """
    pairs = [(spans_in(text), spans_in(wanted)) for text, wanted in answers.beside_references()]
    if not pairs:
        return {}
    right = sum((answer.found & wanted.found).total() for answer, wanted in pairs)
    named = sum(answer.found.total() for answer, _ in pairs)
    wanted_in_all = sum(wanted.found.total() for _, wanted in pairs)
    return {
        "ner_precision": right / named if named else 0.0,
        "ner_recall": right / wanted_in_all if wanted_in_all else 0.0,
        "ner_f1": 2 * right / (named + wanted_in_all) if right else 0.0,
        "unparsable": sum(not answer.whole for answer, _ in pairs) / len(pairs),
    }
