"""The whole data flow: every row accounted for, every problem told at once, the held-out share."""

import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.config.schema import Data
from tunesmith.data.build import build
from tunesmith.data.render import Renderer
from tunesmith.data.schema import Conversation, Text
from tunesmith.errors import InputError, Problems

from .tiny import CHATML, STEADY, byte_level, chatml

SAMPLES = Path(__file__).parents[2] / "src" / "tunesmith" / "samples" / "poetry"
GOOD = {"prompt": "q", "completion": "a"}
BAD = {"prompt": "q", "completion": " "}


def pair(prompt="q", completion="a"):
    return {"prompt": prompt, "completion": completion}


@pytest.fixture
def write(tmp_path):
    def writer(*rows, name="rows.jsonl"):
        path = tmp_path / name
        path.write_text(
            "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n", "utf-8"
        )
        return str(path)

    return writer


def build_chats(train, *, seed=0, renderer=None, **settings):
    return build(Data(train=train, **settings), Conversation, renderer or Renderer(chatml()), seed)


def build_texts(train, *, seed=0, **settings):
    return build(Data(train=train, **settings), Text, Renderer(chatml()), seed, method="pretrain")


def error_of(call, *arguments, **settings) -> InputError:
    with pytest.raises(InputError) as caught:
        call(*arguments, **settings)
    return caught.value


def test_rows_become_samples_in_order(write):
    first, second = (
        write(pair("q1", "a1"), pair("q2", "a2"), name="a.jsonl"),
        write(pair("q3", "a3"), name="b.jsonl"),
    )
    data = build_chats([first, second])
    assert [(s.prompt, s.answer, str(s.place)) for s in data.train] == [
        ("q1", "a1", f"{first}:1"),
        ("q2", "a2", f"{first}:2"),
        ("q3", "a3", f"{second}:1"),
    ]
    assert len(data.eval) == 0
    assert data.ledgers["eval"] is None
    assert data.formats == {first: "prompt_completion", second: "prompt_completion"}
    assert f"{first}: format prompt_completion, detected" in data.notes


def test_of_many_files_of_one_format_the_first_few_are_named(tmp_path):
    for number in range(12):
        (tmp_path / f"{number}.txt").write_text("the quick brown fox", "utf-8")
    named = tmp_path / "rows.jsonl"
    named.write_text('{"text": "the lazy dog"}\n', "utf-8")
    data = build_texts([str(tmp_path / "*.txt"), {"path": str(named), "format": "text"}])
    (how,) = {
        note.partition(": format ")[2]
        for note in data.notes
        if note.startswith(f"{tmp_path / '0.txt'}: format")
    }
    assert how.endswith(", detected")
    said = [note for note in data.notes if f"format {how}" in note]
    assert said == [
        *(f"{tmp_path / f'{number}.txt'}: format {how}" for number in range(5)),
        f"and 7 more files: format {how}",
    ]
    assert f"{named}: format text" in data.notes
    assert len(data.formats) == 13


def test_special_tokens_in_texts_are_told(write):
    data = build_texts([write({"text": "fox"}, {"text": "the <|im_end|> fox"})])
    assert any(note.startswith("special tokens stand in texts") and "1 row" in note for note in data.notes)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are UTF-16 or UTF-8 there")
def test_a_file_whose_name_is_no_utf_8_is_named_with_the_remedy(tmp_path):
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / os.fsdecode(b"\xff.jsonl")).write_text(json.dumps(GOOD) + "\n", "utf-8")
    message = str(error_of(build_chats, [str(tmp_path / "rows")]))
    assert message == (
        f"{tmp_path}/rows/\\xff.jsonl: the file's name is no UTF-8. Rename what is shown with a backslash."
    )


def test_ledger_counts_and_token_numbers(write):
    data = build_chats([write(GOOD, GOOD)])
    ledger = data.ledgers["train"]
    assert (ledger["rows_read"], ledger["rows_kept"], ledger["rows_dropped"]) == (
        2,
        2,
        0,
    )  # duplicates are the user's
    assert ledger["tokens"]["total"] == sum(len(s.tree[0].tokens) for s in data.train)
    assert ledger["tokens"]["with_loss"] == 4  # "a" and the stop token, twice
    assert ledger["format"] == "prompt_completion"
    json.dumps(data.ledgers, allow_nan=False)


