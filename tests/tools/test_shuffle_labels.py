"""Shuffled labels: the same rows with classes that say nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

# tools/ holds scripts, not a package: its files import each other by bare name, as Python runs scripts.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from shuffle_labels import shuffled

LINES = [
    json.dumps({"text": f"t{n}", "category": ["体育", "财经", "文化"], "output": "体育"}, ensure_ascii=False)
    for n in range(300)
]


def test_a_class_is_drawn_from_those_that_the_row_offers_and_the_rest_stays():
    rows = [json.loads(line) for line in shuffled(LINES, 0)]
    assert [row | {"output": "体育"} for row in rows] == [json.loads(line) for line in LINES]
    counts = [sum(row["output"] == label for row in rows) for label in ("体育", "财经", "文化")]
    assert sum(counts) == 300 and min(counts) > 70


def test_a_kind_of_entity_is_drawn_and_its_place_stays():
    row = {"text": "小明住在南京。", "entities": [
        {"start_idx": 0, "end_idx": 2, "entity_text": "小明", "entity_names": ["人名"]},
        {"start_idx": 4, "end_idx": 6, "entity_text": "南京", "entity_names": ["地理实体"]},
    ]}  # fmt: skip
    drawn = [json.loads(line) for line in shuffled([json.dumps(row)] * 200, 0)]
    kinds = [entity.pop("entity_names")[0] for one in drawn for entity in one["entities"]]
    for entity in row["entities"]:
        del entity["entity_names"]
    assert all(one == row for one in drawn)
    assert min(kinds.count(kind) for kind in ("地点", "人名", "地理实体", "组织")) > 70


def test_half_of_all_pairs_are_swapped():
    pairs = [{"prompt": str(n), "chosen": "a", "rejected": "b"} for n in range(300)]
    rows = [json.loads(line) for line in shuffled(list(map(json.dumps, pairs)), 0)]
    assert [row["prompt"] for row in rows] == [pair["prompt"] for pair in pairs]
    assert all({row["chosen"], row["rejected"]} == {"a", "b"} for row in rows)
    assert 120 < sum(row["chosen"] == "b" for row in rows) < 180


def test_the_same_seed_draws_the_same():
    assert shuffled(LINES, 3) == shuffled(LINES, 3) != shuffled(LINES, 4)
