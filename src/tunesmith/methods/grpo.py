"""Learning from rewards of one's own answers: group relative policy optimisation (arXiv 2402.03300).

Of each prompt a group of answers is drawn. With R the reward of an answer, its advantage is

    A = R - mean of the group's rewards      (divided by their standard deviation, where `scale` says so)

and with p, o and q the probability of one of its tokens now, when it was drawn, and before step 1, and r = p / o:

    loss of a token = - min(r A, clip(r, 1 - clip, 1 + clip_high) A) + kl r (q/p - log q/p - 1)

The last is an estimate of the divergence from q (Schulman, "Approximating KL divergence", 2020); with r in front its
gradient is unbiased too (arXiv 2512.02556).

| loss    | mean                                                        | source           |
|---------|-------------------------------------------------------------|------------------|
| grpo    | over the tokens of an answer, and then over answers         | arXiv 2402.03300 |
| dapo    | over all tokens of the update                               | arXiv 2503.14476 |
| dr_grpo | over answers, of sums over the longest length allowed       | arXiv 2503.20783 |
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tunesmith.config.method import Grpo as Options
from tunesmith.data.schema import Prompt
from tunesmith.methods.base import Batch, Example, Loss, Measure, Score, Term, answer_tokens

_LEAST_SPREAD = 1e-4  # added to a group's standard deviation, so that equal rewards divide by something


def advantages(rewards: Sequence[float], *, scale: bool) -> list[float]:
    """What each answer of a group has over the others."""
    values = torch.tensor(rewards, dtype=torch.float64)
    above = values - values.mean()
    if scale:
        above = above / (values.std() + _LEAST_SPREAD)
    found: list[float] = above.tolist()
    return found


class Grpo:
    consumes: type = Prompt
    scores = False
    keeps_samples_whole = True
    needs_other_answers = False
    needs_reference = False
    needs_teacher = False
    judged_by = "reward"

    def __init__(self, options: Options) -> None:
        self.options = options

    def observe(self, policy: Score, batches: Sequence[Batch]) -> float:
        return 0.0

    def plan(self, examples: Sequence[Example]) -> dict[str, float]:
        lengths = [
            answer_tokens(example.tree, piece)
            for example in examples
            for piece in range(1, len(example.tree))
        ]
        return {"policy": float(sum(lengths) if self.options.loss == "dapo" else len(lengths))}

    def loss(self, policy: Score, batch: Batch) -> Loss:
        drawn = _Drawn.of(batch, [policy(row) for row in batch.rows])
        options, logprobs = self.options, drawn.logprobs
        old = logprobs.detach() if drawn.old is None else drawn.old
        ratio = (logprobs - old).exp()
        highest = 1 + (options.clip if options.clip_high is None else options.clip_high)
        clipped = ratio.clamp(1 - options.clip, highest)
        losses = -torch.minimum(ratio * drawn.advantages, clipped * drawn.advantages)
        measures = [Measure("clipped", (clipped != ratio).float().sum(), len(ratio))]
        if drawn.reference is not None:
            apart = drawn.reference - logprobs
            kl = apart.exp() - apart - 1
            losses = losses + options.kl * ratio * kl
            measures.append(Measure("kl", kl.detach().sum(), len(ratio)))
        weights = torch.ones_like(drawn.lengths)
        if options.loss == "grpo":
            weights = 1 / drawn.lengths
        elif options.loss == "dr_grpo":
            weights = weights / options.max_new_tokens
        told = _told(batch)
        return Loss((Term("policy", (weights * losses).sum()),), (*told, *measures))


class _Drawn:
    """The tokens of all drawn answers of a batch, [N] each.

    Args:
        lengths: the number of tokens of the answer that each belongs to.
        old, reference: log-probabilities when they were drawn, and before step 1; None: not needed.
    """

    def __init__(
        self,
        logprobs: Tensor,
        advantages: Tensor,
        lengths: Tensor,
        old: Tensor | None,
        reference: Tensor | None,
    ) -> None:
        self.logprobs, self.advantages, self.lengths = logprobs, advantages, lengths
        self.old, self.reference = old, reference

    @classmethod
    def of(cls, batch: Batch, logprobs: Sequence[Tensor]) -> _Drawn:
        """Line up what is known of each answer with its tokens, wherever in the rows they lie."""
        parts: list[Tensor] = []
        above: list[float] = []
        lengths: list[int] = []
        old: list[float] = []
        reference: list[float] = []
        for owner, answer, row, numbers in answers_in(batch):
            rollout = batch.examples[owner].rollout
            assert rollout is not None
            parts.append(logprobs[row][torch.tensor(numbers, device=logprobs[row].device)])
            above += [rollout.advantages[answer]] * len(numbers)
            lengths += [len(numbers)] * len(numbers)
            old += rollout.old[answer] if rollout.old else ()
            reference += rollout.reference[answer] if rollout.reference else ()
        all_logprobs = torch.cat(parts)
        new = all_logprobs.new_tensor
        return cls(
            all_logprobs,
            new(above),
            new(lengths),
            new(old) if old else None,
            new(reference) if reference else None,
        )


def answers_in(batch: Batch) -> list[tuple[int, int, int, list[int]]]:
    """Where the drawn answers of a batch lie: the sample, the number of the answer, the row, its targets in order."""
    leaves: dict[int, dict[tuple[int, int], list[int]]] = {}
    for number, row in enumerate(batch.rows):
        for at, target in enumerate(row.targets):
            leaves.setdefault(row.owners[target.leaf], {}).setdefault((number, target.leaf), []).append(at)
    found = []
    for owner, of_owner in sorted(leaves.items()):
        for answer, ((number, _), targets) in enumerate(sorted(of_owner.items())):
            order = batch.rows[number].targets
            found.append((owner, answer, number, sorted(targets, key=lambda at: order[at].position)))
    return found


def _told(batch: Batch) -> tuple[Measure, ...]:
    """What the answers were worth, and how long they are: of each group once, in the batch that holds it."""
    owners = sorted({owner for row in batch.rows for owner in row.owners})
    sums: dict[str, tuple[float, int]] = {}
    for owner in owners:
        rollout = batch.examples[owner].rollout
        assert rollout is not None
        for name, values in rollout.measures.items():
            value, count = sums.get(name, (0.0, 0))
            sums[name] = (value + sum(values), count + len(values))
    return tuple(Measure(name, torch.tensor(value), count) for name, (value, count) in sums.items())
