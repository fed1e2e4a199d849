"""`tunesmith plan`, and training within a budget, through the pipeline and the command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from tests.recipes import write_recipe
from tests.standins import build
from tunesmith import pipeline
from tunesmith.cli.main import main
from tunesmith.config.load import load


def planned(recipe: Path, *overrides: str, capsys) -> dict:
    assert main(["plan", str(recipe), "--json", *overrides]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_plan_of_a_small_recipe(tmp_path, tiny_model_folder, capsys):
    recipe = write_recipe(tmp_path, tiny_model_folder)
    found = planned(recipe, capsys=capsys)
    assert found["fits"] is True and not found["changes"]
    assert found["recomputed_layers"] == 0 and found["layers"] == 2
    training = found["phases"]["training"]
    assert found["peak_bytes"] == pytest.approx(sum(training.values()), abs=10)
    weights = (tiny_model_folder / "model.safetensors").stat().st_size
    assert training["weights"] == pytest.approx(weights, rel=0.05)
    assert set(found["disk"]) == {"checkpoints", "result"}
    assert found["time"]["steps"] == 8
    assert found["time"]["training"] == pytest.approx(found["time"]["step"] * 8)
    assert found["time"]["evaluations"] > 0 and found["time"]["answers_at_most"] > 0
    assert not list(tmp_path.glob("run*"))  # nothing is written


def test_no_weights_are_needed_and_their_download_is_counted(tmp_path, tiny_model_folder, capsys):
    bare = tmp_path / "bare"
    shutil.copytree(tiny_model_folder, bare)
    (bare / "model.safetensors").unlink()
    found = planned(write_recipe(tmp_path, bare), "--no-time", capsys=capsys)
    assert found["fits"] is True and found["time"] is None
    assert found["disk"]["model"] > 0


def test_work_of_others_is_told_where_it_may_make_the_time_too_long(
    tmp_path, tiny_model_folder, monkeypatch, capsys
):
    recipe = write_recipe(tmp_path, tiny_model_folder)
    for load_average, told in ((0.0, False), (1000.0, True)):
        monkeypatch.setattr(os, "getloadavg", lambda now=load_average: (now, 0.0, 0.0), raising=False)
        assert planned(recipe, capsys=capsys)["time"]["other_work_ran"] is told
        assert main(["plan", str(recipe)]) == 0
        assert ("other work is running on this machine" in capsys.readouterr().out) is told


def test_what_does_not_fit_comes_with_changes_each_with_its_peak(tmp_path, tiny_model_folder, capsys):
    recipe = write_recipe(tmp_path, tiny_model_folder, adapter={"type": "none", "rank": None, "alpha": None, "dropout": None})  # fmt: skip
    text = recipe.read_text("utf-8").replace("  rank: null\n", "").replace("  alpha: null\n", "")
    recipe.write_text(text.replace("  dropout: null\n", ""), encoding="utf-8")
    budget = "train.memory_budget=1MB"
    found = planned(recipe, "--no-time", budget, "train.gradient_checkpointing=false", capsys=capsys)
    assert found["fits"] is False
    peaks = [found["peak_bytes"], *(change["peak_bytes"] for change in found["changes"])]
    assert peaks == sorted(peaks, reverse=True)
    assert main(["plan", str(recipe), "--no-time", budget]) == 0
    shown = capsys.readouterr().out
    assert "It does not fit" in shown and "short" in shown


def test_the_result_is_the_same_however_many_layers_are_recomputed(tmp_path, tiny_model_folder):
    bits = []
    for number, (checkpointing, noted) in enumerate([(False, 0), (1, 1), (True, None)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        recipe = write_recipe(
            folder,
            tiny_model_folder,
            train={"gradient_checkpointing": checkpointing, "epochs": 1},
            evaluate={"prompts": []},
        )
        run = pipeline.train(load(str(recipe), [f"run.output={folder / 'run'}"]))
        bits.append((run.adapter / "adapter_model.safetensors").read_bytes())
        choices = json.loads(run.environment.read_text("utf-8"))["choices"]
        assert choices["recomputed_layers"] == noted
    assert bits[0] == bits[1] == bits[2]


def test_a_budget_too_small_stops_before_anything_is_written(tmp_path, tiny_model_folder, capsys):
    recipe = write_recipe(tmp_path, tiny_model_folder)
    assert main(["train", str(recipe), "train.memory_budget=1MB", "-o", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "short by" in said and "tunesmith plan" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("quantize", ["none", "nf4"])
def test_time_is_foreseen_where_the_padding_token_is_among_the_last(tmp_path, quantize, capsys):
    """The calibration has a small vocabulary; GLM's and GPT-OSS's padding tokens are not in it."""
    model = build("glm", tmp_path / "model")
    assert json.loads((model / "config.json").read_text("utf-8"))["pad_token_id"] > 256
    found = planned(write_recipe(tmp_path, model), f"model.quantize={quantize}", capsys=capsys)
    assert found["time"]["step"] > 0


def model_that_reads_its_numbers(folder: Path) -> Path:
    """Experts that are run one by one, each for the tokens that it is given; a dry run does not have these."""
    config = build("gpt-oss", folder) / "config.json"
    content = json.loads(config.read_text("utf-8")) | {"experts_implementation": "eager"}
    config.write_text(json.dumps(content), "utf-8")
    return folder


def test_a_mixture_of_experts_is_foreseen_in_fp32(tmp_path, capsys):
    recipe = write_recipe(tmp_path, build("gpt-oss", tmp_path / "model"), data={"max_length": 512})
    found = planned(recipe, "--no-time", "model.precision=fp32", capsys=capsys)
    assert found["unforeseen"] is None and found["peak_bytes"] > 0


def test_what_cannot_be_foreseen_is_said_in_one_sentence(tmp_path):
    """In a process of its own: PyTorch writes tracebacks of its own past what a test captures."""
    recipe = write_recipe(
        tmp_path, model_that_reads_its_numbers(tmp_path / "model"), data={"max_length": 512}
    )
    command = [sys.executable, "-m", "tunesmith", "plan", str(recipe), "--no-time"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "cannot be foreseen" in done.stdout and ".." not in done.stdout
    assert "Traceback" not in done.stderr


def test_what_is_proposed_is_a_recipe_that_is_taken(tmp_path, tiny_model_folder, monkeypatch, capsys):
    monkeypatch.setattr("tunesmith.train.memory_plan._process_bytes", lambda device: 0.0)  # little counts too
    recipe = write_recipe(tmp_path, build("qwen2", tmp_path / "model"), adapter={"init": "pissa"})
    data = tmp_path / "long.jsonl"
    said = [{"role": "user", "content": "say it " * 90}, {"role": "assistant", "content": "it"}]
    data.write_text(json.dumps({"messages": said}) + "\n", "utf-8")
    given = [f"data.train={data}", "data.eval=null", "data.max_length=1024", "train.memory_budget=1KB"]
    changes = planned(recipe, "--no-time", *given, capsys=capsys)["changes"]
    keys = [change["key"] for change in changes]
    assert "data.max_length" in keys and "model.quantize" not in keys
    settings = [f"{change['key']}={json.dumps(change['to'])}" for change in changes]
    assert planned(recipe, "--no-time", *given, *settings, capsys=capsys)["peak_bytes"] > 0


def test_a_damaged_adapter_to_go_on_from_is_told(tmp_path, tiny_model_folder, capsys):
    start = tmp_path / "start"
    start.mkdir()
    (start / "adapter_config.json").write_text("{", "utf-8")
    recipe = write_recipe(tmp_path, tiny_model_folder)
    assert main(["plan", str(recipe), "--no-time", f"adapter.start={start}"]) == 2
    assert "this adapter's configuration is damaged" in capsys.readouterr().err


def test_a_packed_model_whose_config_lists_its_layers_is_timed(tmp_path, capsys):
    """Of more layers than are timed: what the list says of the others goes with them."""
    folder = build("qwen3", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config |= {"num_hidden_layers": 4, "layer_types": ["full_attention"] * 4, "max_window_layers": 4}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    recipe = write_recipe(tmp_path, folder)
    assert planned(recipe, "model.quantize=nf4", capsys=capsys)["time"]["step"] > 0


def adapter_to_go_on_from(folder: Path, base: Path, **settings) -> Path:
    """A fresh PEFT adapter, written by PEFT."""
    model = AutoModelForCausalLM.from_pretrained(base)
    get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **settings)).save_pretrained(folder)
    return folder


def test_an_adapter_to_go_on_from_decides_what_learns(tmp_path, tiny_model_folder, capsys):
    recipe = write_recipe(tmp_path, tiny_model_folder)
    plain = adapter_to_go_on_from(
        tmp_path / "plain", tiny_model_folder, r=4, target_modules=["q_proj", "v_proj"]
    )
    whole = adapter_to_go_on_from(
        tmp_path / "whole", tiny_model_folder, r=4, target_modules=["q_proj", "v_proj"],
        modules_to_save=["lm_head"], use_dora=True, rank_pattern={"v_proj": 8},
    )  # fmt: skip
    adapters = {}
    for start in (plain, whole):
        found = planned(recipe, "--no-time", f"adapter.start={start}", capsys=capsys)
        adapters[start] = found["phases"]["training"]["adapter"]
        held = PeftModel.from_pretrained(
            AutoModelForCausalLM.from_pretrained(tiny_model_folder), start, is_trainable=True
        )
        assert adapters[start] == sum(4 * one.numel() for one in held.parameters() if one.requires_grad)
    assert adapters[whole] > adapters[plain]


@pytest.mark.parametrize("damage", ["another base", "a rank in words"])
def test_an_adapter_that_cannot_be_gone_on_from_is_named(damage, tmp_path, tiny_model_folder, capsys):
    base = tmp_path / "base"
    build("falcon-h1", base)
    start = adapter_to_go_on_from(tmp_path / "start", base if damage == "another base" else tiny_model_folder,
                                  r=4, target_modules=["in_proj"] if damage == "another base" else ["q_proj"])  # fmt: skip
    if damage == "a rank in words":
        config = json.loads((start / "adapter_config.json").read_text("utf-8"))
        (start / "adapter_config.json").write_text(json.dumps(config | {"r": "four"}), "utf-8")
    recipe = write_recipe(tmp_path, tiny_model_folder)
    assert main(["plan", str(recipe), "--no-time", f"adapter.start={start}"]) == 2
    assert f"the adapter {start} does not fit this model" in capsys.readouterr().err
