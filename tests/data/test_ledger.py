"""The ledger: sums that agree, and the shape that data.json has."""

import pytest

from tunesmith.data.ledger import Ledger, drop_reason, loss_tokens
from tunesmith.data.schema import BadRow, Place, Sample
from tunesmith.segments import Piece, tree_targets

PLACE = Place("rows.jsonl", 3, 2)


def sample(length, with_loss, first=7):
    weights = (0.0,) * (length - with_loss) + (1.0,) * with_loss
    return Sample((Piece((first,) * length, weights),), PLACE)


def test_as_dict_has_the_run_folders_shape():
    ledger = Ledger()
    ledger.read(3)
    ledger.speaks("messages")
    ledger.speaks("poetry")
    ledger.speaks("messages")
    ledger.keep([sample(10, 4)])
    ledger.keep([sample(20, 5), sample(3, 2)])
    ledger.drop(PLACE, "field 'output' is empty")
    content = ledger.as_dict()
    fingerprint = content.pop("fingerprint")
    assert len(fingerprint) == 64
    assert content == {
        "rows_read": 3,
        "rows_kept": 2,
        "rows_dropped": 1,
        "dropped": [{"place": "rows.jsonl:3", "reason": "field 'output' is empty"}],
        "tokens": {"total": 33, "with_loss": 11, "mean": 11.0, "median": 10, "p95": 20, "max": 20},
        "format": "messages, poetry",
    }


def test_a_lost_row_is_a_bug():
    ledger = Ledger()
    ledger.read(2)
    ledger.keep([sample(4, 1)])
    with pytest.raises(AssertionError, match="2 rows read, 1 kept and 0 dropped"):
        ledger.as_dict()


def test_p95_is_the_nearest_rank():
    ledger = Ledger()
    ledger.read(100)
    for length in range(1, 101):
        ledger.keep([sample(length, 0)])
    assert ledger.as_dict()["tokens"]["p95"] == 95


def test_fingerprint_follows_tokens_weights_and_order():
    def fingerprint(*samples):
        ledger = Ledger()
        ledger.read(1)
        ledger.keep(samples)
        return ledger.as_dict()["fingerprint"]

    base = fingerprint(sample(4, 1), sample(5, 1))
    assert base == fingerprint(sample(4, 1), sample(5, 1))
    assert base != fingerprint(sample(5, 1), sample(4, 1))
    assert base != fingerprint(sample(4, 2), sample(5, 1))
    assert base != fingerprint(sample(4, 1, first=8), sample(5, 1))


@pytest.mark.parametrize(
    "tree",
    [
        (Piece((1, 2, 3), (1.0, 1.0, 0.0)),),
        (Piece((1, 2), (0.0, 0.0)), Piece((3, 4), (1.0, 0.5), 0)),
        (Piece((1,), (1.0,)),),
    ],
)
def test_loss_tokens_are_those_that_something_predicts(tree):
    assert loss_tokens(tree) == len(tree_targets(tree))


def test_reason_has_no_place():
    assert (
        drop_reason(BadRow("it is a list", where="f:1", expected="a string"))
        == "it is a list; expected a string"
    )
