"""The way of rows from a file to the store: what is noticed, what is refused, what many bad rows cannot do."""

import json

import pytest

from tunesmith.config.schema import Data
from tunesmith.data.build import build
from tunesmith.data.render import Renderer
from tunesmith.data.schema import Conversation, Text
from tunesmith.errors import InputError

from .tiny import byte_level, chatml


def chat(question, answer, **more):
    return {
        "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer, **more}]
    }


@pytest.fixture
def built(tmp_path):
    def build_rows(rows, *, name="rows.jsonl", consumes=Conversation, renderer=None, source=None, **settings):
        lines = rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / name).write_text(lines, "utf-8")
        train = {"path": str(tmp_path / name), **(source or {})}
        data = Data.model_validate({"train": train, "cache": False, **settings})
        return build(data, consumes, renderer or Renderer(chatml()), 0)

    return build_rows


def test_good_rows_behind_a_thousand_broken_ones_are_read(built):
    lines = '{"messages": \n' * 1001 + json.dumps(chat("q", "a")) + "\n"
    ledger = built(lines, on_bad_row="skip").ledgers["train"]
    assert (ledger["rows_read"], ledger["rows_kept"], ledger["rows_dropped"]) == (1002, 1, 1001)


def test_an_id_that_stands_twice_is_told_even_on_one_line(built):
    row = {"id": 1, "topic": "t", "input": "q", "output": "a"}
    with pytest.raises(InputError, match="field 'id' of row 2 is '1', which row 1 has too"):
        built(json.dumps([row, row]), name="rows.json")


def test_a_weight_out_of_range_is_told(built):
    with pytest.raises(InputError, match=r"weight 1e\+300 times the source's 1e\+100 is inf"):
        built([chat("q", "a", weight=1e300)], source={"weight": 1e100})


def test_every_token_means_every_token(built):
    rows = [
        {"messages": [*chat("q", "a", weight=0)["messages"], *chat("r", "b")["messages"]]},
    ]
    (sample,) = built(rows, loss_on="everything").train
    (piece,) = sample.tree
    assert set(piece.weights) == {1.0}


def test_a_split_chat_under_everything_loses_no_part(built):
    turns = [m for at in range(6) for m in chat(f"question {at} " * 2, f"answer {at} " * 2)["messages"]]
    data = built([{"messages": turns}], loss_on="everything", on_long="split", max_length=80)
    renderer = Renderer(chatml())
    text = "".join(renderer.tokenizer.decode(list(p.tokens)) for s in data.train for p in s.tree)
    assert all(text.count(f"answer {at} answer {at}") == 1 for at in range(6))
    assert data.ledgers["train"]["rows_split"] == 1 and len(data.train) > 1
    assert all(set(piece.weights) == {1.0} for sample in data.train for piece in sample.tree)


def test_special_tokens_in_texts_are_told(built):
    renderer = Renderer(byte_level(("<|end|>",), "<|end|>", None))
    data = built([{"text": "one<|end|>two"}, {"text": "three"}], consumes=Text, renderer=renderer)
    assert any("1 row, the first at" in note and "tokens they name" in note for note in data.notes)


def test_notes_count_kept_rows_only(built):
    data = built(
        [chat("<|im_end|>", "a"), chat("<|im_end|>" + "long " * 99, "b")], max_length=64, on_long="drop"
    )
    (note,) = (note for note in data.notes if "read as plain text" in note)
    assert ": 1 row, the first at" in note


def test_preferences_are_refused_or_their_better_side_learned(built):
    rows = [
        {"messages": chat("q", "good")["messages"], "label": True},
        {"messages": chat("q", "bad")["messages"], "label": False},
    ]
    with pytest.raises(InputError, match="preferences: chosen"):
        built(rows)


def test_thoughts_kept_or_dropped_are_counted(built):
    rows = [chat("q", "<think>hm</think>a"), chat("r", "b")]
    data = built(rows, thinking="drop")
    assert [sample.answer for sample in data.train] == ["a", "b"]
    assert any("is left out: 1 row" in note for note in data.notes)
