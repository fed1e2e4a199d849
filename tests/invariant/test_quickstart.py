"""What a newcomer sees first: the embedded model learns a form it did not know, on topics that no text mentions."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tunesmith.config.load import load

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def quickstart(command, tmp_path_factory):
    folder = tmp_path_factory.mktemp("quickstart")
    code, output = command.run("quickstart", cwd=folder)
    assert code == 0, output
    return folder, output


def test_it_learns_the_form_without_copying(quickstart):
    folder, _ = quickstart
    evidence = json.loads((folder / "runs/quickstart/before_after.json").read_text("utf-8"))
    base, tuned = evidence["scores"]["base"], evidence["scores"]["tuned"]
    assert len(evidence["samples"]) == 20
    assert not any(sample["trained_on"] for sample in evidence["samples"])
    assert base["form_validity"] <= 0.5
    assert tuned["form_validity"] >= 0.9
    assert tuned["copied"] <= 0.1


def test_its_decoding_is_unconstrained_and_its_train_path_the_ordinary_one():
    recipe = load("poetry-nano")
    generation = recipe.evaluate.generation
    assert (generation.temperature, generation.top_p, generation.top_k, generation.repetition_penalty) == (
        0.7,
        1.0,
        0,
        1.0,
    )
    assert recipe.method.name == "sft"


def test_its_topics_stand_in_no_training_text(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    monkeypatch.delitem(sys.modules, "nano_corpus", raising=False)
    from nano_corpus import HELD_OUT_TOPICS

    recipe = load("poetry-nano")
    poems = Path(recipe.data.train[0].path).read_text("utf-8").lower()
    for prompt, (english, chinese) in zip(recipe.evaluate.prompts, HELD_OUT_TOPICS, strict=True):
        # The corpus builder refuses to build over a text that mentions one of these.
        assert english.lower() in prompt.lower() or chinese in prompt
        assert english.lower() not in poems
        assert chinese not in poems


def test_run_again_it_replaces_its_own_folder(command, quickstart):
    folder, _ = quickstart
    first = (folder / "runs/quickstart/adapter/adapter_model.safetensors").read_bytes()
    code, output = command.run("quickstart", cwd=folder)
    assert code == 0, output
    assert (folder / "runs/quickstart/adapter/adapter_model.safetensors").read_bytes() == first
    assert [path.name for path in (folder / "runs").iterdir()] == ["quickstart"]


def test_it_says_where_everything_is(quickstart):
    _, output = quickstart
    for part in ("form validity", "report.html", "tunesmith chat", "base", "tuned"):
        assert part in output
