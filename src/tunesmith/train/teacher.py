"""What a distilled model learns from: a teacher in memory, or what was kept of what it said."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tunesmith import __version__
from tunesmith.config.words import counted
from tunesmith.data.cache import LAST_FILE, PassingFolder, read_prepared
from tunesmith.errors import InputError
from tunesmith.kernels.head import CHUNK
from tunesmith.methods.base import Example, Known, Taught, Teacher
from tunesmith.models.policy import Policy
from tunesmith.rundir import FREE_AND_REPEAT, read_json, write_json
from tunesmith.segments import Block, Piece, Row, Tree, lay_row, single_paths
from tunesmith.train.rows import rows_of

log = logging.getLogger("tunesmith")

_AT_ONCE = 64  # samples that are laid into rows together
_TOKENS, _LOGPROBS, _FIRST = "tokens.npy", "logprobs.npy", "first.npy"


@dataclass(frozen=True)
class LiveTeacher:
    """A model that is asked at every step.

    Args:
        vocabulary: how many tokens teacher and student share; what their heads have beyond is padding.
        temperature: what logits are divided by.
    """

    policy: Policy
    vocabulary: int
    temperature: float

    def __call__(self, row: Row) -> Callable[[Tensor], Taught]:
        with self.policy.scoring_mode():
            if self.policy.segments or len(row.plan.segments) == 1:
                logits_of = self.policy.logits_of(row)
            else:
                logits_of = self._path_by_path(row)

        def told(at: Tensor) -> Taught:
            with torch.no_grad():
                logits = logits_of(at)[:, : self.vocabulary] / self.temperature
                return Taught(logits.log_softmax(-1), self.vocabulary)

        return told

    def _path_by_path(self, row: Row) -> Callable[[Tensor], Tensor]:
        """What `Policy.logits_of` gives, from a model whose rows are single sequences."""
        if row.pictures:
            raise InputError(
                "the teacher's family takes one sequence a row, which is not done here with pictures",
                where="method.teacher",
                remedy="choose a teacher of the student's own family",
            )
        numbers: list[int] = []
        parts: list[Tensor] = []
        for _, tokens, own in _paths_of(row):
            numbers += own
            learned = {row.plan.positions[row.targets[number].position] + 1 for number in own}
            weights = tuple(float(at in learned) for at in range(len(tokens)))
            alone = lay_row([Block.of((Piece(tokens, weights),))])
            parts.append(self.policy.logits_of(alone)(torch.arange(len(own), device=self.policy.device)))
        logits = torch.cat(parts)[torch.tensor(numbers).argsort().to(self.policy.device)]
        return lambda at: logits[at]

    def of(self, examples: Sequence[Example]) -> Teacher:
        return self


@dataclass(frozen=True)
class KeptTeacher:
    """Says again what is kept with the examples."""

    vocabulary: int

    def of(self, examples: Sequence[Example]) -> Teacher:
        """The teacher of these examples, which the owners in rows number."""

        def teacher(row: Row) -> Callable[[Tensor], Taught]:
            kept: list[Known | None] = [None] * len(row.targets)
            for owner, path, numbers in _paths_of(row):
                known = examples[owner].known
                assert known is not None
                first = _first_targets(examples[owner].tree)[path]
                for step, number in enumerate(numbers):
                    kept[number] = Known(known.tokens[first + step], known.logprobs[first + step])
            tokens = torch.from_numpy(np.stack([one.tokens for one in kept if one]).astype(np.int64))
            logprobs = torch.from_numpy(np.stack([one.logprobs for one in kept if one]))
            return lambda at: Taught(logprobs.to(at.device)[at], self.vocabulary, tokens.to(at.device)[at])

        return teacher


@dataclass(frozen=True)
class Teaching:
    """The likeliest tokens of a teacher for every target of numbered samples, in files.

    Args:
        tokens, logprobs: [targets, k].
        first: [samples + 1], where the targets of each sample begin: path by path, in the order of its tree.
        folder: where the files are, if they go with this.
    """

    tokens: np.ndarray
    logprobs: np.ndarray
    first: np.ndarray
    folder: PassingFolder | None = None

    def of(self, sample: int) -> Known:
        own = slice(int(self.first[sample]), int(self.first[sample + 1]))
        return Known(self.tokens[own], self.logprobs[own])


def keep_teaching(
    ask: Callable[[], LiveTeacher], samples: Any, k: int, *, row_tokens: int, key: dict[str, Any] | None
) -> Teaching:
    """The `k` likeliest tokens of a teacher for every target: computed now, or found in tunesmith's cache.

    Args:
        ask: loads the teacher, where it must be asked.
        samples: a SampleStore.
        key: what the values depend on besides the samples; None: they are not kept.
    """
    wanted = None
    if key is not None:
        parts = [__version__, "teaching", samples.fingerprint(), k, row_tokens, key]
        wanted = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def is_good(folder: Path) -> bool:
        try:  # of the files as they lie there: NumPy has many ways to fail at a damaged one
            good = read_json(folder / LAST_FILE) == {"key": wanted, "digest": _digest(folder)}
        except (InputError, OSError):
            good = False
        if not good:
            log.warning("what was kept of the teacher in %s is damaged; it is asked anew", folder)
        return good

    def write(folder: Path) -> None:
        log.info("asking the teacher about %s", counted(len(samples), "sample"))
        parts = list(_teaching_of(ask(), samples, k, row_tokens))
        np.save(folder / _TOKENS, np.concatenate([part.tokens for part in parts]))
        np.save(folder / _LOGPROBS, np.concatenate([part.logprobs for part in parts]))
        np.save(folder / _FIRST, np.cumsum([0, *(len(part.tokens) for part in parts)]))
        write_json(folder / LAST_FILE, {"key": wanted, "digest": _digest(folder)}, remedy=FREE_AND_REPEAT)

    def read(folder: Path) -> Teaching:
        return Teaching(
            *(
                np.load(folder / name, mmap_mode="r", allow_pickle=False)
                for name in (_TOKENS, _LOGPROBS, _FIRST)
            )
        )

    found, folder = read_prepared(wanted, is_good, write, read)
    return Teaching(found.tokens, found.logprobs, found.first, folder)


def _digest(folder: Path) -> list[str]:
    found = []
    for name in (_TOKENS, _LOGPROBS, _FIRST):
        with (folder / name).open("rb") as file:
            found.append(hashlib.file_digest(file, "sha256").hexdigest())
    return found


def _teaching_of(teacher: LiveTeacher, samples: Any, k: int, row_tokens: int) -> Iterator[Known]:
    """What is known of each sample, in order."""
    k = min(k, teacher.vocabulary)
    for begin in range(0, len(samples), _AT_ONCE):
        trees = [samples.tree(at) for at in range(begin, min(begin + _AT_ONCE, len(samples)))]
        sizes = [sum(len(targets) for _, targets in _paths(tree)) for tree in trees]
        found = [Known(np.zeros((n, k), np.int32), np.zeros((n, k), np.float32)) for n in sizes]
        for row in rows_of(trees, segments=teacher.policy.segments, row_tokens=row_tokens, share=True):
            tokens, logprobs = _likeliest(teacher, row, k)
            for owner, path, numbers in _paths_of(row):
                first = _first_targets(trees[owner])[path]
                own = slice(first, first + len(numbers))
                found[owner].tokens[own], found[owner].logprobs[own] = tokens[numbers], logprobs[numbers]
        yield from found


def _likeliest(teacher: LiveTeacher, row: Row, k: int) -> tuple[np.ndarray, np.ndarray]:
    told = teacher(row)
    numbers = torch.arange(len(row.targets), device=teacher.policy.device)
    best = [told(at).logprobs.topk(k, -1) for at in numbers.split(CHUNK)]
    tokens, logprobs = (torch.cat(one) for one in zip(*((b.indices, b.values) for b in best), strict=True))
    return tokens.int().cpu().numpy(), logprobs.cpu().numpy()


# The paths of a sample are known again by their tokens, wherever in a row they lie.


def _paths(tree: Tree) -> list[tuple[tuple[int, ...], list[int]]]:
    """The tokens of each path of a sample, and which of them are to be predicted."""
    found = []
    for (path,) in single_paths(tree):
        found.append((path.tokens, [at for at, weight in enumerate(path.weights) if weight and at]))
    return found


def _first_targets(tree: Tree) -> dict[tuple[int, ...], int]:
    """For each path of a sample, by its tokens, how many targets stand before its own."""
    known: dict[tuple[int, ...], int] = {}
    first = 0
    for tokens, targets in _paths(tree):
        known.setdefault(tokens, first)
        first += len(targets)
    return known


def _paths_of(row: Row) -> Iterator[tuple[int, tuple[int, ...], list[int]]]:
    """The paths of a row that have something to predict: their owner, their tokens, the numbers of their targets."""
    by_leaf: dict[int, list[int]] = {}
    for number, target in enumerate(row.targets):
        by_leaf.setdefault(target.leaf, []).append(number)
    for leaf, numbers in by_leaf.items():
        tokens = tuple(row.tokens[position] for position in row.plan.path_positions(leaf))
        yield row.owners[leaf], tokens, sorted(numbers, key=lambda number: row.targets[number].position)
