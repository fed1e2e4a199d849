"""Samples as methods see them: their segments, how they were judged, and what the model before step 1 thought of them."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tunesmith import __version__
from tunesmith.config.words import counted
from tunesmith.data.cache import LAST_FILE, read_prepared
from tunesmith.data.schema import Place
from tunesmith.errors import InputError
from tunesmith.methods.base import Batch, Example, leaves_of
from tunesmith.models.policy import Policy
from tunesmith.rundir import FREE_AND_REPEAT, read_json, write_json
from tunesmith.segments import Piece, Tree
from tunesmith.train.rows import rows_of
from tunesmith.train.teacher import Teaching

log = logging.getLogger("tunesmith")

_AT_ONCE = 64  # samples that are laid into rows together
_FILE = "logprobs.npy"
_FORM = 2  # of the file and of what lies beside it; a change of it makes kept values anew


class Samples(Protocol):
    """Numbered samples; where there are many they lie on disk."""

    def __len__(self) -> int: ...

    def tree(self, at: int) -> Tree: ...

    def good(self, at: int) -> bool | None: ...

    def place(self, at: int) -> Place: ...


@dataclass(frozen=True)
class Examples:
    """Samples with what a method needs to know of them.

    Args:
        reference: [samples, leaves], or None where the method needs none.
        others: whether each prompt comes with the answer to another one too: that of the next sample.
        tail: tokens without loss that go behind each leaf: what the template writes behind an answer's end.
        teaching: what is kept of a teacher, or None.
    """

    samples: Samples
    reference: np.ndarray | None = None
    others: bool = False
    tail: tuple[int, ...] = ()
    teaching: Teaching | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def example(self, at: int) -> Example:
        reference = () if self.reference is None else tuple(self.reference[at].tolist())
        tree = _with_tail(self.samples.tree(at), self.tail)
        other = None
        if self.others:
            other = _with_answer_of(tree, self.samples.tree((at + 1) % len(self.samples)))
        known = None if self.teaching is None else self.teaching.of(at)
        return Example(tree, self.samples.good(at), reference, other, known)

    def place(self, at: int) -> Place:
        return self.samples.place(at)


def _with_tail(tree: Tree, tail: tuple[int, ...]) -> Tree:
    """The sample with more tokens behind each of its leaves."""
    if not tail:
        return tree
    parents = {piece.parent for piece in tree}
    return tuple(
        piece
        if number in parents
        else piece._replace(tokens=piece.tokens + tail, weights=piece.weights + (0.0,) * len(tail))
        for number, piece in enumerate(tree)
    )


def _with_answer_of(tree: Tree, stranger: Tree) -> Tree:
    """The prompt of one sample with the answer of another; each is one sequence that ends in an answer."""
    prompt, answer = tree[0], stranger[0]
    begins = next(at for at, weight in enumerate(prompt.weights) if weight)
    own = next(at for at, weight in enumerate(answer.weights) if weight)
    return (
        Piece(
            prompt.tokens[:begins] + answer.tokens[own:],
            prompt.weights[:begins] + answer.weights[own:],
            None,
            tuple(picture for picture in prompt.pictures if picture.start < begins),
        ),
    )


def batches_of(
    examples: Sequence[Example], *, segments: bool, row_tokens: int, share: bool, whole: bool
) -> list[Batch]:
    """Lay an update's samples into rows, and say which of these belong together.

    Args:
        segments: rows may hold several sequences; else one path a row, because the family needs that.
        row_tokens: the token budget of a row.
        share: what samples begin with is laid once.
        whole: all paths of a sample must be in one batch.
    """
    trees = [example.tree for example in examples]
    rows = rows_of(trees, segments=segments, row_tokens=row_tokens, share=share)
    if segments or not whole:
        return [Batch((row,), examples) for row in rows]
    return [Batch(tuple(own), examples) for _, own in groupby(rows, key=lambda row: row.owners[0])]


def reference_of(
    policy: Policy, samples: Any, *, others: bool, row_tokens: int, key: dict[str, Any] | None
) -> np.ndarray:
    """The log-probability of every leaf under the policy as it is now: [samples, leaves], fp32.

    All samples have as many leaves. It is computed once and kept in tunesmith's cache: later runs on the same data, with
    the same model, find it there.

    Args:
        samples: a SampleStore.
        others: as in `Examples`; the other answer's comes last.
        key: what the values depend on besides the samples; None: they are not kept.
    """
    wanted = None
    if key is not None:
        parts = [_FORM, __version__, samples.fingerprint(), others, row_tokens, key]
        wanted = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def is_good(folder: Path) -> bool:
        try:
            told = read_json(folder / LAST_FILE)
            # Before it is read: of a damaged file NumPy raises whatever its parser ran into.
            good = told.get("key") == wanted and told.get("digest") == _digest(folder / _FILE)
        except (InputError, OSError, AttributeError):
            good = False
        if not good:
            log.warning(
                "the reference values in %s are damaged or of another model; they are computed anew", folder
            )
        return good

    def write(folder: Path) -> None:
        log.info("reference log-probabilities of %s", counted(len(samples), "sample"))
        values = _computed(policy, Examples(samples, None, others), row_tokens)
        np.save(folder / _FILE, values)
        told = {"key": wanted, "digest": _digest(folder / _FILE)}
        write_json(folder / LAST_FILE, told, remedy=FREE_AND_REPEAT)

    def read(folder: Path) -> np.ndarray:
        return np.load(folder / _FILE, allow_pickle=False)

    values, _ = read_prepared(wanted, is_good, write, read)
    return values


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _computed(policy: Policy, samples: Examples, row_tokens: int) -> np.ndarray:
    found: list[list[float]] = []
    with policy.scoring_mode():
        for begin in range(0, len(samples), _AT_ONCE):
            numbers = range(begin, min(begin + _AT_ONCE, len(samples)))
            examples = [samples.example(number) for number in numbers]
            found += _leaf_logprobs(policy, examples, row_tokens)
    return np.array(found, np.float32)


def _leaf_logprobs(policy: Policy, examples: Sequence[Example], row_tokens: int) -> list[list[float]]:
    """Of each example the log-probabilities of its leaves in order, then that of the other answer."""
    values: list[list[float]] = [[] for _ in examples]
    others = [Example(example.other) for example in examples if example.other is not None]
    for trees in (examples, others):
        for batch in batches_of(
            trees, segments=policy.segments, row_tokens=row_tokens, share=True, whole=True
        ):
            leaves = leaves_of(policy, batch)
            for owner, value in zip(leaves.owners, leaves.logprobs.tolist(), strict=True):
                values[owner].append(value)
    return values
