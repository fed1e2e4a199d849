"""Learning to score answers: a reward model after Bradley and Terry, from pairs of a better and a worse answer.

With r the score of a prompt and its answer, y the better answer, z the worse one, s the logistic function:

    loss = -log s(r(y) - r(z)) + c (r(y) + r(z))^2

(arXiv 1706.03741, section 2.2.3; arXiv 2203.02155, equation 1.) The first part knows differences alone; the second,
with c = `center`, holds scores around 0 (arXiv 2312.09244, appendix).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from tunesmith.config.method import Reward as Options
from tunesmith.data.schema import Pair
from tunesmith.methods.base import Batch, Example, Loss, Measure, Score, Term, weight_of


class Reward:
    """The mean is over the pairs of an update. Of this policy a row's leaves have scores, its targets nothing."""

    consumes: type = Pair
    scores = True
    needs_teacher = False
    judged_by = ""
    keeps_samples_whole = True
    needs_other_answers = False
    needs_reference = False

    def __init__(self, options: Options) -> None:
        self.options = options

    def observe(self, policy: Score, batches: Sequence[Batch]) -> float:
        return 0.0

    def plan(self, examples: Sequence[Example]) -> dict[str, float]:
        return {"preference": sum(weight_of(example.tree) for example in examples)}

    def loss(self, policy: Score, batch: Batch) -> Loss:
        owners, rewards = _rewards(policy, batch)
        weights = rewards.new_tensor([weight_of(batch.examples[owner].tree) for owner in owners])
        losses = -logsigmoid(rewards[:, 0] - rewards[:, 1])
        if self.options.center:
            losses = losses + self.options.center * rewards.sum(1) ** 2
        return Loss((Term("preference", (weights * losses).sum()),), _measures(rewards.detach()))


def _rewards(policy: Score, batch: Batch) -> tuple[list[int], Tensor]:
    """The numbers of a batch's samples, and their scores: [pairs, (better, worse)]."""
    found: list[tuple[int, int]] = []  # the owner of each score, and its place
    for row in batch.rows:
        found += [(row.owners[leaf], len(found) + at) for at, leaf in enumerate(row.plan.leaves())]
    found.sort()
    rewards = torch.cat([policy(row) for row in batch.rows])
    at = torch.tensor([place for _, place in found], device=rewards.device)
    return [owner for owner, _ in found[::2]], rewards.index_select(0, at).view(-1, 2)


def _measures(rewards: Tensor) -> tuple[Measure, ...]:
    """What tells whether pairs are told apart, of [pairs, (better, worse)]."""
    margin = rewards[:, 0] - rewards[:, 1]
    found = {
        "reward_accuracy": (margin > 0).float() + 0.5 * (margin == 0).float(),
        "reward_margin": margin,
        "reward_chosen": rewards[:, 0],
        "reward_rejected": rewards[:, 1],
    }
    return tuple(Measure(name, value.sum(), len(rewards)) for name, value in found.items())
