"""Reward models: TRL's RewardTrainer gives the same loss and gradients on a padded batch of the same pairs."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from tests.conftest import TINY
from tests.methods.test_dpo import pairs
from tests.train.test_gradients import assert_same
from tunesmith.config.method import Reward as Options
from tunesmith.config.schema import Adapter
from tunesmith.methods.base import Example
from tunesmith.methods.reward import Reward
from tunesmith.models.adapters import add_adapter
from tunesmith.models.policy import Policy
from tunesmith.segments import Tree
from tunesmith.train.examples import batches_of

PAD = 2


def make_policy(*, segments: bool = True, lora: bool = True) -> Policy:
    from transformers import LlamaConfig, LlamaForSequenceClassification

    torch.manual_seed(7)
    config = LlamaConfig(**TINY, initializer_range=0.1, num_labels=1, pad_token_id=PAD)
    tuned = model = LlamaForSequenceClassification(config).eval()
    if lora:
        tuned = add_adapter(model, Adapter(rank=4, alpha=8, dropout=0.0), base_name="tiny", seed=0)
        for name, weight in tuned.named_parameters():
            if "lora_B" in name:  # zero at the start, which would hide the gradients of A
                torch.nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(len(name)))
    return Policy(tuned.eval(), segments=segments, compute=torch.float32, seed=5)


def gradients(policy: Policy) -> dict[str, torch.Tensor]:
    found = {name: weight.grad.clone() for name, weight in policy.trainable().items()}
    policy.zero_grad()
    return found


def update(policy: Policy, options: Options, trees: list[Tree], *, row_tokens: int = 4096):
    """Loss and gradients of one update."""
    method, loss = Reward(options), 0.0
    examples = [Example(tree) for tree in trees]
    totals = method.plan(examples)
    batches = batches_of(examples, segments=policy.segments, row_tokens=row_tokens, share=True, whole=True)
    with policy.training_mode():
        for number, batch in enumerate(batches):
            policy.seat(0, number)
            value = method.loss(policy, batch).share_of(totals)
            value.backward()
            loss += value.item()
    return loss, gradients(policy)


def of_weight_one(count: int) -> list[Tree]:
    """TRL weighs all pairs alike."""
    return [
        tuple(p._replace(weights=tuple(float(w > 0) for w in p.weights)) for p in t) for t in pairs(count)
    ]


def theirs(policy: Policy, options: Options, trees: list[Tree]):
    """By TRL's RewardTrainer: all better answers, then all worse ones, padded to the right."""
    from trl import RewardTrainer

    paths = [
        root.tokens + side.tokens for number in (0, 1) for root, *sides in trees for side in [sides[number]]
    ]
    longest = max(map(len, paths))
    ids = torch.tensor([[*path, *[PAD] * (longest - len(path))] for path in paths])
    inputs = {"input_ids": ids, "attention_mask": (ids != PAD).long()}
    trainer = SimpleNamespace(
        model=policy.model, args=SimpleNamespace(center_rewards_coefficient=options.center or None),
        accelerator=SimpleNamespace(gather=lambda value: value, gather_for_metrics=lambda value: value),
        _total_train_tokens=0, _tp_size=1, _metrics=defaultdict(lambda: defaultdict(list)),
    )  # fmt: skip
    loss = RewardTrainer.compute_loss(trainer, policy.model, inputs)
    loss.backward()
    return loss.item(), gradients(policy), trainer._metrics["eval"]


@pytest.mark.parametrize("lora", [True, False], ids=["lora", "full"])
@pytest.mark.parametrize("center", [0.0, 0.1])
def test_loss_and_gradients_are_those_of_trls_trainer(lora, center):
    policy, options, trees = make_policy(lora=lora), Options(center=center), of_weight_one(5)
    assert_same(update(policy, options, trees), theirs(policy, options, trees)[:2], 1e-4)


def test_what_is_measured_is_what_trl_measures():
    policy, trees = make_policy(), of_weight_one(6)
    examples = [Example(tree) for tree in trees]
    (batch,) = batches_of(examples, segments=True, row_tokens=4096, share=True, whole=True)
    with policy.scoring_mode():
        loss = Reward(Options()).loss(policy, batch)
    ours = {measure.name: measure.sum.item() / measure.weight for measure in loss.measures}
    (accuracy,), (margin,), (mean,) = (
        theirs(policy, Options(), trees)[2][n] for n in ("accuracy", "margin", "mean_reward")
    )
    assert ours["reward_accuracy"] == pytest.approx(accuracy)
    assert ours["reward_margin"] == pytest.approx(margin, rel=1e-4)
    assert (ours["reward_chosen"] + ours["reward_rejected"]) / 2 == pytest.approx(mean, rel=1e-4)


def test_how_pairs_are_laid_into_rows_does_not_matter():
    options = Options(center=0.05)
    whole = update(make_policy(), options, pairs(5))
    assert_same(whole, update(make_policy(), options, pairs(5), row_tokens=8), 1e-5)
    assert_same(whole, update(make_policy(segments=False), options, pairs(5)), 1e-5)


def test_a_pair_of_weight_two_counts_as_two():
    policy, options = make_policy(), Options(center=0.05)
    first, second, *_ = of_weight_one(2)
    double = tuple(piece._replace(weights=tuple(2 * w for w in piece.weights)) for piece in second)
    assert_same(
        update(policy, options, [first, second, second]), update(policy, options, [first, double]), 1e-5
    )


def test_the_better_answer_is_the_first_wherever_it_lies():
    """Swapped sides turn the margin round, packed or not."""
    trees = of_weight_one(3)
    swapped = [(root, worse, better) for root, better, worse in trees]
    for segments in (True, False):
        policy, margins = make_policy(segments=segments), []
        for some in (trees, swapped):
            batches = batches_of(
                [Example(tree) for tree in some], segments=segments, row_tokens=4096, share=True, whole=True
            )
            with policy.scoring_mode():
                found = [Reward(Options()).loss(policy, batch).measures for batch in batches]
            margins.append(sum(m.sum.item() for ms in found for m in ms if m.name == "reward_margin"))
        assert margins[0] == pytest.approx(-margins[1], rel=1e-4) and abs(margins[0]) > 1e-3
