"""The ledger: what was read, kept, dropped and why. It is what data.json in the run folder holds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tunesmith.data.statistics import statistics_of
from tunesmith.data.store import SPLIT, TRUNCATED, SampleStore
from tunesmith.data.tally import Side


def ledger_of(side: Side, kept: SampleStore, train: SampleStore | None = None) -> dict[str, Any]:
    """The ledger of one side as data.json holds it.

    What is kept is counted from the samples themselves, never by subtraction. `tokens` are those of whole samples;
    `mean` to `max` are a sample's. `train` are the samples that are trained on, where `kept` are held out.

    Raises:
        AssertionError: a row was lost; that is a bug of this program, not of the user's data.
    """
    rows_kept = len(np.unique(kept.rows))
    if side.read != rows_kept + len(side.dropped):
        raise AssertionError(f"{side.read} rows read, {rows_kept} kept and {len(side.dropped)} dropped")
    return {
        "rows_read": side.read,
        "rows_kept": rows_kept,
        "rows_dropped": len(side.dropped),
        "dropped": [{"place": str(place), "reason": reason} for place, reason in side.dropped],
        "rows_truncated": kept.rows_changed(TRUNCATED),
        "rows_split": kept.rows_changed(SPLIT),
        "samples": len(kept),
        "tokens": _tokens(kept),
        **statistics_of(kept, train),
        "format": ", ".join(side.formats),
        "fingerprint": kept.fingerprint(),
    }


def _tokens(kept: SampleStore) -> dict[str, int | float]:
    lengths = np.sort(kept.lengths) if len(kept) else np.zeros(1, np.int32)
    return {
        "total": int(lengths.sum(dtype=np.int64)),
        "with_loss": int(kept.with_loss.sum(dtype=np.int64)),
        "mean": round(float(lengths.mean()), 2),
        "median": float(np.median(lengths)),
        "p95": int(lengths[math.ceil(0.95 * len(lengths)) - 1]),  # the nearest-rank definition
        "max": int(lengths[-1]),
    }