def test_last_turns_are_the_samples_prompt_and_answer(write):
    turns = [("system", "s"), ("user", "q1"), ("assistant", "a1"), ("user", "q2"), ("assistant", "a2")]
    data = build_chats([write({"messages": [{"role": role, "content": content} for role, content in turns]})])
    assert (data.train[0].prompt, data.train[0].answer) == ("q2", "a2")


@pytest.mark.parametrize("name", ["training_data.json", "quatrains.json"])
def test_shipped_samples_are_kept_whole(name):
    if not (SAMPLES / name).is_file():
        pytest.skip(f"no sample {name} here")
    data = build_chats([str(SAMPLES / name)])
    assert data.ledgers["train"]["format"] == "poetry"
    assert data.ledgers["train"]["rows_dropped"] == 0
    assert len(data.train) >= 5


# --- bad rows ------------------------------------------------------------------------------------------------------


def test_all_problems_of_all_files_are_told_at_once(write):
    first = write(GOOD, BAD, {"prompt": "q"}, name="a.jsonl")
    second = write(GOOD, '{"prompt": ', name="b.jsonl")
    error = error_of(build_chats, [first, "nowhere.json", second], eval=[write("", name="c.jsonl")])
    lines = str(error).split("\n")
    assert isinstance(error, Problems)
    places = [line.split(": ")[0] for line in lines]
    assert places[:4] == ["nowhere.json", f"{first}:2", f"{first}:3", f"{second}:2"]
    assert lines[4].endswith("the file is empty; expected at least one row.")


def test_one_problem_is_told_plainly(write):
    error = error_of(build_chats, [write(GOOD, BAD)])
    assert not isinstance(error, Problems)
    assert "field 'completion' of row 2 holds nothing but blanks" in str(error)


def test_more_than_twenty_problems_are_counted(write):
    lines = str(error_of(build_chats, [write(GOOD, *[BAD] * 30)])).split("\n")
    assert len(lines) == 21
    assert lines[-1] == "and 10 more problems."


def test_skipped_rows_are_in_the_ledger_with_reasons(write):
    path = write(GOOD, BAD, '{"prompt"', "[1]", {"prompt": "q"}, GOOD)
    data = build_chats([path], on_bad_row="skip")
    ledger = data.ledgers["train"]
    assert (ledger["rows_read"], ledger["rows_kept"], ledger["rows_dropped"]) == (6, 2, 4)
    assert [drop["place"] for drop in ledger["dropped"]] == [f"{path}:{line}" for line in (2, 3, 4, 5)]
    assert "broken JSON" in ledger["dropped"][1]["reason"]
    assert "row 4 is a list" in ledger["dropped"][2]["reason"]
    assert "has no field 'completion'" in ledger["dropped"][3]["reason"]


@pytest.mark.parametrize("rows", [[BAD] * 5, ['{"prompt"', "{x"]])
def test_nothing_left_is_an_error(write, rows):
    assert "no row of data.train is left" in str(error_of(build_chats, [write(*rows)], on_bad_row="skip"))


def test_skipping_rows_skips_no_files():
    assert "no such file" in str(error_of(build_chats, ["nowhere.json"], on_bad_row="skip"))


def test_rows_the_template_refuses_are_bad_rows_with_their_place(write):
    picky = CHATML + "{% if messages[0].content == 'no' %}{{ raise_exception('I refuse') }}{% endif %}"
    path = write(GOOD, pair("no", "a"))
    error = error_of(build_chats, [path], renderer=Renderer(chatml(), template=picky))
    assert str(error).startswith(f"{path}:2: the chat template refuses the conversation: I refuse")
    kept = build_chats([path], renderer=Renderer(chatml(), template=picky), on_bad_row="skip")
    assert kept.ledgers["train"]["rows_kept"] == 1


def test_a_missing_template_is_told_once(write):
    bare = Renderer(byte_level((), None, None))
    error = error_of(build_chats, [write(GOOD, GOOD), write(GOOD, name="b.jsonl")], renderer=bare)
    assert str(error).count("no chat template") == 1


class MaskingRenderer(Renderer):
    """A renderer that puts loss on nothing."""

    def finish(self, outline, encoding):
        rendered = super().finish(outline, encoding)
        return rendered._replace(strips=tuple(s._replace(stretches=()) for s in rendered.strips))


