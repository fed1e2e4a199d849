"""Top layers only, and gradual unfreezing: what moves, what does not, and that the step alone decides."""

from __future__ import annotations

import logging

import pytest
import torch

from tests.conftest import tiny_llama
from tests.models.families import ALONE, PACKED, tiny
from tests.train.jobs import make_job, resumed, samples, weight_bytes, without_times
from tunesmith.config.schema import Adapter, Train, Unfreeze
from tunesmith.errors import InputError
from tunesmith.models.adapters import add_adapter
from tunesmith.models.policy import Policy
from tunesmith.models.unfreeze import Unfreezing, choose_what_learns
from tunesmith.rundir import RunDir
from tunesmith.segments import Block, lay_row
from tunesmith.train.loop import run_loop

LAYERS = 4
FULL = {"type": "none"}
LORA = {"rank": 4, "alpha": 8, "dropout": 0.1}
TRAIN = Train(epochs=3, batch_size=2, accumulate=1, learning_rate=0.01, seed=3, save_every=5, threads=1)


def set_up(adapter: Adapter, model=None):
    model = model or tiny_llama(num_hidden_layers=LAYERS)
    tuned = model if adapter.type == "none" else add_adapter(model, adapter, base_name="x", seed=0)
    choose_what_learns(tuned, adapter)
    policy = Policy(tuned, segments=True, compute=torch.float32, seed=5)
    return policy, Unfreezing(tuned, adapter) if adapter.unfreeze else None


def job_of(folder, adapter: Adapter, train: Train = TRAIN, **changes):
    policy, unfreezing = set_up(adapter)
    job = make_job(folder, train, policy=policy, rows=samples(8), **changes)
    return type(job)(**{**vars(job), "unfreezing": unfreezing})


def moved_since(before: dict[str, bytes], policy: Policy) -> set[str]:
    return {name for name, content in all_bytes(policy).items() if content != before[name]}


def all_bytes(policy: Policy) -> dict[str, bytes]:
    return {name: w.detach().contiguous().numpy().tobytes() for name, w in policy.model.named_parameters()}


# ---- top layers only


def test_top_layers_and_the_final_norm_learn_and_nothing_else_moves(tmp_path):
    job = job_of(tmp_path, Adapter(**FULL, top_layers=2))
    before = all_bytes(job.policy)
    run_loop(job, None)
    expected = {n for n in before if n.startswith(("model.layers.2.", "model.layers.3.", "model.norm."))}
    assert set(job.policy.trainable()) == moved_since(before, job.policy) == expected


@pytest.mark.parametrize(
    "name", ["llama", "qwen3 with experts", "gpt2 without dropout", "phi3", "mamba", "falcon-h1", "bloom"]
)
def test_the_final_norm_is_found_in_every_family(name):
    family, changes = (PACKED.get(name) or ALONE[name])[:2]
    model = tiny(family, **changes)
    choose_what_learns(model, Adapter(**FULL, top_layers=1))
    learning = [name for name, weight in model.named_parameters() if weight.requires_grad]
    outside = {name.rpartition(".")[0].rpartition(".")[2] for name in learning if ".1." not in name}
    assert outside in ({"norm"}, {"ln_f"}, {"norm_f"}, {"final_layernorm"})
    assert any(".1." in name for name in learning)


def test_a_frozen_layer_is_not_computed_backwards():
    policy, _ = set_up(Adapter(**FULL, top_layers=1))
    with policy.training_mode():
        states = []
        layers = policy.causal_lm.model.layers
        handles = [layer.register_forward_hook(lambda *a: states.append(a[-1])) for layer in layers]
        policy(lay_row([Block.of(samples(1)[0].tree)]))
    for handle in handles:
        handle.remove()
    needs = [(state[0] if isinstance(state, tuple) else state).requires_grad for state in states]
    assert needs == [False] * (LAYERS - 1) + [True]


def test_more_layers_than_there_are_is_told():
    for adapter in (Adapter(**FULL, top_layers=9), Adapter(**FULL, top_layers=9, unfreeze=Unfreeze())):
        with pytest.raises(InputError, match=r"adapter\.top_layers is 9, and this model has 4 layers"):
            set_up(adapter)


# ---- gradual unfreezing


