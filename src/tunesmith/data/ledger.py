"""The ledger: what was read, kept, dropped and why. It is what data.json in the run folder holds."""

from __future__ import annotations

import hashlib
import math
import statistics
import struct
from collections.abc import Sequence
from typing import Any

from tunesmith.data.schema import BadRow, Place, Sample
from tunesmith.segments import Tree, tree_length


class Ledger:
    """Counts the rows of one side, training or held-out.

    What is kept is counted from the samples themselves, never by subtraction, and `as_dict` insists that the sums
    agree.
    """

    def __init__(self) -> None:
        self.rows_read = 0
        self.rows_kept = 0
        self.dropped: list[dict[str, str]] = []
        self.formats: list[str] = []
        self._lengths: list[int] = []
        self._with_loss = 0
        self._digest = hashlib.sha256()

    def read(self, rows: int) -> None:
        """So many rows were read."""
        self.rows_read += rows

    def keep(self, samples: Sequence[Sample]) -> None:
        """A row was kept; these are its samples (several where a text was cut)."""
        self.rows_kept += 1
        for sample in samples:
            self._lengths.append(tree_length(sample.tree))
            self._with_loss += loss_tokens(sample.tree)
            self._digest.update(_bytes_of(sample.tree))

    def drop(self, place: Place, reason: str) -> None:
        """A row was dropped."""
        self.dropped.append({"place": str(place), "reason": reason})

    def speaks(self, format: str) -> None:
        """A source has this format."""
        if format not in self.formats:
            self.formats.append(format)

    def as_dict(self) -> dict[str, Any]:
        """The ledger as data.json holds it. `tokens` are those of whole samples; `mean` to `max` are a sample's.

        Raises:
            AssertionError: a row was lost; that is a bug of this program, not of the user's data.
        """
        if self.rows_read != self.rows_kept + len(self.dropped):
            raise AssertionError(
                f"{self.rows_read} rows read, {self.rows_kept} kept and {len(self.dropped)} dropped"
            )
        return {
            "rows_read": self.rows_read,
            "rows_kept": self.rows_kept,
            "rows_dropped": len(self.dropped),
            "dropped": list(self.dropped),
            "tokens": self._tokens(),
            "format": ", ".join(self.formats),
            "fingerprint": self._digest.hexdigest(),
        }

    def _tokens(self) -> dict[str, int | float]:
        lengths = sorted(self._lengths) or [0]
        return {
            "total": sum(lengths),
            "with_loss": self._with_loss,
            "mean": round(statistics.fmean(lengths), 2),
            "median": statistics.median(lengths),
            "p95": lengths[math.ceil(0.95 * len(lengths)) - 1],  # the nearest-rank definition
            "max": lengths[-1],
        }


def loss_tokens(tree: Tree) -> int:
    """How many tokens of a sample carry loss; the first token of a root has nothing to be predicted from."""
    return sum(
        sum(map(bool, piece.weights)) - int(piece.parent is None and bool(piece.weights[0])) for piece in tree
    )


def drop_reason(error: BadRow) -> str:
    """Why a row was dropped, without its place."""
    return f"{error.found}; expected {error.expected}" if error.expected else error.found


def _bytes_of(tree: Tree) -> bytes:
    """The same bytes for the same tokens, weights and shape on every machine."""
    parts = []
    for tokens, weights, parent in tree:
        size = len(tokens)
        parts.append(
            struct.pack(f"<2q{size}q{size}d", size, -1 if parent is None else parent, *tokens, *weights)
        )
    return b"".join([struct.pack("<q", len(tree)), *parts])
