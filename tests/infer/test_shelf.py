"""Adapters on one base, loaded once: each speaker says what it says alone, in any order, whoever came later."""

from __future__ import annotations

import pytest
import torch

from tests.infer.test_open import bare_peft_adapter
from tests.recipes import write_recipe
from tunesmith import pipeline
from tunesmith.config.load import load
from tunesmith.config.method import Generation
from tunesmith.evaluation.compare import compare
from tunesmith.infer import open as opening
from tunesmith.infer.open import open_speaker
from tunesmith.infer.shelf import Shelf

QUESTIONS = ["Hello", "What is 3?"]
OPTIONS = Generation(max_new_tokens=8)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """The last bits of an answer depend on how many there are, and opening a model takes all cores."""
    torch.set_num_threads(1)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)


@pytest.fixture
def loads(monkeypatch):
    """Counts how often a base is loaded."""
    folders = []
    load_model = opening.load_model

    def counting(folder, **options):
        folders.append(folder)
        return load_model(folder, **options)

    monkeypatch.setattr(opening, "load_model", counting)
    return folders


@pytest.fixture
def names(trained_run, tiny_model_folder, tmp_path):
    bare_peft_adapter(tmp_path / "bare", tiny_model_folder)
    return [str(tiny_model_folder), str(tmp_path / "bare"), str(trained_run)]


def said(opened) -> list[str]:
    return [reply.text for reply in opened.speaker.answer(QUESTIONS, OPTIONS)]


def test_speakers_on_one_base_say_what_they_say_alone(names, loads):
    alone = [said(open_speaker(name)) for name in names]
    assert len({tuple(texts) for texts in alone}) == 3
    loads.clear()
    shelf = Shelf()
    together = [open_speaker(name, shelf=shelf) for name in names]
    assert len(loads) == 1
    for index in (2, 0, 1, 0, 2):  # the base, too, after adapters were put on it
        assert said(together[index]) == alone[index]


def test_compare_loads_a_base_once(names, loads):
    found = compare(names, QUESTIONS)
    assert len(loads) == 1
    options = open_speaker(names[2]).generation
    for name, answers in zip(names, zip(*found.answers, strict=True), strict=True):
        assert list(answers) == [
            reply.text for reply in open_speaker(name).speaker.answer(QUESTIONS, options)
        ]


def test_what_changes_the_base_gets_one_of_its_own(tmp_path, tiny_model_folder, names, loads):
    recipe = write_recipe(
        tmp_path,
        tiny_model_folder,
        adapter={"modules_to_save": ["lm_head"]},
        train={"epochs": 1, "threads": 1},
    )
    run = str(pipeline.train(load(str(recipe))).folder)
    alone = said(open_speaker(run))
    loads.clear()
    shelf = Shelf()
    first, own = open_speaker(names[1], shelf=shelf), open_speaker(run, shelf=shelf)
    assert len(loads) == 2
    before = said(first)
    assert said(own) == alone
    assert said(first) == before
