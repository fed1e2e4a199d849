"""Several models, the same questions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.infer.test_open import bare_peft_adapter
from tunesmith.errors import InputError
from tunesmith.evaluation.compare import compare
from tunesmith.infer.open import open_speaker


def test_a_run_beside_its_base_gives_the_answers_of_before_after(trained_run, tmp_path):
    evidence = json.loads((trained_run / "before_after.json").read_text("utf-8"))
    found = compare([str(trained_run / "adapter"), str(trained_run)])
    assert found.titles == (str(trained_run / "adapter"), str(trained_run))
    assert found.prompts == ("What is 3?", "Who?"), "the run brings the questions, wherever it is named"
    tuned = [sample["tuned"] for sample in evidence["samples"]]
    assert found.answers == tuple((text, text) for text in tuned)
    assert found.scores[str(trained_run)] == evidence["scores"]["tuned"]


def test_models_of_several_kinds_answer_given_questions(trained_run, tmp_path, tiny_model_folder):
    bare_peft_adapter(tmp_path / "adapter", tiny_model_folder)
    names = [str(tiny_model_folder), str(tmp_path / "adapter"), "builtin:nano", str(trained_run)]
    found = compare(names, ["Hello", "春天"])
    assert found.prompts == ("Hello", "春天")
    generation = open_speaker(str(trained_run)).generation
    for name, answers in zip(names, zip(*found.answers, strict=True), strict=True):
        replies = open_speaker(name).speaker.answer(["Hello", "春天"], generation)
        assert list(answers) == [reply.text for reply in replies]
    assert list(found.scores) == names


def test_as_a_dictionary_it_names_every_model(trained_run, tiny_model_folder):
    found = compare([str(tiny_model_folder), str(trained_run)], ["Hello"])
    plain = json.loads(json.dumps(found.as_dict()))
    assert plain["models"] == [str(tiny_model_folder), str(trained_run)]
    (sample,) = plain["samples"]
    assert sample["prompt"] == "Hello"
    assert sample["answers"] == dict(zip(found.titles, found.answers[0], strict=True))
    assert set(plain["scores"]) == set(plain["models"])


def test_copies_are_looked_for_in_the_leading_runs_training_data(tmp_path, tiny_model_folder, caplog):
    from tests.recipes import write_recipe
    from tunesmith import pipeline
    from tunesmith.config.load import load

    recipe = write_recipe(
        tmp_path, tiny_model_folder, train={"epochs": 1, "threads": 1},
        evaluate={"metrics": ["poem_form"], "prompts": ["Hi"], "generation": {"max_new_tokens": 4}},
    )  # fmt: skip
    run = pipeline.train(load(str(recipe)))
    names = [str(run.folder), str(tiny_model_folder)]
    assert set(compare(names).scores[names[1]]) == {
        "form_validity",
        "copied",
        "mean_tokens",
        "end_token_rate",
    }
    (tmp_path / "rows.jsonl").unlink()
    assert set(compare(names).scores[names[1]]) == {"mean_tokens", "end_token_rate"}
    assert "no poem_form: the training data cannot be read any more" in caplog.text


def test_an_unfinished_run_is_told_before_anything_is_asked(trained_run, tmp_path, tiny_model_folder):
    half = Path(shutil.copytree(trained_run, tmp_path / "half"))
    shutil.rmtree(half / "adapter")
    with pytest.raises(InputError, match="has no result yet"):
        compare([str(tiny_model_folder), str(half)], ["Hello"])


def test_nothing_to_ask_and_a_name_given_twice_are_told(trained_run, tiny_model_folder):
    with pytest.raises(InputError, match=r'there is nothing to ask: .*--prompt "\.\.\."'):
        compare([str(tiny_model_folder), "builtin:nano"])
    with pytest.raises(InputError, match="a model is named twice"):
        compare([str(trained_run), str(trained_run)])
