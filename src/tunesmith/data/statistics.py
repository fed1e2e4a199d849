"""What can be counted in prepared samples: lengths, duplicates, what stands on both sides, labels.

Everything works on numbers of a few bytes a sample. Texts are read one after the other and kept as 8-byte hashes.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np

from tunesmith.data.split import folded
from tunesmith.data.store import SampleStore

FIRST_SHOWN = 5
_FEWEST_BINS, _MOST_BINS = 3, 12
_MOST_LABELS, _FEWEST_ROWS_A_LABEL, _LONGEST_LABEL = 50, 3, 59
# A question that more samples share than this many, and than this share of all, is an instruction, as in data split.
_INSTRUCTION_SAMPLES, _INSTRUCTION_SHARE = 20, 0.05

Pairs = list[list[str]]


def statistics_of(kept: SampleStore, train: SampleStore | None = None) -> dict[str, Any]:
    """The counts of one side as data.json holds them.

    Args:
        kept: the samples of the side.
        train: where `kept` is held out, the samples that are trained on.
    """
    asked = questions(kept)
    total, with_loss = int(kept.lengths.sum(dtype=np.int64)), int(kept.with_loss.sum(dtype=np.int64))
    found: dict[str, Any] = {
        "loss_share": round(with_loss / total, 4) if total else 0.0,
        "histogram": histogram(kept.lengths),
        "longest": longest(kept),
        "duplicates": duplicates(kept),
        "contradictions": contradictions(kept, asked),
        "labels": labels(kept),
    }
    return found if train is None else found | {"leaked": leaked(kept, train, asked)}


def histogram(lengths: np.ndarray) -> list[list[int]]:
    """At most 12 bins `[low, high, count]`, fewer of few samples, both ends included, of a width that is easy to read.

    The last bin goes on to the greatest length: a few very long samples would flatten all the others.
    """
    if not len(lengths):
        return []
    least, most = int(lengths.min()), int(lengths.max())
    nearly_most = int(np.sort(lengths)[math.ceil(0.99 * (len(lengths) - 1))])
    most_bins = min(
        _MOST_BINS, max(_FEWEST_BINS, math.isqrt(len(lengths)))
    )  # few samples leave most of many empty
    width = next(w for w in _round_numbers() if nearly_most // w - least // w < most_bins)
    lows = np.arange(least // width, nearly_most // width + 1) * width
    counts = np.bincount(np.minimum(lengths // width - lows[0] // width, len(lows) - 1), minlength=len(lows))
    highs = [*(lows[1:] - 1), max(most, int(lows[-1]) + width - 1)]
    return [[int(low), int(high), int(n)] for low, high, n in zip(lows, highs, counts, strict=True)]


def _round_numbers() -> Iterator[int]:
    for power in count():
        yield from (10**power, 2 * 10**power, 5 * 10**power)


def longest(kept: SampleStore) -> list[dict[str, Any]]:
    """The rows with the longest samples, the longest first; of equal ones the earlier first."""
    return [
        {"place": str(kept.place(at)), "tokens": int(kept.lengths[at])}
        for at in longest_numbers(kept.lengths, kept.rows)
    ]


def longest_numbers(lengths: np.ndarray, rows: np.ndarray) -> list[int]:
    """The numbers of the longest samples, one a row. Samples of one row stand together."""
    if not len(lengths):
        return []
    # Partition first: of a million rows only those that may be among the longest are put in order.
    of_rows = np.maximum.reduceat(lengths, np.flatnonzero(np.diff(rows, prepend=rows[0] - 1)))
    least = np.partition(of_rows, -FIRST_SHOWN)[-FIRST_SHOWN] if len(of_rows) > FIRST_SHOWN else 0
    candidates = np.flatnonzero(lengths >= least)
    ordered = candidates[np.argsort(-lengths[candidates].astype(np.int64), kind="stable")]
    _, first_of_row = np.unique(rows[ordered], return_index=True)
    return [int(at) for at in ordered[np.sort(first_of_row)][:FIRST_SHOWN]]


def labels(kept: SampleStore) -> dict[str, int] | None:
    """How often each answer is given, the most frequent first; None where answers are no labels.

    They are if they are short, few, and each is given a few times.
    """
    counts: Counter[str] = Counter()
    for answer in kept.column("answer"):
        if answer is None or len(answer) > _LONGEST_LABEL:
            return None
        counts[answer] += 1
        if len(counts) > _MOST_LABELS:
            return None
    if not counts or len(kept) < _FEWEST_ROWS_A_LABEL * len(counts):
        return None
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


# --- the same sample twice ----------------------------------------------------------------------------------------


def duplicates(kept: SampleStore) -> dict[str, Any]:
    """Rows with a sample that an earlier row has too, token for token, and the first such pairs: earlier, later."""
    first = _first_equal(identities(kept))
    again = np.flatnonzero(kept.rows[first] != kept.rows)
    return {
        "rows": len(np.unique(kept.rows[again])),
        "first": _pairs(kept, first[again], kept, again),
    }


def contradictions(kept: SampleStore, asked: np.ndarray) -> dict[str, Any]:
    """Rows that answer an earlier row's question in another way, and the first such pairs: earlier, later."""
    asked = _without_instructions(asked)
    shared = np.flatnonzero(_stands_twice(asked) & (asked != 0))
    answers = _hashes(kept, "answer", shared)
    first = _first_equal(asked[shared])
    otherwise = (answers != answers[first]) & (kept.rows[shared] != kept.rows[shared[first]])
    return {
        "rows": len(np.unique(kept.rows[shared[otherwise]])),
        "first": _pairs(kept, shared[first[otherwise]], kept, shared[otherwise]),
    }