@pytest.mark.parametrize(
    ("adapter", "expected"),
    [
        (Adapter(**FULL, unfreeze=Unfreeze(every=2)), [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5]),
        (Adapter(**FULL, unfreeze=Unfreeze(every=3, layers=2), top_layers=2), [2, 2, 2, 4, 4, 4, 5, 5]),
        (Adapter(**LORA, unfreeze=Unfreeze(every="epoch")), [1] * 4 + [2] * 4 + [3] * 4 + [4] * 8),
    ],
)
def test_how_many_layers_learn_hangs_on_the_step_alone(adapter, expected):
    _, unfreezing = set_up(adapter)
    assert [unfreezing.layers_at(step, steps_an_epoch=4) for step in range(len(expected))] == expected


def places(names: set[str]) -> set[str]:
    """Layers by number, the rest by name."""
    return {name.split("layers.")[1].split(".")[0] if "layers." in name else name for name in names}


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_what_has_not_begun_has_no_gradient_no_state_and_the_same_bytes(tmp_path, kind):
    settings = FULL if kind == "full" else LORA
    for steps, layers in ((2, {"3"}), (4, {"3", "2"}), (8, {"3", "2", "1", "0"})):
        adapter = Adapter(**settings, unfreeze=Unfreeze(every=2))
        train = TRAIN.model_copy(update={"max_steps": steps, "save_every": steps})
        job = job_of(tmp_path / str(steps), adapter, train)
        before = all_bytes(job.policy)
        run_loop(job, None)
        moved = places(moved_since(before, job.policy))
        assert moved == layers | ({"model.norm.weight"} if kind == "full" else set())
        assert len(job.policy.trainable()) > len(moved_since(before, job.policy)) or steps == 8
    stored = torch.load(RunDir(tmp_path / "4").checkpoint(4) / "optimizer.pt", weights_only=True)["optimizer"]
    in_all = sum(len(group["params"]) for group in stored["param_groups"])
    assert 0 < len(stored["state"]) < in_all


def test_without_an_adapter_embeddings_and_head_begin_last(tmp_path):
    job = job_of(tmp_path, Adapter(**FULL, unfreeze=Unfreeze(every=2)))
    before = all_bytes(job.policy)
    run_loop(job, None)  # 12 steps: 8 with layers, then all
    assert moved_since(before, job.policy) == set(before)


def test_what_begins_is_logged_and_the_metrics_tell_how_many(tmp_path, caplog):
    adapter = Adapter(**FULL, unfreeze=Unfreeze(every=3, layers=2))
    job = job_of(tmp_path, adapter)
    with caplog.at_level(logging.INFO, "tunesmith"):
        run_loop(job, None)
    assert [r.getMessage() for r in caplog.records if "to learn" in r.getMessage()] == [
        "step 1: layer 4 begins to learn",
        "step 4: layers 2 to 3 begin to learn",
        "step 7: layer 1, the embeddings and the head begin to learn",
    ]
    assert [line["trained_layers"] for line in job.run.read_metrics()] == [1] * 3 + [3] * 3 + [4] * 6
    other = job_of(tmp_path / "other", Adapter(**FULL))
    run_loop(other, None)
    assert all("trained_layers" not in line for line in other.run.read_metrics())


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_a_resumed_run_ends_with_the_same_bytes(tmp_path, kind):
    adapter = Adapter(**(FULL if kind == "full" else LORA), unfreeze=Unfreeze(every=4))
    whole = job_of(tmp_path / "whole", adapter)
    run_loop(whole, None)
    for stop in (3, 4) if kind == "full" else (4,):  # inside a stage, and where one begins
        folder = tmp_path / str(stop)
        cut = TRAIN.model_copy(update={"save_every": stop})
        first = job_of(folder, adapter, cut)
        asked = iter([*[False] * (stop - 1), True])
        stopping = type(first)(**{**vars(first), "stop_wanted": lambda asked=asked: next(asked)})
        with pytest.raises(Exception, match="stopped after step"):
            run_loop(stopping, None)
        again = job_of(folder, adapter, cut)
        resumed(again)
        assert weight_bytes(again.policy) == weight_bytes(whole.policy)
        assert without_times(again.run.read_metrics()) == without_times(whole.run.read_metrics())
