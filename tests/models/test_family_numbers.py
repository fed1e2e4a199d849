"""For each family: the numbers of the flat row are those of transformers and PEFT run the plain way."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from tests.standins import FAMILIES, model_of, tokenizer_of
from tunesmith.config.method import Sft
from tunesmith.config.schema import Adapter
from tunesmith.methods import METHODS
from tunesmith.methods.base import Batch, Example
from tunesmith.models.adapters import add_adapter
from tunesmith.models.policy import Policy
from tunesmith.models.save import About, save_result
from tunesmith.segments import Block, Piece, lay_row, plan_rows, single_paths

# tools/ holds scripts, not a package.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from write_family_docs import plain_update

FAST = [name for name, family in FAMILIES.items() if family.fast]
IDS = torch.tensor([[5, 9, 7, 200, 13, 44, 90]])


def trees():
    """Two lone sequences, and one prompt with two answers; the windows of the stand-ins are 16 tokens wide."""
    generator = torch.Generator().manual_seed(11)

    def piece(length, context, parent=None):
        tokens = torch.randint(3, 330, (length,), generator=generator).tolist()
        return Piece(tuple(tokens), (0.0,) * context + (1.0,) * (length - context), parent)

    return [(piece(37, 20),), (piece(9, 2),), (piece(24, 24), piece(14, 0, 0), piece(6, 1, 0))]


@cache
def tuned(family):
    """The family with LoRA on all linear layers, moved from where B is zero, which hides A's gradients."""
    model = add_adapter(
        model_of(family), Adapter(rank=4, alpha=8, dropout=0.0), base_name="some/base", seed=1
    )
    for number, (name, weight) in enumerate(model.named_parameters()):
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(number))
    return model


def rows_of(segments):
    if segments:
        (row,) = plan_rows(trees(), 10_000)
        assert len(row.plan.segments) == 5
        return [row]
    return [lay_row([Block.of(path)]) for tree in trees() for path in single_paths(tree)]


def policy_of(model, segments):
    return Policy(model, segments=segments, compute=torch.float32, seed=0)


WAYS = [pytest.param(name, True, id=f"{name}-packed") for name in FAST]
WAYS += [pytest.param(name, False, id=f"{name}-alone") for name in FAMILIES]


@pytest.mark.parametrize(("family", "segments"), WAYS)
def test_logits_are_those_of_separate_sequences(family, segments):
    model = model_of(family)
    policy = policy_of(model, segments)
    ours: dict[tuple[int, ...], float] = {}  # by the tokens that lead to the prediction, itself included
    with policy.scoring_mode():
        for row in rows_of(segments):
            for target, value in zip(row.targets, policy(row).tolist(), strict=True):
                at = next(
                    i
                    for i, s in enumerate(row.plan.segments)
                    if s.start <= target.position < s.start + s.length
                )
                seen = [p for p in row.plan.path_positions(at) if p <= target.position]
                ours[(*(row.tokens[p] for p in seen), target.token)] = value
    theirs = {}
    for path in (path for tree in trees() for path in single_paths(tree)):
        ((tokens, weights, *_),) = path
        with torch.no_grad():
            logprobs = model(torch.tensor([tokens])).logits[0].log_softmax(-1)
        for at in range(1, len(tokens)):
            if weights[at]:
                theirs[tokens[: at + 1]] = float(logprobs[at - 1, tokens[at]])
    assert ours.keys() == theirs.keys()
    for tokens, value in theirs.items():
        assert ours[tokens] == pytest.approx(value, abs=1e-5, rel=1e-5)


@cache
def plain(family):
    return plain_update(tuned(family), trees())


@pytest.mark.parametrize(("family", "segments"), WAYS)
def test_lora_gradients_are_those_of_peft_run_the_plain_way(family, segments):
    policy, method, loss = policy_of(tuned(family), segments), METHODS["sft"](Sft()), 0.0
    examples = [Example(tree) for tree in trees()]
    totals = method.plan(examples)
    their_loss, theirs = plain(family)
    with policy.training_mode():
        for index, row in enumerate(rows_of(segments)):
            policy.seat(1, index)
            value = method.loss(policy, Batch((row,), examples)).share_of(totals)
            value.backward()
            loss += value.item()
    ours = {
        name: weight.grad.clone() for name, weight in policy.trainable().items() if weight.grad is not None
    }
    policy.zero_grad()
    assert loss == pytest.approx(their_loss, rel=1e-5)
    assert ours.keys() == theirs.keys()
    assert len(ours) >= 2 * 2 * 4
    for name, gradient in theirs.items():
        largest = float(gradient.abs().max())
        assert largest > 0, name
        assert float((ours[name] - gradient).abs().max()) < 1e-5 * largest, name


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_adapter_loads_in_plain_peft_with_the_same_logits(family, tmp_path):
    with torch.no_grad():
        before, expected = model_of(family)(IDS).logits, tuned(family).eval()(IDS).logits
        save_result(tuned(family), tokenizer_of(family), About("some/base"), tmp_path)
        theirs = PeftModel.from_pretrained(model_of(family), str(tmp_path)).eval()(IDS).logits
    assert float((theirs - expected).abs().max()) < 1e-5
    assert float((theirs - before).abs().max()) > 1e-2
