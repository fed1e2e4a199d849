"""The counts against the plainest way to count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.schema import Place, Stretch, Strip
from tunesmith.data.split import folded
from tunesmith.data.statistics import histogram, labels, statistics_of
from tunesmith.data.store import Draft, SampleStore, StoreWriter

from .tiny import STEADY

QUESTIONS = st.none() | st.sampled_from(["Who?", "who", " WHO ?", "Who is it", "谁？", "谁", "", "?"])
SAMPLES = st.tuples(
    st.lists(st.integers(0, 1), min_size=2, max_size=3),  # tokens
    QUESTIONS,
    st.sampled_from(["a", "b"]),
    st.lists(st.sampled_from(["x.png", "y.png"]), max_size=1),
)
ROWS = st.lists(st.lists(SAMPLES, min_size=1, max_size=2), max_size=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("statistics")


def stored(path, rows, file="rows.jsonl"):
    """A store of rows of samples (tokens, question, answer, pictures)."""
    with StoreWriter(path) as writer:
        for number, samples in enumerate(rows, 1):
            place = Place(file, number, number)
            writer.add(
                Draft(
                    (Strip(tokens, (Stretch(1, len(tokens), 1.0),)),), place, question, answer, tuple(images)
                )
                for tokens, question, answer, images in samples
            )
    return SampleStore(path)


def flat(rows, file="rows.jsonl"):
    """(place, tokens and pictures, question as it is compared, answer) of each sample."""
    samples = []
    for line, row in enumerate(rows, 1):
        for tokens, question, answer, images in row:
            asked = folded(question or "")
            samples.append(
                (f"{file}:{line}", (tokens, images), (asked or images) and (asked, images), answer)
            )
    return samples


@STEADY
@given(rows=ROWS)
def test_what_stands_twice_is_counted_as_by_hand(folder, rows):
    found = statistics_of(stored(folder / "s.arrow", rows))
    samples = flat(rows)
    again, otherwise = [], []
    for at, (place, content, question, answer) in enumerate(samples):
        same = next((p for p, other, *_ in samples[:at] if other == content), None)
        if same not in (None, place) and [same, place] not in again:  # a row is not its own duplicate
            again.append([same, place])
        first = next(((p, a) for p, _, q, a in samples[:at] if question and q == question), None)
        if first and first[0] != place and first[1] != answer and [first[0], place] not in otherwise:
            otherwise.append([first[0], place])
    assert found["duplicates"] == {"rows": len({place for _, place in again}), "first": again[:5]}
    assert found["contradictions"] == {"rows": len({p for _, p in otherwise}), "first": otherwise[:5]}


def test_pieces_of_one_row_are_no_duplicates_and_a_pair_of_rows_is_told_once(folder):
    refrain = ([5, 6, 7], None, None, [])
    rows = [
        [refrain, refrain, ([1, 2], None, None, [])],
        [refrain, ([1, 2], None, None, [])],
        [([9], None, None, [])],
    ]
    found = statistics_of(stored(folder / "s.arrow", rows))
    assert found["duplicates"] == {"rows": 1, "first": [["rows.jsonl:1", "rows.jsonl:2"]]}
    assert statistics_of(stored(folder / "t.arrow", rows[:1]))["duplicates"]["rows"] == 0


@STEADY
@given(rows=ROWS, held_out=ROWS)
def test_what_stands_on_both_sides_is_counted_as_by_hand(folder, rows, held_out):
    train = stored(folder / "train.arrow", rows)
    found = statistics_of(stored(folder / "eval.arrow", held_out, "held.jsonl"), train)["leaked"]
    leaks, whole = [], set()
    for place, content, question, _ in flat(held_out, "held.jsonl"):
        same = next((p for p, other, *_ in flat(rows) if other == content), None)
        asked = next((p for p, _, q, _ in flat(rows) if question and q == question), None)
        whole |= {place} if same else set()
        if (same or asked) and [place, same or asked] not in leaks:
            leaks.append([place, same or asked])
    assert found == {"rows": len({place for place, _ in leaks}), "whole": len(whole), "first": leaks[:5]}


@STEADY
@given(rows=ROWS, data=st.data())
def test_a_part_of_a_store_is_counted_as_if_it_were_the_whole(folder, rows, data):
    chosen = np.array(sorted(data.draw(st.sets(st.integers(0, len(rows) - 1)) if rows else st.just(()))), int)
    single = [[row[0]] for row in rows]
    part = stored(folder / "s.arrow", single).select(chosen)
    whole = stored(folder / "t.arrow", [single[at] if at in chosen else [([7, 8, at], None, "c", [])]
                                        for at in range(len(rows))])  # fmt: skip
    for name in ("duplicates", "contradictions"):
        assert statistics_of(part)[name] == statistics_of(whole)[name]


def test_an_instruction_that_very_many_rows_share_is_no_question(folder):
    rows = [[([1, at], "Write a passage about the sea.", f"passage {at}", [])] for at in range(21)]
    few, many = stored(folder / "few.arrow", rows[:20]), stored(folder / "many.arrow", rows)
    assert statistics_of(few)["contradictions"]["rows"] == 19
    assert statistics_of(many)["contradictions"] == {"rows": 0, "first": []}
    held_out = stored(folder / "held.arrow", [[([2, 2], "Write a passage about the sea", "new", [])]])
    assert statistics_of(held_out, many)["leaked"]["rows"] == 0
    assert statistics_of(held_out, stored(folder / "five.arrow", rows[:5]))["leaked"]["rows"] == 1


@STEADY
@given(lengths=st.lists(st.integers(1, 100_000) | st.integers(1, 60), min_size=1, max_size=200))
def test_every_sample_is_in_one_bin(lengths):
    bins = histogram(np.array(lengths, np.int32))
    assert 1 <= len(bins) <= min(12, max(3, len(lengths) ** 0.5))  # few samples in many bins leave most empty
    assert [low for low, _, _ in bins[1:]] == [high + 1 for _, high, _ in bins[:-1]]
    assert [n for _, _, n in bins] == [
        sum(low <= length <= high for length in lengths) for low, high, _ in bins
    ]
    assert sum(n for _, _, n in bins) == len(lengths)


@pytest.mark.parametrize(
    ("lengths", "bins"),
    [
        ([7, 7], [[7, 7, 2]]),
        (
            [12, 18, 91, 101],
            [[0, 49, 2], [50, 99, 1], [100, 149, 1]],
        ),
        ([9, 4000], [[0, 1999, 1], [2000, 3999, 0], [4000, 5999, 1]]),
        ([*range(10, 20)] * 20 + [9000], [*([at, at, 20] for at in range(10, 19)), [19, 9000, 21]]),
        ([], []),
    ],
)
def test_bins_are_of_a_width_that_is_easy_to_read(lengths, bins):
    assert histogram(np.array(lengths, np.int32)) == bins


@STEADY
@given(rows=st.lists(st.lists(st.integers(2, 9), min_size=1, max_size=4), max_size=12))
def test_the_longest_come_first_each_row_once_and_of_equal_ones_the_earlier(folder, rows):
    store = stored(folder / "s.arrow", [[([1] * length, None, "a", []) for length in row] for row in rows])
    expected = sorted(enumerate(map(max, rows), 1), key=lambda pair: (-pair[1], pair[0]))[:5]
    found = statistics_of(store)
    assert found["longest"] == [{"place": f"rows.jsonl:{at}", "tokens": n} for at, n in expected]
    lengths = [length for row in rows for length in row]
    share = sum(n - 1 for n in lengths) / sum(lengths) if lengths else 0
    assert found["loss_share"] == pytest.approx(share, abs=1e-4)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["b", "a", "b", "a", "b", "a", "c", "c", "b"], {"b": 4, "a": 3, "c": 2}),
        (["yes", "no", "yes", "no", "yes"], None),  # two answers to five rows: less than three rows each
        ([str(at % 50) for at in range(150)], {str(at): 3 for at in sorted(range(50), key=str)}),
        ([str(at % 51) for at in range(153)], None),
        (["x" * 59] * 3, {"x" * 59: 3}),
        (["x" * 60] * 3, None),
        (["a", "a", "a", None], None),
        ([], None),
    ],
)
def test_answers_are_labels_if_they_are_short_and_few(folder, answers, expected):
    found = labels(stored(folder / "s.arrow", [[([1, 2], "q", answer, [])] for answer in answers]))
    assert found == expected
    assert found is None or list(found) == list(expected)
