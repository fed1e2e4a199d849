"""What a method is: which samples it consumes, and a pure loss.

A method never divides, accumulates, clips or steps; the loop does, for all methods alike. It says beforehand what an
update weighs in total (`plan`), and for each batch of rows it gives sums, so that eight samples at once make the same
update as one at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from tunesmith.segments import Row, Tree


class Taught(NamedTuple):
    """What a teacher says of some targets, at its temperature.

    `logprobs` are those of all tokens up to `vocabulary`, [C, V], or where `tokens` [C, k] are given of these alone, the
    likeliest.
    """

    logprobs: Tensor
    vocabulary: int
    tokens: Tensor | None = None


Teacher = Callable[
    [Row], Callable[[Tensor], Taught]
]  # a row -> the numbers [C] of targets -> what it says of them


class Known(NamedTuple):
    """What is kept of a teacher: the likeliest tokens [targets, k] and their log-probabilities, path by path."""

    tokens: np.ndarray
    logprobs: np.ndarray


class Rollout(NamedTuple):
    """What is known of a group of answers that the model drew to one prompt, in the order of the tree.

    `old` and `reference` hold the log-probabilities of each answer's tokens when they were drawn, and before step 1, where
    the loss needs them. `measures` are logged: a number an answer each.
    """

    advantages: tuple[float, ...]
    measures: Mapping[str, tuple[float, ...]]
    old: tuple[tuple[float, ...], ...] = ()
    reference: tuple[tuple[float, ...], ...] = ()


class Example(NamedTuple):
    """A sample as a method sees it.

    `good` is how its answer was judged, where it was. `other` is its prompt with the answer to another one. `reference`
    holds, for each leaf in order, the other answer's behind them, the log-probability of its tokens with loss under the
    model as it was before step 1. `known` is what is kept of a teacher, `rollout` what is known of drawn answers. What the method does not need is
    not there.
    """

    tree: Tree
    good: bool | None = None
    reference: tuple[float, ...] = ()
    other: Tree | None = None
    known: Known | None = None
    rollout: Rollout | None = None


@dataclass(frozen=True)
class Batch:
    """Rows whose loss is computed together: one row, or the rows of one sample where each path has its own.

    `examples` are those of the whole update; the owners in the rows number them. `observed` is what the method saw of
    the whole update beforehand, `teacher` what it learns from where that is another model.
    """

    rows: tuple[Row, ...]
    examples: Sequence[Example]
    observed: float = 0.0
    teacher: Teacher | None = None


class Term(NamedTuple):
    """One term of a loss over one batch: the update's loss is the sum over batches of `coefficient * sum / total weight`.

    `name` finds the total weight in what `plan` gave for the whole update.
    """

    name: str
    sum: Tensor
    coefficient: float = 1.0


class Measure(NamedTuple):
    """Something to log: the mean over a window of steps is the sum of the sums over the sum of the weights."""

    name: str
    sum: Tensor
    weight: float


class Loss(NamedTuple):
    """What a method makes of a batch. The measures carry no gradient."""

    terms: tuple[Term, ...]
    measures: tuple[Measure, ...] = ()

    def share_of(self, totals: Mapping[str, float]) -> Tensor:
        """What the batch adds to the loss of an update with these total weights."""
        parts = [term.coefficient * term.sum / totals[term.name] for term in self.terms]
        return torch.stack(parts).sum()


class Score(Protocol):
    """The model, as a method sees it."""

    def __call__(self, row: Row) -> Tensor:
        """The log-probabilities [R] of a row's targets; of a policy that scores, the scores [L] of its leaves. fp32."""

    def over_vocabulary(self, row: Row, function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """What `function` gives [C, ...] of logits [C, V] and the numbers [C] of their targets, for all: [R, ...]."""


class Method(Protocol):
    """One small file a method; made with its block of the recipe."""

    consumes: type  # the sample type: Conversation, Text, Pair, ...
    # Whether the model gets a head that scores answers, and none that writes.
    scores: bool
    # Whether the paths of a sample must be in one batch, because its loss is no sum over them.
    keeps_samples_whole: bool
    # The held-out measure that says how good the model is, where that is not the loss; "" where it is.
    judged_by: str
    # Whether examples must hold the answers to other prompts, which `observe` looks at before each update.
    needs_other_answers: bool

    def __init__(self, options: Any) -> None: ...

    @property
    def needs_reference(self) -> bool:
        """Whether examples must hold their log-probabilities under the model before step 1."""

    @property
    def needs_teacher(self) -> bool:
        """Whether batches must have a teacher."""

    def observe(self, policy: Score, batches: Sequence[Batch]) -> float:
        """A statistic of an update, from batches of `other` trees, without gradients."""

    def plan(self, examples: Sequence[Example]) -> dict[str, float]:
        """The total weight of each term over one update's samples."""

    def loss(self, policy: Score, batch: Batch) -> Loss:
        """The terms of one batch."""


class Leaves(NamedTuple):
    """The answers of a batch, by sample and then in the order of its tree.

    `owners` are the samples' numbers, `logprobs` [L] each answer's log-probability: the sum over its tokens with loss.
    `tokens` [L] says how many these are.
    """

    owners: list[int]
    logprobs: Tensor
    tokens: Tensor


def leaves_of(policy: Score, batch: Batch) -> Leaves:
    """Run the rows of a batch, and sum up each leaf's log-probabilities.

    A token that several leaves share counts for each of them.
    """
    found: list[tuple[int, int, int]] = []  # (owner, row, segment) of each leaf
    of_target: list[tuple[int, int]] = []
    for number, row in enumerate(batch.rows):
        leaves = {target.leaf for target in row.targets}
        found += [(row.owners[leaf], number, leaf) for leaf in leaves]
        of_target += [(number, target.leaf) for target in row.targets]
    found.sort()
    place = {(row, leaf): at for at, (_, row, leaf) in enumerate(found)}
    logprobs = torch.cat([policy(row) for row in batch.rows])
    at = torch.tensor([place[one] for one in of_target], device=logprobs.device)
    sums = logprobs.new_zeros(len(found)).index_add(0, at, logprobs)
    counts = Counter(of_target)
    tokens = [counts[row, leaf] for _, row, leaf in found]
    return Leaves([owner for owner, _, _ in found], sums, torch.tensor(tokens, device=logprobs.device))


def weight_of(tree: Tree) -> float:
    """The weight that a judged sample has: that of its answers' tokens, which the recipe's source says."""
    return next(weight for piece in tree for weight in piece.weights if weight)


def answer_tokens(tree: Tree, piece: int) -> int:
    """How many tokens with loss a piece holds."""
    return sum(1 for weight in tree[piece].weights if weight)
