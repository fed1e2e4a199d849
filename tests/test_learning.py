"""The small recipes learn to read: far better than counting or looking up on rows they have not seen, and no better than
chance where the labels are shuffled."""

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

TOPICS, TOPICS_TEST = "news/topics_train.jsonl", "news/topics_test.jsonl"
NAMES, NAMES_TEST = "ner/names_train.jsonl", "ner/names_test.jsonl"
SEEDS = pytest.mark.parametrize("seed", [0, 1, 2])


def score(recipe: str, metric: str, folder: Path, *overrides: str) -> float:
    run = pipeline.train(load(recipe, [f"run.output={folder}", *overrides]))
    return json.loads(run.evaluation.read_text("utf-8"))["metrics"][metric]


def on_shuffled(recipe: str, metric: str, rows: str, folder: Path) -> float:
    lines = (sample_baselines.SAMPLES / rows).read_text("utf-8").splitlines()
    file = folder / "shuffled.jsonl"
    file.write_text("\n".join(shuffled(lines, 0)), "utf-8")
    instruction = load(recipe).data.train[0].instruction
    return score(recipe, metric, folder / "run", f"data.train={{path: {file}, instruction: {instruction}}}")


@slow
@SEEDS
def test_the_order_of_words_is_learned_whatever_the_seed(tmp_path, seed):
    words = sample_baselines.bag_of_words_accuracy(*map(sample_baselines.read, (TOPICS, TOPICS_TEST)))
    assert score("news-nano", "accuracy", tmp_path / "run", f"train.seed={seed}") > words + 0.2


@slow
def test_shuffled_classes_teach_nothing(tmp_path):
    offered = [len(row["category"]) for row in sample_baselines.read(TOPICS_TEST)]
    chance = sum(1 / count for count in offered) / len(offered)
    assert on_shuffled("news-nano", "accuracy", TOPICS, tmp_path) < chance + 0.15


def held_out(recipe: str, folder: Path, *overrides: str) -> dict[str, float]:
    run = pipeline.train(load(recipe, [f"run.output={folder}", "evaluate.prompts=[]", *overrides]))
    return [line for line in run.read_metrics() if "eval_loss" in line][-1]


@slow
@SEEDS
def test_names_never_seen_are_found_whatever_the_seed(tmp_path, seed):
    _, _, listed = sample_baselines.gazetteer_f1(*map(sample_baselines.read, (NAMES, NAMES_TEST)))
    assert score("ner-nano", "ner_f1", tmp_path / "run", f"train.seed={seed}") > listed + 0.25


@slow
def test_shuffled_kinds_of_entities_teach_no_kind(tmp_path):
    """Were every entity found, one kind of four would be right."""
    assert on_shuffled("ner-nano", "ner_f1", NAMES, tmp_path) < 1 / 4 + 0.15


def pairs_told_apart(folder: Path, *overrides: str) -> float:
    return held_out("tcm-dpo-nano", folder, *overrides)["eval_reward_accuracy"]


def pairs_file(folder: Path, seed: int) -> Path:
    """The training pairs with their sides swapped by chance."""
    pairs = [json.dumps(row) for row in sample_baselines.read("preference/train.json")]
    file = folder / f"shuffled{seed}.jsonl"
    file.write_text("\n".join(shuffled(pairs, seed)), "utf-8")
    return file


@slow
@SEEDS
def test_pairs_never_seen_are_told_apart_whatever_the_seed(tmp_path, seed):
    assert pairs_told_apart(tmp_path / "run", f"train.seed={seed}") > 0.8


@slow
def test_shuffled_pairs_teach_nothing(tmp_path):
    file = pairs_file(tmp_path, 0)
    assert 0.2 < pairs_told_apart(tmp_path / "run", f"data.train={file}") < 0.8


@slow
@SEEDS
def test_better_answers_never_seen_score_higher_whatever_the_seed(tmp_path, seed):
    start = ["train.max_steps=1", "train.learning_rate=1e-12"]
    before = held_out("tcm-reward-nano", tmp_path / "start", f"train.seed={seed}", *start)
    after = held_out("tcm-reward-nano", tmp_path / "run", f"train.seed={seed}")
    assert after["eval_reward_accuracy"] > max(0.7, before["eval_reward_accuracy"])
    assert after["eval_loss"] < before["eval_loss"] - 0.15


@slow
def test_a_reward_model_learns_nothing_of_shuffled_pairs(tmp_path):
    """Whichever way most pairs lie by chance is learned, so several draws are looked at together."""
    losses = [
        held_out("tcm-reward-nano", tmp_path / str(seed), f"data.train={pairs_file(tmp_path, seed)}")[
            "eval_loss"
        ]
        for seed in range(3)
    ]
    assert sum(losses) / 3 > 0.65


@slow
@SEEDS
def test_captions_of_unseen_drawings_are_right_whatever_the_seed(tmp_path, seed):
    assert score("captions-nano", "exact_match", tmp_path / "run", f"train.seed={seed}") > 0.9


@slow
def test_a_student_comes_half_way_to_its_teacher(tmp_path):
    """Where it alone, at its best, would not."""

    def loss(folder: str, *overrides: str) -> float:
        run = pipeline.train(load("qa-distill-nano", [f"run.output={tmp_path / folder}", *overrides]))
        lines = [line for line in run.read_metrics() if "eval_loss" in line]
        return min(line.get("eval_nll", line["eval_loss"]) for line in lines)

    sft, start = (
        "method={name: sft}",
        ["train.max_steps=1", "train.learning_rate=1e-12", "train.warmup_steps=0"],
    )
    teacher = loss("teacher", sft, "model.layers=null", *start)
    alone = min(loss(rate, sft, f"train.learning_rate={rate}") for rate in ("5e-4", "1e-3"))
    distilled = loss("distilled", "train.epochs=8")
    assert teacher < distilled < alone - (alone - teacher) / 2


def form_after(folder: Path, *overrides: str) -> tuple[float, float]:
    run = pipeline.train(load("poetry-grpo-nano", [f"run.output={folder}", *overrides]))
    scores = json.loads(run.before_after.read_text("utf-8"))["scores"]
    return scores["base"]["form_validity"], scores["tuned"]["form_validity"]


@slow
@SEEDS
def test_rewards_alone_teach_the_form_whatever_the_seed(tmp_path, seed):
    before, after = form_after(tmp_path / "run", f"train.seed={seed}")
    assert before < 0.2
    assert after > 0.7


@slow
def test_rewards_by_chance_teach_nothing(tmp_path):
    """They are a function of the answer alone, so that a run can be repeated, and say nothing of its form."""
    (tmp_path / "rewards.py").write_text(
        "import zlib\n\ndef chance(attempt):\n    return zlib.crc32(attempt.answer.encode()) % 2\n", "utf-8"
    )
    _, after = form_after(tmp_path / "run", f"method.rewards={tmp_path / 'rewards.py'}:chance")
    assert after < 0.3
