"""Learning from judged answers, through the pipeline: what is learned, kept, resumed and refused."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import pytest

from tests.recipes import write_recipe, write_rows
from tunesmith import pipeline
from tunesmith.config.load import load
from tunesmith.errors import InputError, Interrupted
from tunesmith.rundir import RunDir

PAIRS = [
    {"prompt": f"What is {i}?", "chosen": f"It is {i}, sir.", "rejected": f"Don't know {i % 3}"}
    for i in range(10)
]


def recipe_of(folder: Path, model: Path, rows=None, **blocks) -> Path:
    recipe = write_recipe(
        folder,
        model,
        **{
            "method": {"name": "dpo"},
            "train": {"epochs": 4, "learning_rate": 5e-3, "eval_every": 4, "threads": 1},
            "evaluate": {"prompts": []},
            **blocks,
        },
    )
    write_rows(folder / "rows.jsonl", PAIRS if rows is None else rows)
    return recipe


def test_the_better_answers_become_likelier_and_the_run_tells_so(tmp_path, tiny_model_folder):
    run = pipeline.train(load(str(recipe_of(tmp_path, tiny_model_folder))))
    lines = run.read_metrics()
    trained = [line for line in lines if "loss" in line]
    held_out = [line for line in lines if "eval_loss" in line]
    assert trained[0]["loss"] == pytest.approx(
        math.log(2), abs=0.05
    )  # but for dropout nothing is preferred yet
    assert trained[-1]["reward_accuracy"] == held_out[-1]["eval_reward_accuracy"] == 1.0
    assert trained[-1]["reward_margin"] > 5 * abs(trained[0]["reward_margin"])
    assert held_out[-1]["eval_loss"] < held_out[0]["eval_loss"] < math.log(2)
    for line in trained:
        assert line["reward_margin"] == pytest.approx(
            line["reward_chosen"] - line["reward_rejected"], rel=1e-4
        )
        assert line["logprob_chosen"] < 0


@pytest.mark.parametrize("loss", ["ipo", "orpo", "simpo"])
def test_other_losses_prefer_them_too(tmp_path, tiny_model_folder, loss):
    recipe = recipe_of(tmp_path, tiny_model_folder, method={"name": "dpo", "loss": loss})
    last = [line for line in pipeline.train(load(str(recipe))).read_metrics() if "eval_loss" in line][-1]
    assert last["eval_reward_accuracy"] == 1.0


@pytest.mark.parametrize("how", ["lora", "full"])
def test_interrupted_it_ends_with_the_same_bytes(tmp_path, tiny_model_folder, how):
    adapter = {"type": "none"} if how == "full" else {}
    results = []
    for name in ("whole", "stopped"):
        folder = tmp_path / name
        folder.mkdir()
        recipe = load(str(recipe_of(folder, tiny_model_folder, adapter=adapter)))
        if name == "whole":
            run = pipeline.train(recipe)
        else:
            asked = iter([False, False, True])
            with pytest.raises(Interrupted):
                pipeline.train(recipe, stop_wanted=lambda asked=asked: next(asked))
            run = pipeline.resume(RunDir(recipe.output_folder).folder)
        result = run.result()
        assert result is not None
        results.append({path.name: path.read_bytes() for path in result.glob("*.safetensors")})
    assert results[0] and results[0] == results[1]


def test_reference_values_are_computed_once_and_never_taken_of_another_model(
    tmp_path, tiny_model_folder, caplog, monkeypatch
):
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    caplog.set_level(logging.INFO)

    def computed(*overrides: str) -> int:
        caplog.clear()
        recipe = load(str(recipe_of(tmp_path, tiny_model_folder)), [*overrides, "train.epochs=1"])
        pipeline.train(recipe, overwrite=True)
        return caplog.text.count("reference log-probabilities of")

    assert computed() == 2  # of both sides
    assert computed("method.beta=0.5", "adapter.rank=2") == 0
    assert computed("model.precision=bf16") == 2
    assert computed("method.loss=cpo", "model.precision=bf16", f"run.output={tmp_path / 'other'}") == 0
    assert computed(f"adapter.start={tmp_path / 'run'}", f"run.output={tmp_path / 'second'}") == 2
    for values in (tmp_path / "cache").rglob("logprobs.npy"):
        values.write_bytes(values.read_bytes()[:-4] + b"\0\0\0\0")
    assert computed() == 2
    assert "are damaged or of another model" in caplog.text


def test_an_adapter_it_starts_from_is_the_reference(tmp_path, tiny_model_folder):
    first = pipeline.train(load(str(recipe_of(tmp_path, tiny_model_folder))))
    (tmp_path / "second").mkdir()
    recipe = recipe_of(
        tmp_path / "second", tiny_model_folder, adapter={"start": str(first.folder), "dropout": 0.0},
        train={"epochs": 1, "learning_rate": 1e-9, "threads": 1},
    )  # fmt: skip
    line = pipeline.train(load(str(recipe))).read_metrics()[0]
    assert line["logprob_chosen"] > first.read_metrics()[0]["logprob_chosen"]
    # It is the adapter's own: but for its dropout nothing is preferred.
    assert abs(line["reward_margin"]) < 0.1 * abs(first.read_metrics()[-2]["reward_margin"])


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, "'chosen' and 'rejected' of row 11 are the same"),
        ({"prompt": "a", "chosen": "b", "rejected": ""}, "'rejected' of row 11"),
        ({"prompt": "a", "chosen": "b " * 200, "rejected": "c"}, "longer than data.max_length 128"),
        ({"prompt": "a", "chosen": "b"}, "rejected"),
        (
            {
                "chosen": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
                "rejected": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "c"}],
            },
            "row 11",
        ),
    ],
    ids=["equal", "empty", "long", "missing", "other prompts"],
)
def test_wrong_pairs_are_told(tmp_path, tiny_model_folder, row, told):
    with pytest.raises(InputError) as caught:
        pipeline.train(load(str(recipe_of(tmp_path, tiny_model_folder, rows=[*PAIRS, row]))))
    assert told in str(caught.value) and "rows.jsonl" in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_prompts_are_not_judged(tmp_path, tiny_model_folder, method):
    recipe = recipe_of(tmp_path, tiny_model_folder, method={"name": method}, data={"loss_on": "everything"})
    with pytest.raises(InputError, match=f"loss_on: everything does not go with the method {method}"):
        load(str(recipe))


def test_rows_without_a_judgement_name_the_method_that_fits(tmp_path, tiny_model_folder):
    rows = [{"prompt": "a", "completion": "b"}]
    with pytest.raises(
        InputError, match=r"the method dpo does not learn from rows .* does: `method: \{name: sft\}`"
    ):
        pipeline.train(load(str(recipe_of(tmp_path, tiny_model_folder, rows=rows))))


def test_a_long_question_is_cut_the_same_for_both_sides(tmp_path, tiny_model_folder):
    long = {"prompt": "why " * 60, "chosen": "because", "rejected": "never mind that"}
    recipe = recipe_of(
        tmp_path, tiny_model_folder, rows=[*PAIRS, long], data={"on_long": "truncate", "eval": None}
    )
    run = pipeline.train(load(str(recipe)))
    assert json.loads(run.data.read_text("utf-8"))["train"]["rows_kept"] == 11


JUDGED = [
    {
        "messages": [
            {"role": "user", "content": f"What is {i}?"},
            {"role": "assistant", "content": f"It is {i}, sir." if i % 2 else f"Don't know {i % 3}"},
        ],
        "label": bool(i % 2),
    }
    for i in range(12)
]


def test_good_answers_become_likelier_than_bad_ones(tmp_path, tiny_model_folder):
    recipe = recipe_of(
        tmp_path, tiny_model_folder, rows=JUDGED, method={"name": "kto"},
        train={"epochs": 8, "learning_rate": 5e-3, "batch_size": 4, "accumulate": 1, "eval_every": 4, "threads": 1},
    )  # fmt: skip
    lines = pipeline.train(load(str(recipe))).read_metrics()
    first, last = (
        next(line for line in lines if "loss" in line),
        [line for line in lines if "eval_loss" in line][-1],
    )
    assert first["loss"] == pytest.approx(0.5, abs=0.02)  # nothing has moved yet
    assert last["eval_loss"] < 0.45
    assert last["eval_reward_good"] > last["eval_reward_bad"]
    assert last["eval_reward_accuracy"] == 1.0 and last["eval_kl"] >= 0


def test_labels_that_are_all_alike_are_told(tmp_path, tiny_model_folder):
    rows = [row for row in JUDGED if row["label"]]
    recipe = recipe_of(tmp_path, tiny_model_folder, rows=rows, method={"name": "kto"})
    with pytest.raises(
        InputError, match=r"all \d+ answers of data.train are judged good; expected good and bad ones"
    ):
        pipeline.train(load(str(recipe)))
    assert not (tmp_path / "run").exists()
