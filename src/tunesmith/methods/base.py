"""What a method is: which samples it consumes, and a pure loss.

A method never divides, accumulates, clips or steps; the loop does, for all methods alike. It says beforehand what an
update weighs in total (`plan`), and for each row it gives sums, so that eight samples at once make the same update as
one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from torch import Tensor

from tunesmith.segments import Row, Tree


class Term(NamedTuple):
    """One term of a loss over one row: the update's loss is the sum over rows of `coefficient * sum / total weight`.

    `name` finds the total weight in what `plan` gave for the whole update.
    """

    name: str
    sum: Tensor
    coefficient: float = 1.0


class Method(Protocol):
    """One small file a method."""

    consumes: type  # the sample type: Conversation, Text, ...

    def plan(self, samples: Sequence[Tree]) -> dict[str, float]:
        """The total weight of each term over one update's samples."""

    def loss(self, policy: Callable[[Row], Tensor], row: Row) -> list[Term]:
        """The terms of one row; `policy(row)` gives the log-probabilities [R] of its targets."""
