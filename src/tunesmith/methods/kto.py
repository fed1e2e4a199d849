"""Learning from answers that were judged good or bad, each by itself: Kahneman-Tversky optimisation (arXiv 2402.01306).

With r the log-ratio of an answer under the model and under the model before step 1, b = beta, s the logistic function:

    loss = w (1 - s(b (r - z)))   for a good answer,   w' (1 - s(b (z - r)))   for a bad one

z, never below 0, estimates how far the model has moved: the mean log-ratio, over the update, of prompts with the answer
to another prompt. It is a statistic of the update and carries no gradient, so an update of eight samples is not that of
two of four.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tunesmith.config.method import Kto as Options
from tunesmith.data.schema import Labelled
from tunesmith.methods.base import Batch, Example, Leaves, Loss, Measure, Score, Term, leaves_of, weight_of


class Kto:
    """The mean is over the samples of an update."""

    consumes: type = Labelled
    scores = False
    keeps_samples_whole = True
    needs_reference = True
    needs_teacher = False
    judged_by = ""
    needs_other_answers = True

    def __init__(self, options: Options) -> None:
        self.options = options

    def plan(self, examples: Sequence[Example]) -> dict[str, float]:
        return {"judged": sum(weight_of(example.tree) for example in examples)}

    def observe(self, policy: Score, batches: Sequence[Batch]) -> float:
        """z, from batches whose trees are prompts with the answers to others."""
        ratios: list[float] = []
        for batch in batches:
            leaves = leaves_of(policy, batch)
            known = [batch.examples[owner].reference[1] for owner in leaves.owners]
            ratios += [p - q for p, q in zip(leaves.logprobs.tolist(), known, strict=True)]
        return max(0.0, sum(ratios) / len(ratios))

    def loss(self, policy: Score, batch: Batch) -> Loss:
        leaves = leaves_of(policy, batch)
        examples = [batch.examples[owner] for owner in leaves.owners]
        known = leaves.logprobs.new_tensor([example.reference[0] for example in examples])
        ratios = leaves.logprobs - known  # [samples]
        sign = ratios.new_tensor([1.0 if example.good else -1.0 for example in examples])
        better = sign * (ratios - batch.observed)  # above 0 where the answer moved the right way
        weights = ratios.new_tensor(
            [
                weight_of(example.tree)
                * (self.options.good_weight if example.good else self.options.bad_weight)
                for example in examples
            ]
        )
        loss = (weights * (1 - torch.sigmoid(self.options.beta * better))).sum()
        return Loss(
            (Term("judged", loss),), self._measures(leaves, ratios.detach(), better.detach(), sign, batch)
        )

    def _measures(
        self, leaves: Leaves, ratios: torch.Tensor, better: torch.Tensor, sign: torch.Tensor, batch: Batch
    ) -> tuple[Measure, ...]:
        found = [
            Measure("reward_accuracy", ((better > 0).float() + 0.5 * (better == 0).float()).sum(), len(sign)),
            Measure("kl", ratios.new_tensor(batch.observed * len(sign)), len(sign)),
        ]
        for name, side in (("good", sign > 0), ("bad", sign < 0)):
            count = int(side.sum())
            found.append(Measure(f"reward_{name}", self.options.beta * ratios[side].sum(), count))
            found.append(Measure(f"logprob_{name}", leaves.logprobs.detach()[side].sum(), count))
        return tuple(found)