def leaked(held_out: SampleStore, train: SampleStore, asked: np.ndarray) -> dict[str, Any]:
    """Held-out rows that are trained on, and the first pairs: held out, trained on.

    A row leaks if a sample of it stands among the training samples token for token, or if its question does, but for
    case, blanks and punctuation. `whole` counts the former alone.
    """
    whole = _first_in(identities(held_out), identities(train))
    both = _without_instructions(np.concatenate([asked, questions(train)]))
    mine, theirs = both[: len(asked)], both[len(asked) :]
    same_question = np.where(mine == 0, -1, _first_in(mine, theirs))
    found = np.where(whole >= 0, whole, same_question)
    leaks = np.flatnonzero(found >= 0)
    return {
        "rows": len(np.unique(held_out.rows[leaks])),
        "whole": len(np.unique(held_out.rows[whole >= 0])),
        "first": _pairs(held_out, leaks, train, found[leaks]),
    }


def _pairs(left: SampleStore, lefts: np.ndarray, right: SampleStore, rights: np.ndarray) -> Pairs:
    """The places of the first pairs of rows, each pair once however many samples they have in common."""
    others = right.rows[rights]
    pairs = left.rows[lefts] * (others.max(initial=0) + 1) + others
    _, first = np.unique(pairs, return_index=True)
    return [
        [str(left.place(int(lefts[at]))), str(right.place(int(rights[at])))]
        for at in np.sort(first)[:FIRST_SHOWN]
    ]


# --- numbers for samples and texts --------------------------------------------------------------------------------


def identities(store: SampleStore) -> np.ndarray:
    """16 bytes a sample, the same for equal samples: the digest, and with pictures their files.

    A picture's tokens say how large it is, and not what it shows.
    """
    words = store.digests.view("<u8").reshape(-1, 2).copy()
    pictured = np.flatnonzero(store.pictures)
    if len(pictured):
        words[pictured, 1] ^= _hashes(store, "images", pictured)
    return words.view("V16").reshape(-1)


def questions(store: SampleStore) -> np.ndarray:
    """8 bytes a sample, the same for equal questions (case, blanks and punctuation aside); 0 where none is asked."""
    asked = np.fromiter(map(_hash_of_question, store.column("prompt")), np.uint64, len(store))
    pictured = np.flatnonzero(store.pictures)
    if len(pictured):
        asked[pictured] ^= _hashes(store, "images", pictured)
    return asked


def _hash_of_question(prompt: str | None) -> int:
    question = folded(prompt) if prompt else ""
    return _hash(question) if question else 0


def _hash(value: Any) -> int:
    text = value if isinstance(value, str) else repr(value)
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    number: int = struct.unpack("<Q", digest)[0]
    return number


def _hashes(store: SampleStore, name: str, chosen: np.ndarray) -> np.ndarray:
    return np.fromiter(map(_hash, store.select(chosen).column(name)), np.uint64, len(chosen))


def _without_instructions(asked: np.ndarray) -> np.ndarray:
    """The questions, those that very many samples share struck out: they say nothing of the single sample."""
    _, inverse, counts = np.unique(asked, return_inverse=True, return_counts=True)
    most = max(_INSTRUCTION_SAMPLES, _INSTRUCTION_SHARE * len(asked))
    return np.where(counts[inverse] > most, 0, asked).astype(np.uint64)


def _stands_twice(numbers: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse] > 1)


def _first_equal(values: np.ndarray) -> np.ndarray:
    """For each value the number of the first one equal to it."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    return np.asarray(first[inverse])


def _first_in(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each value the number of the first of the others equal to it, or -1."""
    if not len(others):
        return np.full(len(values), -1)
    kinds, first = np.unique(others, return_index=True)
    at = np.minimum(np.searchsorted(kinds, values), len(kinds) - 1)
    return np.where(kinds[at] == values, first[at], -1)
