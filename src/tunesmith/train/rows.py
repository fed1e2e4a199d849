"""The rows that an update's samples are laid into, and for planning those of all updates, or of some of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tunesmith.config.method import Grpo, updates_of
from tunesmith.config.schema import Recipe
from tunesmith.models.generate import Answer
from tunesmith.segments import Block, Row, Tree, lay_row, plan_rows, single_paths
from tunesmith.train.order import Schedule
from tunesmith.train.rollout import group

_MOST_SAMPLES = 2000  # laid into rows for planning; it takes under a second


class Stored(Protocol):
    """Numbered samples, and the tokens of each."""

    @property
    def lengths(self) -> np.ndarray: ...

    def tree(self, at: int) -> Tree: ...


@dataclass(frozen=True)
class PlannedRows:
    """The rows of some updates, `updates`, chosen evenly from the first epoch and with those that hold most tokens."""

    schedule: Schedule
    updates: tuple[tuple[Row, ...], ...]
    heaviest: Row
    heaviest_update: tuple[Tree, ...]  # the samples that the owners in the heaviest row number
    accumulates: bool  # whether the heaviest row's update, or an equal one, has other rows too
    tokens_an_update: float


def rows_of(trees: Sequence[Tree], *, segments: bool, row_tokens: int, share: bool) -> list[Row]:
    """Lay samples into rows: under the token budget, or one path a row where the family needs that."""
    if segments:
        return plan_rows(trees, row_tokens, share=share)
    return [
        lay_row([Block.of(path, owner)]) for owner, tree in enumerate(trees) for path in single_paths(tree)
    ]


def _learned(recipe: Recipe, tree: Tree) -> Tree:
    """A sample with answers of the longest length allowed where they are drawn in training."""
    options = recipe.method
    if not isinstance(options, Grpo):
        return tree
    longest = Answer((0,) * options.max_new_tokens, None)
    return group(tree[0], [longest] * options.answers)


def planned_rows(recipe: Recipe, samples: Stored, *, segments: bool, row_tokens: int) -> PlannedRows:
    """Lay the samples of some updates as the loop will."""
    train, lengths = recipe.train, samples.lengths
    schedule = Schedule.of(train, len(lengths), updates_of(recipe.method))
    steps = range(min(schedule.steps_an_epoch, schedule.total_steps))
    most = max(1, _MOST_SAMPLES // recipe.samples_an_update)
    chosen = sorted({int(step) for step in np.linspace(0, len(steps) - 1, min(most, len(steps)))})
    evenly = len(chosen)
    if evenly < len(steps):
        # Any epoch may bring the longest samples together, and this one brings some of them.
        totals = [int(lengths[list(schedule.update(step))].sum()) for step in steps[: 50 * most]]
        chosen.append(int(np.argmax(totals)))
    share = train.share_prefixes == "auto"
    trees = [
        tuple(_learned(recipe, samples.tree(number)) for number in schedule.update(step)) for step in chosen
    ]
    updates = tuple(
        tuple(rows_of(some, segments=segments, row_tokens=row_tokens, share=share)) for some in trees
    )
    heaviest, accumulates, of_update = max(
        ((row, len(rows) > 1, at) for at, rows in enumerate(updates) for row in rows),
        key=lambda one: (len(one[0].tokens), len(one[0].targets), one[1]),
    )
    tokens = sum(len(row.tokens) for rows in updates[:evenly] for row in rows) / evenly
    return PlannedRows(schedule, updates[:evenly], heaviest, trees[of_update], accumulates, tokens)