def test_rows_without_any_token_to_learn_are_refused(write):
    error = error_of(build_chats, [write(GOOD)], renderer=MaskingRenderer(chatml()))
    assert "no token of row 1 carries loss" in str(error)


# --- length --------------------------------------------------------------------------------------------------------


def test_long_rows_are_told_with_count_places_and_remedy(write):
    path = write(GOOD, pair("q", "long " * 60), pair("q", "longer " * 90))
    lengths = [len(s.tree[0].tokens) for s in build_chats([path], max_length=4096).train]
    message = str(error_of(build_chats, [path], max_length=64))
    assert f"2 rows are longer than data.max_length 64: {path}:2 ({lengths[1]} tokens)" in message
    assert f"Raise data.max_length to {lengths[2]}" in message
    assert "`on_long: truncate`" in message
    assert build_chats([path], max_length=max(lengths)).ledgers["train"]["rows_kept"] == 3


def test_long_rows_can_be_dropped_and_counted(write):
    path = write(GOOD, pair("q", "long " * 60))
    ledger = build_chats([path], max_length=64, on_long="drop").ledgers["train"]
    assert ledger["rows_kept"] == 1
    assert ledger["dropped"][0]["place"] == f"{path}:2"
    assert "longer than max_length 64" in ledger["dropped"][0]["reason"]


def test_long_and_bad_rows_are_told_together(write):
    error = error_of(build_chats, [write(GOOD, BAD, pair("q", "long " * 60))], max_length=64)
    assert isinstance(error, Problems)
    assert "data.max_length" in str(error).split("\n")[-1]


def test_length_is_that_of_a_path_not_of_all_roots(write):
    dropping = CHATML.replace(
        "{{ m.content }}", "{% if loop.last or m.role == 'user' %}{{ m.content }}{% endif %}"
    )
    turns = [("user", "q" * 20), ("assistant", "a"), ("user", "r" * 20), ("assistant", "b")]
    path = write({"messages": [{"role": role, "content": content} for role, content in turns]})
    renderer = Renderer(chatml(), template=dropping)
    (sample,) = build_chats([path], renderer=renderer).train
    longest = max(len(piece.tokens) for piece in sample.tree)
    assert len(sample.tree) == 2
    assert build_chats([path], renderer=renderer, max_length=longest)
    assert "longer" in str(error_of(build_chats, [path], renderer=renderer, max_length=longest - 1))


# --- texts ---------------------------------------------------------------------------------------------------------


def test_texts_are_cut_into_pieces_and_the_tail_is_kept(write):
    data = build_texts([write({"text": "the quick brown fox " * 10}, {"text": "fox"})], max_length=8)
    tokens = [token for sample in data.train if sample.place.row == 1 for token in sample.tree[0].tokens]
    assert chatml().decode(tokens) == "the quick brown fox " * 10 + "<|im_end|>"
    assert all(len(sample.tree[0].tokens) == 8 for sample in data.train[:-2])
    ledger = data.ledgers["train"]
    assert (ledger["rows_read"], ledger["rows_kept"]) == (2, 2)
    assert ledger["tokens"]["with_loss"] == ledger["tokens"]["total"] - len(data.train)
    assert data.train[0].prompt is None


def test_a_tail_of_one_token_is_left_out_and_noted(write):
    text = "the quick brown fox jumps over the lazy dog"
    size = len(chatml().encode(text))  # with the end token one more
    data = build_texts([write({"text": text})], max_length=size)
    assert [len(sample.tree[0].tokens) for sample in data.train] == [size]
    assert any("a single token" in note for note in data.notes)


@pytest.mark.parametrize(
    ("call", "row", "named"),
    [
        (build_chats, {"text": "a"}, ("sft", "text", "pretrain")),
        (build_texts, GOOD, ("pretrain", "prompt_completion", "sft")),
    ],
)
def test_wrong_format_for_the_method_names_the_method_that_fits(write, call, row, named):
    path = write(row)
    message = str(error_of(call, [path]))
    method, format, fitting = named
    assert message.startswith(f"{path}: the method {method} does not learn from rows of the format {format}")
    assert f"{{name: {fitting}}}" in message


# --- the held-out part ---------------------------------------------------------------------------------------------


