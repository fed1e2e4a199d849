"""Every verb runs on every family: whole model folders, the real command, a few steps on the CPU."""

from __future__ import annotations

import io
import json
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.recipes import deterministic_columns, write_recipe, write_rows
from tests.standins import FAMILIES
from tunesmith.cli.main import main

ROWS = [
    {"messages": [{"role": "user", "content": f"What is {i}?"}, {"role": "assistant", "content": f"It is {i}. " * i}]}
    for i in range(1, 9)
]  # fmt: skip
STEPS = 3


def recipe_in(folder: Path, model: Path) -> Path:
    recipe = write_recipe(
        folder,
        model,
        data={"eval": 0.25, "max_length": 1024},
        train={"epochs": 1, "batch_size": 2, "accumulate": 1, "save_every": 1, "keep": 5, "threads": 1},
        evaluate={"prompts": ["What is 3?"], "generation": {"max_new_tokens": 4}},
    )  # fmt: skip
    write_rows(folder / "rows.jsonl", ROWS)
    return recipe


@pytest.fixture(scope="module")
def trained(tmp_path_factory, stand_in):
    """A family's recipe and its run, trained once by the command."""

    @cache
    def train(family: str) -> tuple[Path, Path]:
        folder = tmp_path_factory.mktemp("family")
        recipe = recipe_in(folder, stand_in(family))
        assert main(["train", str(recipe)]) == 0
        return recipe, folder / "run"

    return train


@pytest.fixture
def said(capsys, monkeypatch):
    """Runs a command line to which something is typed, and returns what it printed."""

    def run(*arguments: object, typed: str = "") -> str:
        capsys.readouterr()
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert code == 0, printed.err
        return printed.out

    return run


@pytest.mark.parametrize("family", FAMILIES)
def test_check(family, trained, said):
    ledger = json.loads(said("check", trained(family)[0], "--json"))
    assert ledger["train"]["rows_kept"] + ledger["eval"]["rows_kept"] == len(ROWS)


@pytest.mark.parametrize("family", FAMILIES)
def test_train(family, trained):
    _, run = trained(family)
    steps = [line["step"] for line in deterministic_columns(run / "metrics.jsonl") if "loss" in line]
    assert steps == list(range(1, STEPS + 1))
    choices = json.loads((run / "environment.json").read_text("utf-8"))["choices"]
    assert choices["packed_rows"] is FAMILIES[family].fast, choices["packed_rows_because"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_cut_short_resumes_to_the_same_bytes(family, trained, said, tmp_path):
    from tunesmith import pipeline
    from tunesmith.config.load import load
    from tunesmith.errors import Interrupted

    recipe, whole = trained(family)
    run, asked = tmp_path / "run", iter([False, True])
    with pytest.raises(Interrupted):
        pipeline.train(load(str(recipe), output=str(run)), stop_wanted=lambda: next(asked))
    assert not list(run.glob("adapter/*"))
    said("resume", run)
    weights = "adapter/adapter_model.safetensors"
    assert (run / weights).read_bytes() == (whole / weights).read_bytes()
    assert deterministic_columns(run / "metrics.jsonl") == deterministic_columns(whole / "metrics.jsonl")


@pytest.mark.parametrize("family", FAMILIES)
def test_ask_answers_as_the_evidence_says(family, trained, said):
    _, run = trained(family)
    (sample,) = json.loads((run / "before_after.json").read_text("utf-8"))["samples"]
    assert said("ask", run, sample["prompt"]) == sample["tuned"] + "\n"
    assert said("ask", run, sample["prompt"], "--base") == sample["base"] + "\n"


@pytest.mark.parametrize("family", FAMILIES)
def test_chat_and_batch_answer_alike(family, trained, said, tmp_path):
    _, run = trained(family)
    options = ("--temperature", "0", "--max-new-tokens", "4")
    questions = tmp_path / "questions.txt"
    questions.write_text("What is 3?\nWho goes there, and why?\n", encoding="utf-8")
    said("batch", run, questions, "-o", tmp_path / "answers.json", *options)
    answers = [entry["answer"] for entry in json.loads((tmp_path / "answers.json").read_text("utf-8"))]
    talked = said("chat", run, *options, typed="What is 3?\n/reset\nWho goes there, and why?\nquit\n")
    for answer in answers:
        # Where bytes stand for letters, an answer that is no text as a whole reads otherwise piece by piece.
        assert answer in talked or ("�" in answer and family in ("llama", "mistral", "phi-3"))


@pytest.mark.parametrize("family", FAMILIES)
def test_compare(family, trained, said, stand_in):
    _, run = trained(family)
    assert "What is 3?" in said("compare", stand_in(family), run, "--prompt", "What is 3?")
