"""No row is lost: what was read is kept or dropped, and what is kept is met once an epoch where batches are made."""

import json
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tunesmith.config.schema import Data
from tunesmith.data.build import build
from tunesmith.data.render import Renderer
from tunesmith.data.schema import Conversation
from tunesmith.segments import plan_rows
from tunesmith.train.order import Schedule

from .tiny import STEADY, chatml

LIMIT = 48
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=12)


def message(role, content):
    return {"role": role, "content": content}


GOOD = st.lists(st.tuples(TEXT, TEXT.filter(str.strip)), min_size=1, max_size=3).map(
    lambda turns: {"messages": [m for q, a in turns for m in (message("user", q), message("assistant", a))]}
)
LONG = st.sampled_from(["question", "answer"]).map(
    lambda where: {
        "messages": [
            message("user", "long " * (60 if where == "question" else 1)),
            message("assistant", "long " * (60 if where == "answer" else 1)),
        ]
    }
)
BAD = st.sampled_from(
    [
        {"messages": []},
        {"messages": [message("user", "q")]},
        {"messages": [message("user", "q"), message("assistant", "")]},
        {"messages": [message("assistant", "a")]},
        {"messages": 3},
        {"text": None},
        7,
    ]
)
ROWS = st.lists(st.one_of(GOOD, GOOD, LONG, BAD), max_size=8).flatmap(
    lambda rows: st.permutations([{"messages": [message("user", "q"), message("assistant", "a")]}] * 2 + rows)
)


@STEADY
@given(
    rows=ROWS,
    on_long=st.sampled_from(["drop", "split", "truncate"]),
    loss_on=st.sampled_from(["all_turns", "last_turn", "everything"]),
    share=st.sampled_from([None, 0.3]),
    an_update=st.integers(1, 5),
    shared=st.booleans(),
)
def test_every_row_is_kept_or_dropped_and_every_kept_one_is_met_once_an_epoch(
    tmp_path_factory, rows, on_long, loss_on, share, an_update, shared
):
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    data = Data.model_validate(
        {
            "train": [{"path": str(path), "format": "messages"}],
            "eval": share,
            "max_length": LIMIT,
            "on_long": on_long,
            "on_bad_row": "skip",
            "loss_on": loss_on,
            "cache": False,
        }
    )
    built = build(data, Conversation, Renderer(chatml()), 0)
    ledgers = [ledger for ledger in built.ledgers.values() if ledger]
    assert sum(ledger["rows_read"] for ledger in ledgers) == len(rows)
    dropped = {int(entry["place"].rpartition(":")[2]) for ledger in ledgers for entry in ledger["dropped"]}

    met = Counter()
    for side, ledger in zip(
        (built.train, built.eval), (built.ledgers["train"], built.ledgers["eval"]), strict=True
    ):
        if not ledger:
            continue
        assert ledger["rows_read"] == ledger["rows_kept"] + ledger["rows_dropped"]
        schedule = Schedule(len(side), an_update, 1, None, 0)
        samples = Counter()
        for step in range(schedule.total_steps):
            numbers = schedule.update(step)
            for row in plan_rows([side[number].tree for number in numbers], LIMIT, share=shared):
                samples.update({numbers[owner] for owner in set(row.owners)})
        assert set(samples) == set(range(len(side)))
        lines = {side.place(number).line for number in samples}
        assert len(lines) == ledger["rows_kept"]
        met.update(lines)
    assert set(met.values()) <= {1}
    assert set(met) | dropped == set(range(1, len(rows) + 1))
    assert not set(met) & dropped
    assert all(int(length) <= LIMIT for side in (built.train, built.eval) for length in side.longest)
