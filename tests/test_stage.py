"""What a run is bound to: the state of the base model that it began with, and the adapter that it began from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.recipes import write_recipe
from tunesmith import pipeline
from tunesmith.config.load import load
from tunesmith.errors import InputError, Interrupted
from tunesmith.infer.open import open_speaker
from tunesmith.models.source import fingerprint
from tunesmith.rundir import RunDir

QUICK = {"epochs": 1, "save_every": 1, "threads": 1}


@pytest.fixture
def files(tiny_model_folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in tiny_model_folder.iterdir()}


def stopped_after_a_step(recipe: Path) -> RunDir:
    with pytest.raises(Interrupted):
        pipeline.train(load(str(recipe)), stop_wanted=lambda: True)
    return RunDir(recipe.parent / "run")


def moved(net, files: dict[str, bytes], tmp_path: Path) -> str:
    """Other weights come onto the hub's branch."""
    (tmp_path / "weights").write_bytes(files["model.safetensors"])
    weights = load_file(tmp_path / "weights")
    weights["lm_head.weight"] += 1
    save_file(weights, tmp_path / "weights", metadata={"format": "pt"})
    return net.publish("o/n", files | {"model.safetensors": (tmp_path / "weights").read_bytes()})


def test_a_run_stays_with_the_commit_that_it_began_with(net, files, tmp_path):
    commit = net.publish("o/n", files)
    run = stopped_after_a_step(write_recipe(tmp_path, "o/n", train=QUICK))
    told = json.loads(run.environment.read_text("utf-8"))["model"]
    assert (told["source"], told["revision"], told["commit"]) == ("o/n", None, commit)
    assert moved(net, files, tmp_path) != commit
    pipeline.resume(run.folder)
    assert json.loads(run.environment.read_text("utf-8"))["model"] == told
    about = json.loads((run.adapter / "tunesmith.json").read_text("utf-8"))
    assert (about["base"], about["revision"]) == ("o/n", commit)
    assert (
        json.loads((run.adapter / "adapter_config.json").read_text("utf-8"))["base_model_name_or_path"]
        == "o/n"
    )


def test_an_adapter_that_left_its_run_finds_the_very_same_base(net, files, tmp_path, caplog):
    net.publish("o/n", files)
    run = pipeline.train(load(str(write_recipe(tmp_path, "hf:o/n", train=QUICK, evaluate={"prompts": []}))))
    adapter = Path(shutil.copytree(run.adapter, tmp_path / "alone"))
    asked = open_speaker(str(adapter)).speaker.model.base_model.model.lm_head.weight
    moved(net, files, tmp_path)
    again = open_speaker(str(adapter)).speaker.model.base_model.model.lm_head.weight
    assert again.equal(asked) and "has changed since" not in caplog.text


def test_a_base_that_is_another_now_is_warned_of(tmp_path, tiny_model_folder, trained_run, caplog):
    adapter = Path(shutil.copytree(RunDir(trained_run).adapter, tmp_path / "alone"))
    open_speaker(str(adapter))
    assert "has changed since" not in caplog.text
    about = json.loads((adapter / "tunesmith.json").read_text("utf-8"))
    assert about["fingerprint"] == fingerprint(tiny_model_folder)
    other = Path(shutil.copytree(tiny_model_folder, tmp_path / "other"))
    weights = load_file(other / "model.safetensors")
    weights["lm_head.weight"] += 1
    # The header is the same, but the weights lie in the first megabyte, which is read.
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    (adapter / "tunesmith.json").write_text(json.dumps(about | {"base": str(other)}), "utf-8")
    open_speaker(str(adapter))
    assert "is not the one that this was trained on: it has changed since" in caplog.text


def test_a_run_that_began_from_an_adapter_is_not_gone_on_with_when_that_changed(
    tmp_path, tiny_model_folder, trained_run
):
    start = Path(shutil.copytree(RunDir(trained_run).adapter, tmp_path / "start"))
    recipe = write_recipe(tmp_path, tiny_model_folder, adapter={"start": "start"}, train=QUICK)
    run = stopped_after_a_step(recipe)
    original = (start / "adapter_model.safetensors").read_bytes()
    weights = load_file(start / "adapter_model.safetensors")
    save_file({name: tensor * 2 for name, tensor in weights.items()}, start / "adapter_model.safetensors")
    with pytest.raises(InputError, match="the adapter it started from changed since this run began"):
        pipeline.resume(run.folder)
    (start / "adapter_model.safetensors").write_bytes(original)
    assert pipeline.resume(run.folder).result() == run.adapter
