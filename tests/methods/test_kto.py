"""Judged answers: the loss by hand on whole logits, and what the recipe does with labels."""

from __future__ import annotations

import pytest
import torch

from tests.train.test_gradients import assert_same, make_policy
from tunesmith.config.method import Kto as Options
from tunesmith.methods.base import Batch
from tunesmith.methods.kto import Kto
from tunesmith.segments import Piece
from tunesmith.train.examples import Examples, batches_of


class Stored(list):
    """Samples in memory: (tree, good)."""

    def tree(self, at):
        return self[at][0]

    def good(self, at):
        return self[at][1]


def samples(count: int = 5) -> Stored:
    draws = torch.Generator().manual_seed(0)

    def tokens(least: int, most: int) -> tuple[int, ...]:
        length = int(torch.randint(least, most, (1,), generator=draws))
        return tuple(torch.randint(3, 300, (length,), generator=draws).tolist())

    rows = Stored()
    for number in range(count):
        prompt, answer = tokens(3, 9), tokens(2, 7)
        weights = (0.0,) * len(prompt) + (2.0 if number == 1 else 1.0,) * len(answer)
        rows.append(((Piece(prompt + answer, weights),), number % 3 != 1))
    return rows


def reference(count: int = 5) -> torch.Tensor:
    return -20 * torch.rand(count, 2, generator=torch.Generator().manual_seed(1))


def laid(policy, examples, observed=0.0, row_tokens=4096):
    found = batches_of(examples, segments=policy.segments, row_tokens=row_tokens, share=True, whole=True)
    return [Batch(batch.rows, batch.examples, observed) for batch in found]


def ours(policy, options: Options, *, row_tokens: int = 4096):
    method, known = Kto(options), Examples(samples(), reference().numpy(), others=True)
    examples = [known.example(at) for at in range(len(known))]
    totals = method.plan(examples)
    with policy.scoring_mode():
        z = method.observe(policy, laid(policy, [e._replace(tree=e.other) for e in examples]))
    loss = 0.0
    with policy.training_mode():
        for number, batch in enumerate(laid(policy, examples, z, row_tokens)):
            policy.seat(0, number)
            value = method.loss(policy, batch).share_of(totals)
            value.backward()
            loss += value.item()
    found = {name: weight.grad.clone() for name, weight in policy.trainable().items()}
    policy.zero_grad()
    return loss, found, z


def by_hand(policy, options: Options):
    rows, known = samples(), reference()

    def answer_logprob(prompt, answer):
        ids = torch.tensor([prompt + answer])
        logits = policy.model(input_ids=ids).logits[0, :-1].log_softmax(-1)
        return logits.gather(1, ids[0, 1:, None])[len(prompt) - 1 :, 0].sum()

    parts = []
    for (piece,), _ in rows:
        at = next(i for i, weight in enumerate(piece.weights) if weight)
        parts.append((piece.tokens[:at], piece.tokens[at:]))
    own = torch.stack([answer_logprob(prompt, answer) for prompt, answer in parts]) - known[:, 0]
    with torch.no_grad():
        answers = [parts[(at + 1) % len(parts)][1] for at in range(len(parts))]
        other = torch.stack([answer_logprob(parts[at][0], answers[at]) for at in range(len(parts))])
        z = (other - known[:, 1]).mean().clamp(min=0)
    good = torch.tensor([good for _, good in rows])
    value = torch.where(
        good,
        options.good_weight * (1 - torch.sigmoid(options.beta * (own - z))),
        options.bad_weight * (1 - torch.sigmoid(options.beta * (z - own))),
    )
    weights = torch.tensor([max(piece.weights) for (piece,), _ in rows])
    loss = (weights * value).sum() / weights.sum()
    loss.backward()
    found = {name: weight.grad.clone() for name, weight in policy.trainable().items()}
    policy.zero_grad()
    return loss.item(), found, z.item()


@pytest.mark.parametrize("options", [Options(), Options(beta=0.02, good_weight=0.5, bad_weight=1.5)])
@pytest.mark.parametrize("row_tokens", [4096, 8])
def test_loss_and_gradients_are_those_of_whole_logits(options, row_tokens):
    policy = make_policy()
    mine, theirs = ours(policy, options, row_tokens=row_tokens), by_hand(policy, options)
    assert mine[2] == pytest.approx(theirs[2], rel=1e-5)
    assert_same(mine[:2], theirs[:2], 1e-4)


def test_the_answer_to_another_prompt_stands_behind_this_one():
    known = Examples(samples(2), None, others=True)
    (first,), (second,) = known.example(0).tree, known.example(1).tree
    (other,) = known.example(0).other
    prompt = first.tokens[: first.weights.index(1.0)]
    answer = second.tokens[second.weights.index(2.0) :]
    assert other.tokens == prompt + answer
    assert other.weights == (0.0,) * len(prompt) + (2.0,) * len(answer)
    assert known.example(1).other is not None  # the last one takes the first one's
