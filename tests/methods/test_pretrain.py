"""Method `pretrain`: the mean negative log-likelihood of every token but the first, as transformers computes it."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.recipes import write_recipe, write_rows
from tunesmith import pipeline
from tunesmith.config.load import load

TEXTS = ["A first text, of some length. " * 2, "另一段文字", "Third " * 11]


@pytest.fixture
def recipe(tmp_path, tiny_model_folder):
    path = write_recipe(
        tmp_path,
        tiny_model_folder,
        adapter={"type": "none"},
        data={"train": "texts.jsonl", "eval": None, "max_length": 64},
        method={"name": "pretrain"},
        train={"epochs": 1, "batch_size": 8, "accumulate": 1, "warmup_steps": 0, "eval_every": "epoch"},
        evaluate={"prompts": []},
    )
    write_rows(tmp_path / "texts.jsonl", [{"text": text} for text in TEXTS])
    return path


def test_the_first_loss_is_the_models_own(recipe, tiny_model_folder):
    run = pipeline.train(load(str(recipe)))
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    losses, count = 0.0, 0
    for text in TEXTS:
        ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        for begin in range(0, len(ids), 64):
            piece = torch.tensor([ids[begin : begin + 64]])
            if piece.shape[1] > 1:
                with torch.no_grad():
                    losses += model(piece, labels=piece).loss.item() * (piece.shape[1] - 1)
                count += piece.shape[1] - 1
    assert run.read_metrics()[0]["loss"] == pytest.approx(losses / count, rel=1e-5)


def test_pieces_are_samples_and_texts_are_rows(recipe):
    run = pipeline.train(load(str(recipe)))
    ledger = json.loads(run.data.read_text("utf-8"))["train"]
    assert (ledger["rows_read"], ledger["rows_kept"], ledger["rows_dropped"]) == (3, 3, 0)
    assert run.model.is_dir()
