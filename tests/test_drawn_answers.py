"""Learning from a teacher and from rewarded answers, through the pipeline: what is learned, kept, shown and refused."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch

from tests.conftest import byte_tokenizer, tiny_llama
from tests.recipes import write_recipe, write_rows
from tunesmith import pipeline
from tunesmith.config.load import load
from tunesmith.errors import InputError

REWARDS = """
def short(attempt):
    return -len(attempt.answer.encode())

def broken(attempt):
    raise KeyError("no such word")

def nothing(attempt):
    return float("nan")
"""


@pytest.fixture(scope="module")
def teacher_folder(tmp_path_factory) -> Path:
    """Another model that knows the same tokens."""
    folder = tmp_path_factory.mktemp("teacher") / "tiny"
    torch.manual_seed(0)
    model = tiny_llama()
    for weight in model.parameters():
        weight.data += 0.05 * torch.randn(weight.shape)
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def distill(folder: Path, model: Path, teacher: Path, **method) -> Path:
    return write_recipe(
        folder,
        model,
        adapter={"rank": 16, "alpha": 32, "dropout": 0.0},
        method={"name": "distill", "teacher": str(teacher), **method},
        train={"epochs": 10, "learning_rate": 1e-2, "eval_every": 4, "save_every": 40, "threads": 1},
        evaluate={"prompts": []},
    )


def grpo(folder: Path, model: Path, rows=None, **method) -> Path:
    recipe = write_recipe(
        folder,
        model,
        adapter={"rank": 16, "alpha": 32, "dropout": 0.0},
        method={"name": "grpo", "rewards": "rewards.py:short", "answers": 4, "max_new_tokens": 16, **method},
        train={"epochs": 6, "learning_rate": 1e-2, "eval_every": 8, "save_every": 40, "threads": 1},
        evaluate={"prompts": []},
    )
    (folder / "rewards.py").write_text(REWARDS, "utf-8")
    write_rows(folder / "rows.jsonl", rows or [{"prompt": f"Say {i}"} for i in range(10)])
    return recipe


def of(lines, name):
    return [line[name] for line in lines if name in line]


@pytest.mark.parametrize(
    "method", [{}, {"divergence": "jsd"}, {"answers": "student", "max_new_tokens": 8}], ids=str
)
def test_the_student_comes_closer_to_its_teacher(tmp_path, tiny_model_folder, teacher_folder, method):
    run = pipeline.train(load(str(distill(tmp_path, tiny_model_folder, teacher_folder, **method))))
    lines = run.read_metrics()
    divergences = of(lines, "eval_divergence")
    assert divergences[-1] < 0.7 * divergences[0]
    assert torch.get_num_threads() == 1  # as the recipe says, whatever the teacher would take
    assert of(lines, "eval_teacher_agreement")[-1] >= of(lines, "eval_teacher_agreement")[0]
    assert "divergence" in run.report.read_text("utf-8")


def test_what_is_kept_of_a_teacher_serves_again_and_is_made_anew_when_it_is_damaged(
    tmp_path, tiny_model_folder, teacher_folder, monkeypatch, caplog
):
    cache = tmp_path / "cache"
    monkeypatch.setenv("TUNESMITH_CACHE", str(cache))
    results = []
    for name in ("first", "again", "damaged"):
        folder = tmp_path / name
        folder.mkdir()
        if name == "damaged":
            for kept in cache.rglob("logprobs.npy"):
                kept.write_bytes(b"")
        recipe = load(str(distill(folder, tiny_model_folder, teacher_folder, top_k=16)))
        with caplog.at_level(logging.INFO):
            caplog.clear()
            run = pipeline.train(recipe)
        asked = [record for record in caplog.messages if "asking the teacher" in record]
        assert len(asked) == (0 if name == "again" else 2), name
        assert any("damaged" in message for message in caplog.messages) is (name == "damaged")
        results.append((run.result() / "adapter_model.safetensors").read_bytes())
    assert results[0] == results[1] == results[2]


def test_a_teacher_is_asked_where_nothing_is_held_out(tmp_path, tiny_model_folder, teacher_folder):
    recipe = distill(tmp_path, tiny_model_folder, teacher_folder, top_k=4)
    lines = pipeline.train(load(str(recipe), ["data.eval=null", "train.max_steps=2"])).read_metrics()
    assert [line["step"] for line in lines] == [1, 2]


def test_a_teacher_that_knows_other_tokens_is_refused(tmp_path, tiny_model_folder):
    other = tmp_path / "other"
    tiny_llama().save_pretrained(other)
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["<|one more|>"])
    tokenizer.save_pretrained(other)
    recipe = load(str(distill(tmp_path, tiny_model_folder, other)))
    with pytest.raises(
        InputError, match=r"is '<\|one more\|>' to the teacher and none to the student"
    ) as refused:
        pipeline.train(recipe)
    assert refused.value.where == "method.teacher"
    assert not (tmp_path / "run").exists()


def test_a_teacher_that_is_not_there_is_told_as_that(tmp_path, tiny_model_folder):
    with pytest.raises(InputError) as refused:
        pipeline.train(load(str(distill(tmp_path, tiny_model_folder, Path("./nowhere")))))
    assert refused.value.where == "method.teacher"


def test_a_student_of_some_layers_is_a_model_of_its_own(tmp_path, tiny_model_folder, teacher_folder):
    from transformers import AutoModelForCausalLM

    recipe = distill(tmp_path, tiny_model_folder, teacher_folder)
    loaded = load(str(recipe), ["adapter={type: none}", "model.layers=1", "train.learning_rate=1e-3"])
    run = pipeline.train(loaded)
    result = AutoModelForCausalLM.from_pretrained(run.result())
    assert (len(result.model.layers), result.config.num_hidden_layers) == (1, 1)
    with pytest.raises(InputError, match="this model has 2 layers"):
        pipeline.train(load(str(recipe), ["adapter={type: none}", "model.layers=2", "run.output=other"]))


def test_rewarded_answers_become_likelier(tmp_path, tiny_model_folder):
    run = pipeline.train(load(str(grpo(tmp_path, tiny_model_folder))))
    lines = run.read_metrics()
    rewards = of(lines, "eval_reward")
    assert rewards[-1] > rewards[0]
    assert of(lines, "eval_loss") == [-reward for reward in rewards]
    drawn = run.read_drawn()
    assert len(drawn) == 4 * 2 * max(of(lines, "step"))
    assert all(line["reward"] == -len(line["answer"].encode()) for line in drawn)
    page = run.report.read_text("utf-8")
    assert "Drawn answers" in page and "drawn at step 1" in page


def test_several_updates_of_the_same_answers_clip(tmp_path, tiny_model_folder):
    run = pipeline.train(load(str(grpo(tmp_path, tiny_model_folder, updates=4, clip=0.01))))
    lines = [line for line in run.read_metrics() if "loss" in line]
    assert [line["clipped"] > 0 for line in lines[4:8]] == [False, True, True, True]
    drawn = run.read_drawn()
    assert sorted({line["step"] for line in drawn}) == list(range(1, max(line["step"] for line in lines), 4))


def test_far_from_the_start_costs(tmp_path, tiny_model_folder):
    moved = {}
    for kl in (0.0, 5.0):
        folder = tmp_path / str(kl)
        folder.mkdir()
        recipe = grpo(folder, tiny_model_folder, kl=max(kl, 1e-9))
        moved[kl] = of(pipeline.train(load(str(recipe))).read_metrics(), "kl")[-1]
    assert moved[5.0] < moved[0.0]


@pytest.mark.parametrize(
    ("rewards", "rows", "said"),
    [
        ("rewards.py:broken", None, "broken failed with KeyError: 'no such word' for the answer"),
        ("rewards.py:nothing", None, "nothing gave nan for the answer"),
        ("rewards.py:missing", None, "has no function missing"),
        ("poem_from", None, "no reward function `poem_from`"),
        ("label", None, "the row has no answer to compare with"),
        (
            "json",
            [{"prompt": "a", "chosen": "b", "rejected": "c"}],
            "the method grpo does not learn from that",
        ),
        ("json", [{"prompt": [{"role": "system", "content": "Be."}]}], "does not end with a question"),
        ("json", [{"prompt": "a " * 400}], "longer than"),
    ],
)
def test_what_cannot_be_rewarded_is_told(tmp_path, tiny_model_folder, rewards, rows, said):
    recipe = grpo(tmp_path, tiny_model_folder, rows and rows * 10, rewards=rewards)
    with pytest.raises(InputError) as refused:
        pipeline.train(load(str(recipe)))
    assert said in str(refused.value)


def test_a_weight_that_would_not_count_is_refused(tmp_path, tiny_model_folder):
    recipe = grpo(tmp_path, tiny_model_folder)
    with pytest.raises(InputError, match="does not go with the method grpo"):
        load(str(recipe), ["data.train={path: rows.jsonl, weight: 2.0}"])


def test_chats_are_prompts_whose_last_answer_is_the_reference(tmp_path, tiny_model_folder):
    rows = [
        {"messages": [{"role": "user", "content": "Yes?"}, {"role": "assistant", "content": "yes"}]}
        for _ in range(10)
    ]
    run = pipeline.train(
        load(str(grpo(tmp_path, tiny_model_folder, rows, rewards=["label", "keyword_recall"])))
    )
    drawn = run.read_drawn()
    assert all(line["reward"] == line["reward_label"] + line["reward_keyword_recall"] for line in drawn)
    data = json.loads(run.data.read_text("utf-8"))
    assert data["train"]["tokens"]["with_loss"] == 0
