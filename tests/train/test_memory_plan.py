"""What is foreseen of a step's memory, against what the step really keeps."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from tests.conftest import TINY
from tests.standins import build
from tunesmith.config.method import Sft
from tunesmith.config.schema import Recipe
from tunesmith.errors import InputError
from tunesmith.methods import METHODS
from tunesmith.methods.base import Batch
from tunesmith.models.policy import Policy
from tunesmith.models.recompute import recompute_activations
from tunesmith.segments import Piece, Row
from tunesmith.train import budget
from tunesmith.train.budget import fewest_recomputed, settle_recomputed
from tunesmith.train.dry_run import Held, StepMemory
from tunesmith.train.memory_plan import Needs, Setting, needs_of, tune
from tunesmith.train.rows import planned_rows

LAYERS = 7
SAMPLES = [
    (Piece(tuple((3 + i + t) % 300 for t in range(n)), (0.0,) * 5 + (1.0,) * (n - 5)),)
    for i, n in enumerate((120, 90, 100, 60))
]


class Stored:
    lengths = np.array([len(tree[0].tokens) for tree in SAMPLES])

    def tree(self, at: int):
        return SAMPLES[at]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Seven layers, so that what is foreseen of them comes from fewer."""
    folder = tmp_path_factory.mktemp("deep")
    LlamaForCausalLM(LlamaConfig(**{**TINY, "num_hidden_layers": LAYERS})).save_pretrained(folder)
    return folder


def recipe_of(**blocks: dict[str, Any]) -> Recipe:
    plain = {"name": "x", "model": {"source": "x"}, "data": {"train": "x"}, **blocks}
    return Recipe.model_validate(plain)


def setting_of(folder: Path, precision: str = "fp32") -> Setting:
    return Setting(folder, False, "cpu", precision, True)


def needs(folder: Path, recipe: Recipe, precision: str = "fp32") -> tuple[Needs, Row]:
    rows = planned_rows(recipe, Stored(), segments=True, row_tokens=2048)
    return needs_of(recipe, setting_of(folder, precision), rows), rows.heaviest


