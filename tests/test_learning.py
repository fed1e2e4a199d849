"""The small recipe for news learns to read: far better than counting words on rows it has not seen, and nothing where
the labels are shuffled."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.slow import slow
from tunesmith import pipeline
from tunesmith.config.load import load

# tools/ holds scripts, not a package: its files import each other by bare name, as Python runs scripts.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

import sample_baselines
from shuffle_labels import shuffled

TRAIN, TEST = "news/topics_train.jsonl", "news/topics_test.jsonl"


def accuracy(folder: Path, *overrides: str) -> float:
    run = pipeline.train(load("news-nano", [f"run.output={folder}", *overrides]))
    return json.loads(run.evaluation.read_text("utf-8"))["metrics"]["accuracy"]


@slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_order_of_words_is_learned_whatever_the_seed(tmp_path, seed):
    words = sample_baselines.bag_of_words_accuracy(*map(sample_baselines.read, (TRAIN, TEST)))
    assert accuracy(tmp_path / "run", f"train.seed={seed}") > words + 0.2


@slow
def test_shuffled_labels_teach_nothing(tmp_path):
    lines = (sample_baselines.SAMPLES / TRAIN).read_text("utf-8").splitlines()
    file = tmp_path / "shuffled.jsonl"
    file.write_text("\n".join(shuffled(lines, 0)), "utf-8")
    instruction = load("news-nano").data.train[0].instruction
    found = accuracy(tmp_path / "run", f"data.train={{path: {file}, instruction: {instruction}}}")
    offered = [len(row["category"]) for row in sample_baselines.read(TEST)]
    chance = sum(1 / count for count in offered) / len(offered)
    assert found < chance + 0.15
