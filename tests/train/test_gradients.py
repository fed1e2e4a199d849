"""What the flat row promises: packed is the same as alone, recomputed is the same as kept."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import tiny_llama
from tunesmith.config.method import Sft
from tunesmith.config.schema import Adapter
from tunesmith.methods import METHODS
from tunesmith.methods.base import Batch, Example
from tunesmith.models.adapters import add_adapter
from tunesmith.models.policy import Policy
from tunesmith.segments import Block, Piece, Row, lay_row, plan_rows, single_paths


def samples(count: int = 8, seed: int = 3):
    generator = torch.Generator().manual_seed(seed)
    trees = []
    for i in range(count):
        tokens = torch.randint(300, (9 + 3 * i,), generator=generator).tolist()
        weights = [0.0] * (4 + i) + [1.0] * (5 + 2 * i)
        trees.append((Piece(tuple(tokens), tuple(weights)),))
    return trees


def make_policy(
    *, segments: bool = True, dropout: float = 0.0, lora: bool = True, checkpointing: bool = False
) -> Policy:
    model = tiny_llama()
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if lora:
        tuned = add_adapter(model, Adapter(rank=4, alpha=8, dropout=dropout), base_name="tiny", seed=0)
        for name, weight in tuned.named_parameters():
            if "lora_B" in name:  # zero at the start, which would hide the gradients of A
                torch.nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(len(name)))
    else:
        tuned = model.requires_grad_(True)
    return Policy(tuned, segments=segments, compute=torch.float32, seed=5)


def gradients(policy: Policy, rows: list[Row], trees) -> tuple[float, dict[str, torch.Tensor]]:
    method, examples = METHODS["sft"](Sft()), [Example(tree) for tree in trees]
    totals = method.plan(examples)
    loss = 0.0
    with policy.training_mode():
        for index, row in enumerate(rows):
            policy.seat(1, index)
            value = method.loss(policy, Batch((row,), examples)).share_of(totals)
            value.backward()
            loss += value.item()
    found = {name: weight.grad.clone() for name, weight in policy.trainable().items()}
    policy.zero_grad()
    return loss, found


def assert_same(first, second, tolerance):
    assert first[0] == pytest.approx(second[0], rel=tolerance)
    for name, gradient in first[1].items():
        scale = gradient.abs().max().clamp(min=1e-8)
        assert ((gradient - second[1][name]).abs().max() / scale).item() < tolerance, name


@pytest.mark.parametrize("lora", [True, False], ids=["lora", "full"])
@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "recomputed"])
def test_eight_packed_give_the_gradients_of_eight_alone(lora, checkpointing):
    trees = samples()
    packed = gradients(make_policy(lora=lora, checkpointing=checkpointing), plan_rows(trees, 10_000), trees)
    alone = gradients(
        make_policy(lora=lora, segments=False),
        [lay_row([Block.of(t, i)]) for i, t in enumerate(trees)],
        trees,
    )
    assert_same(packed, alone, 1e-5)


def test_a_forest_gives_the_gradients_of_its_paths():
    generator = torch.Generator().manual_seed(1)

    def piece(length, weighted, parent):
        return Piece(
            tuple(torch.randint(300, (length,), generator=generator).tolist()),
            tuple([0.0] * (length - weighted) + [1.0] * weighted),
            parent,
        )

    tree = (piece(7, 2, None), piece(4, 4, 0), piece(5, 5, 0), piece(3, 3, 2))
    forest = gradients(make_policy(), plan_rows([tree, tree], 10_000), [tree, tree])
    paths = [path for t in (tree, tree) for path in single_paths(t)]
    alone = gradients(make_policy(segments=False), [lay_row([Block.of(p)]) for p in paths], [tree, tree])
    assert_same(forest, alone, 1e-5)


def test_shared_prompts_give_the_gradients_of_each_alone():
    generator = torch.Generator().manual_seed(2)
    prompt = tuple(torch.randint(300, (48,), generator=generator).tolist())
    trees = []
    for length in (3, 5, 4, 9):
        own = tuple(torch.randint(300, (length,), generator=generator).tolist())
        trees.append((Piece((*prompt, *own), (0.0,) * 49 + (1.0,) * (length - 1)),))
    shared = plan_rows(trees, 10_000, share=True)
    assert sum(len(row.tokens) for row in shared) == 48 + 21
    alone = [lay_row([Block.of(tree, at)]) for at, tree in enumerate(trees)]
    assert_same(
        gradients(make_policy(), shared, trees), gradients(make_policy(segments=False), alone, trees), 1e-5
    )


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_gives_the_same_gradients_with_dropout_on(reentrant):
    trees = samples()
    rows = plan_rows(trees, 10_000)
    kept = gradients(make_policy(dropout=0.3), rows, trees)
    policy = make_policy(dropout=0.3)
    policy.causal_lm.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    if reentrant:
        policy.causal_lm.enable_input_require_grads()
    recomputed = gradients(policy, rows, trees)
    assert_same(kept, recomputed, 1e-6)
    assert_differ(kept, gradients(make_policy(dropout=0.0), rows, trees))


def assert_differ(first, second):
    assert abs(first[0] - second[0]) > 1e-4


def test_dropout_depends_on_seed_step_row_and_module_only():
    trees = samples(4)
    row = plan_rows(trees, 10_000)[0]
    policy = make_policy(dropout=0.2)

    def values(step, index):
        with policy.training_mode(), torch.no_grad():
            policy.seat(step, index)
            return policy(row)

    first = values(3, 1)
    values(9, 9)
    assert torch.equal(first, values(3, 1))
    assert not torch.equal(first, values(4, 1))
    assert not torch.equal(first, values(3, 2))