def really_kept(folder: Path, recipe: Recipe, row: Row, recomputed: int | None, dtype: torch.dtype) -> int:
    """Bytes that a true forward pass saves for the backward pass, weights not counted."""
    weights_in = torch.float32 if recipe.adapter.type == "none" else dtype
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=weights_in)
    tuned = tune(recipe, setting_of(folder), model, model.config.num_hidden_layers)
    recompute_activations(model, recomputed)
    policy = Policy(tuned, segments=True, compute=dtype, seed=0)
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*tuned.parameters(), *tuned.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}  # held, so that no address is used twice

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    with policy.training_mode(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        policy.seat(0, 0)
        METHODS["sft"](Sft()).loss(policy, Batch((row,), []))
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize(
    ("adapter", "precision"),
    [
        ({"rank": 4, "dropout": 0.1}, "fp32"),
        ({"rank": 4}, "bf16"),
        ({"type": "none"}, "fp32"),
        ({"rank": 4, "top_layers": 3}, "fp32"),
    ],
    ids=["lora", "lora in bf16", "full", "lora on the top"],
)
def test_activations_are_those_that_a_true_forward_pass_keeps(folder, adapter, precision):
    recipe = recipe_of(adapter=adapter)
    found, row = needs(folder, recipe, precision)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    for held, recomputed in ((found.step.none, 0), (found.step.all, None)):
        # No hook tells of what recomputed layers hold together: the row's angles, and the states that go to the head.
        assert held.kept == pytest.approx(
            really_kept(folder, recipe, row, recomputed, dtype), rel=0.06, abs=40_000
        )


@pytest.mark.parametrize("adapter", [{"rank": 4}, {"type": "none"}])
def test_a_mixture_of_experts_is_foreseen_in_fp32(tmp_path, adapter):
    """PyTorch's rule for the shape of a grouped product knows bfloat16 only."""
    folder = build("gpt-oss", tmp_path)
    recipe = recipe_of(adapter=adapter)
    found, row = needs(folder, recipe)
    for held, recomputed in ((found.step.none, 0), (found.step.all, None)):
        assert held.kept == pytest.approx(
            really_kept(folder, recipe, row, recomputed, torch.float32), rel=0.06, abs=40_000
        )


def test_weights_adapter_and_optimizer_are_counted_to_the_byte(folder):
    recipe = recipe_of(adapter={"rank": 4})
    found, _ = needs(folder, recipe)
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert found.weights == sum(weight.nbytes for weight in model.parameters())
    tuned = tune(recipe, setting_of(folder), model, LAYERS)
    trained = sum(weight.nbytes for weight in tuned.parameters() if weight.requires_grad)
    assert found.step.none.trainable == trained
    assert found.step.none.optimizer == 2 * trained
    assert found.step.layers == LAYERS


def test_a_packed_model_needs_less_for_weights_and_as_much_for_activations(folder):
    plain, _ = needs(folder, recipe_of(adapter={"rank": 4}), "bf16")
    packed, _ = needs(
        folder, recipe_of(model={"source": "x", "quantize": "nf4"}, adapter={"rank": 4}), "bf16"
    )
    assert packed.weights < 0.9 * plain.weights  # a tiny model is half embeddings
    assert packed.step.none.kept == pytest.approx(plain.step.none.kept, rel=0.1)


def test_gradients_of_an_earlier_row_are_there_when_the_next_one_comes(folder):
    def at_peak(**train: Any) -> Held:
        recipe = recipe_of(adapter={"type": "none"}, train=train)
        rows = planned_rows(recipe, Stored(), segments=True, row_tokens=train["row_tokens"])
        return needs_of(recipe, setting_of(folder), rows).step.none

    several, one = at_peak(row_tokens=120), at_peak(row_tokens=2048)
    assert several.gradients == pytest.approx(several.trainable)
    assert one.gradients < one.trainable


def held(kept: float) -> Held:
    return Held(trainable=10, optimizer=20, kept=kept, activations=kept, head=5, gradients=0)


def some_needs() -> Needs:
    step = StepMemory(layers=10, none=held(1000), all=held(100))
    return Needs(recipe_of(), process=100, weights=300, teacher=0, remembers=False, step=step, gaps=0.0)


def test_as_few_layers_are_recomputed_as_the_budget_demands():
    plan = some_needs()
    peaks = [plan.plan(count).peak.total for count in range(11)]
    assert peaks == sorted(peaks, reverse=True)
    assert fewest_recomputed(plan, peaks[0]) == 0
    assert fewest_recomputed(plan, peaks[4]) == 4
    assert fewest_recomputed(plan, peaks[4] - 1) == 5
    assert fewest_recomputed(plan, 1) == 10


def settle(folder: Path, monkeypatch, caplog, **train: Any) -> int | None:
    monkeypatch.setattr(budget, "needs_with_rows", lambda *_: (some_needs(), None))
    monkeypatch.setattr(budget, "_surely_fits", lambda *_: False)
    caplog.set_level("INFO", logger="tunesmith")
    return settle_recomputed(recipe_of(train=train), setting_of(folder), Stored(), 2048)


def test_auto_says_how_many_layers_and_a_fixed_number_stands(folder, monkeypatch, caplog):
    assert settle(folder, monkeypatch, caplog, memory_budget="0.001MB") == 5
    assert "5 of 10 layers are recomputed to stay within 1.0 KB" in caplog.text
    assert settle(folder, monkeypatch, caplog, memory_budget="0.001MB", gradient_checkpointing=7) == 7
    assert settle(folder, monkeypatch, caplog, memory_budget="0.001MB", gradient_checkpointing=True) is None
    assert settle(folder, monkeypatch, caplog, memory_budget="1GB") == 0


def test_a_budget_that_nothing_meets_is_refused_before_loading(folder, monkeypatch, caplog):
    with pytest.raises(
        InputError, match=r"needs about 535 bytes .* allows 0.0005MB: short by 35 bytes.*plan"
    ):
        settle(folder, monkeypatch, caplog, memory_budget="0.0005MB")
    with pytest.raises(InputError, match="short by"):
        settle(folder, monkeypatch, caplog, memory_budget="0.001MB", gradient_checkpointing=False)


@pytest.mark.parametrize(("free", "ends"), [(600, "fits"), (500, "warns"), (400, "refused")])
def test_of_memory_that_is_free_a_plan_may_be_a_tenth_wrong(folder, monkeypatch, caplog, free, ends):
    monkeypatch.setattr(budget, "memory_budget", lambda *_: float(free))
    if ends == "refused":
        with pytest.raises(InputError, match="400 bytes are free"):
            settle(folder, monkeypatch, caplog)
        return
    assert settle(folder, monkeypatch, caplog) == 10
    assert ("training needs about 535 bytes of memory, and 500 bytes are free" in caplog.text) == (
        ends == "warns"
    )


def test_what_cannot_be_foreseen_is_trained_as_the_recipe_says(folder, monkeypatch, caplog):
    def cannot(*_: Any) -> None:
        raise budget.CannotPretend("it depends on numbers")

    monkeypatch.setattr(budget, "needs_of", cannot)
    monkeypatch.setattr(budget, "_surely_fits", lambda *_: False)
    caplog.set_level("INFO", logger="tunesmith")
    assert settle_recomputed(recipe_of(), setting_of(folder), Stored(), 2048) == 0
    assert "cannot be foreseen for this family (it depends on numbers)" in caplog.text


def test_the_process_is_counted_in_the_budget_of_a_cpu(monkeypatch):
    monkeypatch.setattr(budget, "free_bytes", lambda device: {"cpu": 1000, "mps": None}[device])
    monkeypatch.setattr(
        budget.psutil, "Process", lambda: SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=70))
    )
    assert budget.memory_budget(recipe_of(), "cpu") == 70 + 950
    assert budget.memory_budget(recipe_of(), "mps") is None
    assert budget.memory_budget(recipe_of(train={"memory_budget": "2GiB"}), "cpu") == 2**31
