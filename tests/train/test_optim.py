"""The learning rate against transformers' schedules; AdamW and its 8-bit form against themselves after a restore."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft.optimizers import create_loraplus_optimizer
from torch import nn
from transformers import get_scheduler

from tests.conftest import tiny_llama
from tests.train.jobs import make_job, make_policy
from tunesmith.config.schema import Adapter, Train
from tunesmith.models.adapters import add_adapter
from tunesmith.rundir import RunDir
from tunesmith.train.checkpoint import TrainState, restore, save_checkpoint
from tunesmith.train.loop import run_loop
from tunesmith.train.optim import learning_rate, make_optimizer, warmup_steps

THEIR_NAMES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    schedule=st.sampled_from(sorted(THEIR_NAMES)),
    total=st.integers(1, 80),
    warmup=st.integers(0, 90),
    peak=st.floats(1e-6, 1.0),
)
def test_the_rate_of_every_step_equals_transformers(schedule, total, warmup, peak):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=peak)
    theirs = get_scheduler(
        THEIR_NAMES[schedule], optimizer, num_warmup_steps=warmup, num_training_steps=total
    )
    train = Train(schedule=schedule, learning_rate=peak, warmup_steps=warmup)
    for step in range(total):
        assert learning_rate(train, step, total) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize(
    ("given_as", "total", "steps"),
    [
        ({}, 100, 0),
        ({"warmup_steps": 7}, 100, 7),
        ({"warmup_ratio": 0.1}, 100, 10),
        ({"warmup_ratio": 0.1}, 15, 2),
        ({"warmup_ratio": 0.0}, 15, 0),
        ({"warmup_ratio": 1.0}, 15, 15),
    ],
)
def test_warmup_in_steps_or_as_a_share(given_as, total, steps):
    assert warmup_steps(Train(**given_as), total) == steps


def weights() -> dict[str, nn.Parameter]:
    """Large enough for bitsandbytes to keep 8-bit state of the matrix (from 4096 elements on), not of the bias."""
    generator = torch.Generator().manual_seed(1)
    return {
        "matrix": nn.Parameter(torch.randn(96, 64, generator=generator)),
        "bias": nn.Parameter(torch.randn(96, generator=generator)),
        "norm": nn.Parameter(torch.ones(64)),
    }


def take_steps(named, optimizer, steps) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(100 + step)
        for weight in named.values():
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def test_matrices_decay_and_biases_and_norms_do_not():
    named = weights()
    optimizer = make_optimizer(named, Train(weight_decay=0.3))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {name: decay[id(weight)] for name, weight in named.items()} == {
        "matrix": 0.3, "bias": 0.0, "norm": 0.0,
    }  # fmt: skip
    before = {name: weight.detach().clone() for name, weight in named.items()}
    for weight in named.values():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    assert torch.allclose(named["matrix"], before["matrix"] * (1 - 0.3 * Train().learning_rate))
    assert torch.equal(named["bias"], before["bias"]) and torch.equal(named["norm"], before["norm"])


@pytest.mark.parametrize("dora", [False, True])
def test_lora_plus_groups_weights_as_peft_does(dora):
    """PEFT gives B, and what has one dimension, the faster rate; each weight's rate and decay must be the same."""
    settings = Adapter(rank=2, dora=dora, modules_to_save=("lm_head", "model.norm"))
    model = add_adapter(tiny_llama(), settings, base_name="x", seed=0)
    theirs = create_loraplus_optimizer(
        model, torch.optim.AdamW, lr=0.01, loraplus_lr_ratio=16, loraplus_weight_decay=0.1
    )
    named = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    ours = make_optimizer(named, Train(learning_rate=0.01, weight_decay=0.1), 16.0)
    rates = {id(w): group["lr"] for group in theirs.param_groups for w in group["params"]}
    mine = {id(w): 0.01 * group["rate_factor"] for group in ours.param_groups for w in group["params"]}
    assert mine == pytest.approx(rates)
    assert {rates[id(weight)] for weight in named.values()} == {0.01, 0.16}


def test_without_a_ratio_every_group_has_the_rate_itself():
    optimizer = make_optimizer(weights(), Train())
    assert [group["rate_factor"] for group in optimizer.param_groups] == [1.0, 1.0]


def test_the_loop_multiplies_the_rate_of_the_step(tmp_path):
    """One step of AdamW moves a weight by its rate, whatever the gradient; B moves 4 times as far as A would."""
    train = Train(
        epochs=1, max_steps=1, accumulate=2, learning_rate=1e-3, schedule="constant", max_grad_norm=None
    )
    policy = make_policy()
    with torch.no_grad():
        for name, weight in policy.trainable().items():
            if "lora_B" in name:  # zero, it would leave A without a gradient
                weight += 0.1
    before = {name: weight.detach().clone() for name, weight in policy.trainable().items()}
    job = make_job(tmp_path, train, policy=policy)
    run_loop(replace(job, lr_ratio=4.0), None)
    for name, weight in policy.trainable().items():
        step = (weight - before[name]).abs().max().item()
        assert step == pytest.approx(4e-3 if "lora_B" in name else 1e-3, rel=1e-2), name


def test_adamw_is_torchs_own_with_the_recipes_numbers():
    ours, theirs = weights(), weights()
    train = Train(learning_rate=0.01, weight_decay=0.0, betas=(0.8, 0.95))
    take_steps(ours, make_optimizer(ours, train), range(5))
    take_steps(
        theirs, torch.optim.AdamW(theirs.values(), lr=0.01, weight_decay=0.0, betas=(0.8, 0.95)), range(5)
    )
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name])


@pytest.mark.parametrize("kind", ["adamw", "adamw_8bit"])
def test_the_step_after_a_restore_has_the_same_bytes(tmp_path, kind):
    if kind == "adamw_8bit":
        pytest.importorskip("bitsandbytes")
    train = Train(optimizer=kind, learning_rate=0.01, weight_decay=0.1)
    going_on = weights()
    optimizer = make_optimizer(going_on, train)
    take_steps(going_on, optimizer, range(3))
    if kind == "adamw_8bit":
        assert optimizer.state[going_on["matrix"]]["state1"].dtype == torch.uint8
    folder = save_checkpoint(RunDir(tmp_path), TrainState(step=3), going_on, optimizer, None, {})

    restored = weights()
    fresh = make_optimizer(restored, train)
    restore(folder, restored, fresh)
    take_steps(going_on, optimizer, range(3, 6))
    take_steps(restored, fresh, range(3, 6))
    for name, weight in going_on.items():
        assert torch.equal(weight, restored[name]), name
        for key, value in optimizer.state[weight].items():
            other = fresh.state[restored[name]][key]
            same = torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other
            assert same, f"{name}: {key}"


def test_eight_bits_without_bitsandbytes_names_the_pip_line(monkeypatch):
    import sys

    from tunesmith.errors import InputError

    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(InputError, match=r"pip install .*tunesmith\[bnb\]"):
        make_optimizer(weights(), Train(optimizer="adamw_8bit"))
