"""Entities as JSON lines: precision, recall, F1, and answers that cannot be read."""

from __future__ import annotations

import json
import random

import pytest

from tests.metrics.test_accuracy import answers
from tunesmith.metrics.ner_f1 import NOTHING_FOUND, ner_f1, spans_in


def said(*entities: tuple[str, str]) -> str:
    lines = [
        json.dumps({"entity_text": text, "entity_label": label}, ensure_ascii=False)
        for text, label in entities
    ]
    return "\n".join(lines) or NOTHING_FOUND


REFERENCE = said(("陈书航", "人名"), ("南京", "地理实体"))


def test_the_right_entities_in_any_order_are_all_right() -> None:
    found = ner_f1(answers([said(("南京", "地理实体"), ("陈书航", "人名")), said()], [REFERENCE, said()]))
    assert found == {"ner_precision": 1.0, "ner_recall": 1.0, "ner_f1": 1.0, "unparsable": 0.0}


def test_text_and_label_must_both_be_right() -> None:
    found = ner_f1(
        answers([said(("陈书航", "组织"), ("南京市", "地理实体"), ("南京", "地理实体"))], [REFERENCE])
    )
    assert (found["ner_precision"], found["ner_recall"]) == (1 / 3, 1 / 2)
    assert found["ner_f1"] == pytest.approx(2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2))


def test_an_entity_named_twice_must_be_named_twice() -> None:
    once, twice = said(("南京", "地理实体")), said(("南京", "地理实体"), ("南京", "地理实体"))
    assert ner_f1(answers([once], [twice]))["ner_recall"] == 0.5
    assert ner_f1(answers([twice], [once]))["ner_precision"] == 0.5


def test_the_shares_are_over_all_answers_together() -> None:
    """Against scores counted label by label, pair by pair, from drawn sets of entities without repetition."""
    draws = random.Random(3)
    names = [(text, label) for text in "甲乙丙丁" for label in ("人名", "组织")]
    sets = [[set(draws.sample(names, draws.randint(0, 4))) for _ in range(30)] for _ in range(2)]
    found = ner_f1(answers(*([said(*sorted(one)) for one in side] for side in sets)))
    right = [(a, b) for a, b in zip(*sets, strict=True)]
    true = sum(name in a and name in b for a, b in right for name in names)
    false = sum(name in a and name not in b for a, b in right for name in names)
    missed = sum(name not in a and name in b for a, b in right for name in names)
    assert true and false and missed
    assert found["ner_precision"] == pytest.approx(true / (true + false))
    assert found["ner_recall"] == pytest.approx(true / (true + missed))
    assert found["ner_f1"] == pytest.approx(true / (true + (false + missed) / 2))


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "我不知道",
        '{"entity_text": "南京", "entity_label": "地理实体"',
        '{"entity_text": "南京"}',
        '{"entity_text": 3, "entity_label": "人名"}',
        '["南京", "地理实体"]',
        NOTHING_FOUND + "\n" + said(("南京", "地理实体")),
        "[" * 100_000,
    ],
)
def test_an_answer_with_a_line_that_is_no_entity_is_counted(answer: str) -> None:
    assert not spans_in(answer).whole
    assert ner_f1(answers([answer, said()], [said(), said()]))["unparsable"] == 0.5


def test_the_good_lines_beside_a_bad_one_still_name_entities() -> None:
    found = ner_f1(answers([said(("南京", "地理实体")) + '\n{"entity_te'], [REFERENCE]))
    assert (found["ner_precision"], found["ner_recall"], found["unparsable"]) == (1.0, 0.5, 1.0)


def test_shares_without_a_denominator_are_zero() -> None:
    assert ner_f1(answers([said()], [REFERENCE])) == dict.fromkeys(
        ("ner_precision", "ner_recall", "ner_f1", "unparsable"), 0.0
    )
    assert ner_f1(answers([], [])) == {}