def test_a_share_is_held_out_by_seed_in_order(write):
    path = write(*[pair(str(number), "a") for number in range(50)])
    data = build_chats([path], eval=0.2, seed=3)
    again = build_chats([path], eval=0.2, seed=3)
    train, held = [int(s.prompt) for s in data.train], [int(s.prompt) for s in data.eval]
    assert len(held) == 10
    assert sorted(train + held) == list(range(50))
    assert train == sorted(train)
    assert held == sorted(held)
    assert [s.prompt for s in again.eval] == [s.prompt for s in data.eval]
    assert [s.prompt for s in build_chats([path], eval=0.2, seed=4).eval] != [s.prompt for s in data.eval]
    assert [data.ledgers[side]["rows_read"] for side in ("train", "eval")] == [40, 10]


def test_the_held_out_rows_of_a_seed_stay_the_same_for_ever(write):
    path = write(*[pair(str(number), "a") for number in range(20)])
    assert [s.prompt for s in build_chats([path], eval=0.2, seed=0).eval] == ["4", "7", "15", "18"]


@pytest.mark.parametrize(("rows", "share", "held"), [(2, 0.01, 1), (2, 0.99, 1), (3, 0.9, 2), (10, 0.25, 2)])
def test_each_side_gets_at_least_one_row(write, rows, share, held):
    data = build_chats([write(*[GOOD] * rows)], eval=share)
    assert (len(data.train), len(data.eval)) == (rows - held, held)


def test_one_row_cannot_be_shared(write):
    assert "at least two" in str(error_of(build_chats, [write(GOOD)], eval=0.5))


def test_a_row_counts_on_one_side_only(write):
    data = build_chats([write(*[GOOD] * 8, BAD, BAD)], eval=0.25, on_bad_row="skip")
    train, held = data.ledgers["train"], data.ledgers["eval"]
    assert (train["rows_read"], train["rows_kept"], train["rows_dropped"]) == (8, 6, 2)
    assert (held["rows_read"], held["rows_kept"], held["rows_dropped"]) == (2, 2, 0)


def test_pieces_of_a_text_stay_on_one_side(write):
    data = build_texts([write(*[{"text": "the quick brown fox " * 10}] * 4)], eval=0.25, max_length=8)
    assert {s.place.row for s in data.train}.isdisjoint({s.place.row for s in data.eval})
    assert data.ledgers["eval"]["rows_kept"] == 1
    assert len(data.eval) > 1


def test_held_out_files_are_built_the_same_way(write):
    data = build_chats([write(GOOD)], eval=[write(GOOD, BAD, name="eval.jsonl")], on_bad_row="skip")
    assert len(data.eval) == 1
    assert data.ledgers["eval"]["rows_dropped"] == 1
    assert "data.eval" in str(
        error_of(build_chats, [write(GOOD)], eval=[write(BAD, name="e.jsonl")], on_bad_row="skip")
    )


ANY_ROW = st.one_of(
    st.just(GOOD),
    st.builds(pair, st.text(max_size=8), st.text(max_size=40)),
    st.dictionaries(
        st.sampled_from(["prompt", "completion", "x"]), st.one_of(st.none(), st.text(max_size=5)), max_size=3
    ),
    st.sampled_from(["{", "[1]", "null", '{"prompt": NaN}', "3", '{"prompt": "q", "completion": "\\ud800"}']),
)


@STEADY
@given(rows=st.lists(ANY_ROW, max_size=8), share=st.sampled_from([None, 0.3]), long=st.booleans())
def test_what_is_read_is_kept_or_dropped(tmp_path_factory, rows, share, long):
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    lines = [
        json.dumps(GOOD),
        *(row if isinstance(row, str) else json.dumps(row) for row in rows),
        json.dumps(GOOD),
    ]
    path.write_text("\n".join(lines), "utf-8")
    data = build_chats(
        [str(path)], eval=share, on_bad_row="skip", on_long="drop", max_length=24 if long else 512
    )
    ledgers = [ledger for ledger in data.ledgers.values() if ledger]
    assert sum(ledger["rows_read"] for ledger in ledgers) == len(lines)
    assert all(ledger["rows_read"] == ledger["rows_kept"] + ledger["rows_dropped"] for ledger in ledgers)
    assert sum(ledger["rows_kept"] for ledger in ledgers) == len(data.train) + len(data.eval)
