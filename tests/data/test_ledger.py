"""The ledger: sums that agree, and the shape that data.json has."""

import pytest

from tunesmith.data.ledger import ledger_of
from tunesmith.data.schema import Place, Stretch, Strip
from tunesmith.data.store import SPLIT, Draft, SampleStore, StoreWriter
from tunesmith.data.tally import Dropped, Side

PLACE = Place("rows.jsonl", 3, 2)


def sample(length, with_loss, change=0):
    return Draft((Strip([7] * length, (Stretch(length - with_loss, length, 1.0),)),), PLACE, change=change)


@pytest.fixture
def kept(tmp_path):
    def store(*rows):
        with StoreWriter(tmp_path / "s.arrow") as writer:
            for row in rows:
                writer.add(row)
        return SampleStore(tmp_path / "s.arrow")

    return store


def test_it_has_the_run_folders_shape(kept):
    side = Side(3, [Dropped(PLACE, "field 'output' is empty")], ["messages", "poetry"])
    ledger = ledger_of(side, kept([sample(10, 4)], [sample(20, 5, SPLIT), sample(3, 2, SPLIT)]))
    assert len(ledger["fingerprint"]) == 64
    expected = {
        "rows_read": 3,
        "rows_kept": 2,
        "rows_dropped": 1,
        "dropped": [{"place": "rows.jsonl:3", "reason": "field 'output' is empty"}],
        "rows_truncated": 0,
        "rows_split": 1,
        "samples": 3,
        "tokens": {"total": 33, "with_loss": 11, "mean": 11.0, "median": 10, "p95": 20, "max": 20},
        "format": "messages, poetry",
    }
    assert {key: ledger[key] for key in expected} == expected


def test_a_lost_row_is_a_bug(kept):
    with pytest.raises(AssertionError, match="2 rows read, 1 kept and 0 dropped"):
        ledger_of(Side(2), kept([sample(4, 1)]))


def test_p95_is_the_nearest_rank(kept):
    rows = [[sample(length, 1)] for length in range(1, 101)]
    assert ledger_of(Side(100), kept(*rows))["tokens"]["p95"] == 95


def test_nothing_kept_is_no_division_by_nothing(kept):
    assert ledger_of(Side(1, [Dropped(PLACE, "bad")]), kept())["tokens"]["max"] == 0
