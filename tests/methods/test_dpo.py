"""Preference losses: TRL's own loss functions and a plain model give the same values and gradients."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from tests.train.test_gradients import assert_same, make_policy
from tunesmith.config.method import Dpo as Options
from tunesmith.methods.base import Example
from tunesmith.methods.dpo import Dpo
from tunesmith.segments import Piece, Tree
from tunesmith.train.examples import batches_of

LOSSES = [
    Options(),
    Options(label_smoothing=0.2),
    Options(loss="robust", label_smoothing=0.1),
    Options(loss="hinge", beta=0.3),
    Options(loss="ipo", beta=0.5),
    Options(length_normalised=True, sft=0.7),
    Options(loss="simpo"),
    Options(loss="cpo", label_smoothing=0.1),
    Options(loss="orpo"),
]


def name_of(options: Options) -> str:
    given = options.model_dump(exclude_defaults=True)
    return " ".join(f"{name}={value}" for name, value in given.items()) or "sigmoid"


def pairs(count: int) -> list[Tree]:
    draws = torch.Generator().manual_seed(0)

    def tokens(least: int, most: int) -> tuple[int, ...]:
        length = int(torch.randint(least, most, (1,), generator=draws))
        return tuple(torch.randint(3, 300, (length,), generator=draws).tolist())

    trees = []
    for number in range(count):
        prompt, better, worse = tokens(3, 9), tokens(2, 7), tokens(2, 7)
        weight = 2.0 if number == 1 else 1.0
        trees.append(
            (
                Piece(prompt, (0.0,) * len(prompt)),
                # The first token of each side is still the prompt's: no loss.
                Piece((5, *better), (0.0, *(weight,) * len(better)), 0),
                Piece((6, *worse), (0.0, *(weight,) * len(worse)), 0),
            )
        )
    return trees


def examples(count: int = 5) -> list[Example]:
    draws = torch.Generator().manual_seed(1)
    return [
        Example(tree, None, tuple((-20 * torch.rand(2, generator=draws)).tolist())) for tree in pairs(count)
    ]


def update(policy, options: Options, rows: list[Example], *, row_tokens: int = 4096):
    """Loss and gradients of one update."""
    method, loss = Dpo(options), 0.0
    totals = method.plan(rows)
    batches = batches_of(rows, segments=policy.segments, row_tokens=row_tokens, share=True, whole=True)
    with policy.training_mode():
        for number, batch in enumerate(batches):
            policy.seat(0, number)
            value = method.loss(policy, batch).share_of(totals)
            value.backward()
            loss += value.item()
    found = {name: weight.grad.clone() for name, weight in policy.trainable().items()}
    policy.zero_grad()
    return loss, found


def plainly(policy, options: Options, rows: list[Example]):
    """The same from the model alone: one path at a time, and the loss that TRL computes of it."""
    sums, counts = [], []
    for example in rows:
        root, *sides = example.tree
        for side in sides:
            ids = torch.tensor([root.tokens + side.tokens])
            logits = policy.model(input_ids=ids).logits[0, :-1].log_softmax(-1)
            mask = torch.tensor([w > 0 for w in (root.weights + side.weights)[1:]])
            sums.append(logits.gather(1, ids[0, 1:, None])[:, 0][mask].sum())
            counts.append(int(mask.sum()))
    logprobs, tokens = torch.stack(sums).view(-1, 2), torch.tensor(counts).view(-1, 2)
    reference = torch.tensor([example.reference for example in rows])
    weights = torch.tensor([max(example.tree[1].weights) for example in rows])
    losses = theirs(options, logprobs, reference, tokens)
    loss = (weights * losses).sum() / weights.sum() - options.sft * logprobs[:, 0].sum() / tokens[:, 0].sum()
    loss.backward()
    found = {name: weight.grad.clone() for name, weight in policy.trainable().items()}
    policy.zero_grad()
    return loss.item(), found


def theirs(options: Options, logprobs, reference, tokens):
    """[pairs], by TRL where it has the loss as a function of its own."""
    from trl.experimental.cpo import CPOTrainer
    from trl.experimental.orpo import ORPOTrainer

    accelerator = SimpleNamespace(device=torch.device("cpu"))
    means = logprobs / tokens
    if options.loss in ("simpo", "cpo"):
        trainer = SimpleNamespace(
            alpha=0.0, beta=options.beta, label_smoothing=options.label_smoothing, simpo_gamma=options.gamma,
            loss_type="simpo" if options.loss == "simpo" else "sigmoid", accelerator=accelerator,
        )  # fmt: skip
        given = means if options.loss == "simpo" else logprobs
        return CPOTrainer.cpo_loss(trainer, given[:, 0], given[:, 1])[0]
    if options.loss == "orpo":
        trainer = SimpleNamespace(beta=options.beta, accelerator=accelerator)
        return -ORPOTrainer.odds_ratio_loss(trainer, means[:, 0], means[:, 1])[0]
    ratios = logprobs - reference
    if options.by_length:
        ratios = ratios / tokens
    margin, beta, smoothing = ratios[:, 0] - ratios[:, 1], options.beta, options.label_smoothing
    if options.loss == "hinge":
        return torch.clamp(1 - beta * margin, min=0)
    if options.loss == "ipo":
        return (margin - 0.5 / beta).square()
    right, wrong = (torch.nn.functional.softplus(sign * beta * margin) for sign in (-1, 1))
    if options.loss == "robust":
        return ((1 - smoothing) * right - smoothing * wrong) / (1 - 2 * smoothing)
    return (1 - smoothing) * right + smoothing * wrong


@pytest.mark.parametrize("options", LOSSES, ids=name_of)
def test_loss_and_gradients_are_those_of_whole_logits_and_trl(options):
    policy = make_policy()
    assert_same(update(policy, options, examples()), plainly(policy, options, examples()), 1e-4)


@pytest.mark.parametrize("options", [Options(), Options(loss="orpo")], ids=name_of)
def test_how_pairs_are_laid_into_rows_does_not_matter(options):
    policy = make_policy(dropout=0.0)
    whole = update(policy, options, examples())
    assert_same(whole, update(policy, options, examples(), row_tokens=8), 1e-5)
    assert_same(whole, update(make_policy(segments=False), options, examples()), 1e-5)


def test_at_the_start_nothing_is_preferred():
    policy, rows = make_policy(), examples()
    method = Dpo(Options())
    batches = batches_of(rows, segments=True, row_tokens=4096, share=True, whole=True)
    with policy.scoring_mode():
        from tunesmith.methods.base import leaves_of

        found = leaves_of(policy, batches[0])
        told = found.logprobs.view(-1, 2).tolist()
        rows = [
            Example(rows[owner].tree, None, tuple(told[at])) for at, owner in enumerate(found.owners[::2])
        ]
        batches = batches_of(rows, segments=True, row_tokens=4096, share=True, whole=True)
        loss = method.loss(policy, batches[0])
    measured = {measure.name: measure.sum.item() / measure.weight for measure in loss.measures}
    assert loss.share_of(method.plan(rows)).item() == pytest.approx(0.693147, abs=1e-5)
    assert measured["reward_margin"] == pytest.approx(0, abs=1e-5)
    assert measured["logprob_chosen"] < 0


def test_the_recipe_settles_what_a_loss_usually_has():
    assert (Options(loss="simpo").beta, Options(loss="simpo", beta=3).beta) == (2.0, 3.0)
    assert (Options(loss="cpo").sft, Options(loss="orpo", sft=0).sft, Options().sft) == (1.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="label_smoothing does not go with loss: ipo"):
        Options(loss="ipo", label_smoothing=0.1)
    with pytest.raises(ValueError, match="needs a label_smoothing"):
        Options(loss="robust")
