"""The store: what goes in comes out, whole or in part, and its numbers are right."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.schema import Place, Stretch, Strip
from tunesmith.data.store import SPLIT, WHOLE, Draft, SampleStore, StoreWriter
from tunesmith.segments import Picture, single_paths, tree_length, tree_targets

from .tiny import STEADY


@st.composite
def strips(draw):
    made = []
    for at in range(draw(st.integers(1, 3))):
        tokens = draw(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=6))
        start = draw(st.integers(0, len(tokens) - 1))
        end = draw(st.integers(start + 1, len(tokens)))
        stretches = (Stretch(start, end, draw(st.sampled_from([1.0, 0.3]))),) if draw(st.booleans()) else ()
        parent = draw(st.none() | st.integers(0, at - 1)) if at else None
        made.append(Strip(tokens, stretches, parent))
    return tuple(made)


DRAFTS = st.lists(
    st.lists(
        st.builds(
            Draft,
            strips(),
            st.builds(Place, st.sampled_from(["a.json", "诗.jsonl"]), st.integers(1, 9), st.integers(1, 9)),
            st.none() | st.text(st.characters(codec="utf-8"), max_size=4),
            st.none() | st.text(st.characters(codec="utf-8"), max_size=4),
            st.lists(st.sampled_from(["x.png", "y.png"]), max_size=2).map(tuple),
            st.sampled_from([WHOLE, SPLIT]),
        ),
        min_size=1,
        max_size=3,
    ),
    max_size=6,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("store") / "samples.arrow"


def stored(path, rows):
    with StoreWriter(path) as writer:
        for drafts in rows:
            writer.add(drafts)
    return SampleStore(path)


@STEADY
@given(rows=DRAFTS)
def test_what_goes_in_comes_out(path, rows):
    store = stored(path, rows)
    drafts = [draft for row in rows for draft in row]
    assert len(store) == len(drafts)
    for sample, draft in zip(store, drafts, strict=True):
        assert sample.tree == tuple(strip.piece() for strip in draft.strips)
        assert (sample.place, sample.prompt, sample.answer, sample.images) == (
            draft.place,
            draft.prompt,
            draft.answer,
            draft.images,
        )


@STEADY
@given(rows=DRAFTS)
def test_the_numbers_are_those_of_the_samples(path, rows):
    store = stored(path, rows)
    trees = [sample.tree for sample in store]
    assert store.lengths.tolist() == [tree_length(tree) for tree in trees]
    assert store.longest.tolist() == [max(map(tree_length, single_paths(tree))) for tree in trees]
    # Counted another way: what has to be predicted, each token once whatever many leaves share it.
    learned = [{(t.position, t.token) for t in tree_targets(tree)} for tree in trees]
    roots_only = [all(piece.parent is None for piece in tree) for tree in trees]
    for count, targets, plain in zip(store.with_loss.tolist(), learned, roots_only, strict=True):
        assert not plain or count == len(targets)
    assert store.rows.tolist() == [at for at, row in enumerate(rows) for _ in row]
    assert store.rows_changed(SPLIT) == sum(any(d.change == SPLIT for d in row) for row in rows)
    assert store.pictures.tolist() == [len(draft.images) for row in rows for draft in row]


@STEADY
@given(rows=DRAFTS.filter(len), data=st.data())
def test_a_part_is_the_samples_chosen(path, rows, data):
    store = stored(path, rows)
    chosen = np.array(data.draw(st.lists(st.integers(0, len(store) - 1), max_size=5)), np.int64)
    part = store.select(chosen)
    assert list(part) == [store[int(at)] for at in chosen]
    assert part.lengths.tolist() == store.lengths[chosen].tolist()
    assert list(part.column("prompt")) == [store[int(at)].prompt for at in chosen]
    assert part.select(np.arange(len(part))[::-1]).fingerprint() == store.select(chosen[::-1]).fingerprint()


def test_pictures_stay_where_they_stand(tmp_path):
    """In several strips, one file twice, and beside a sample that shows none."""
    root = Strip([1, 9, 9, 2], (), None, (Picture(1, 2, "x.png"),))
    child = Strip([9, 3, 9, 9, 4], (Stretch(4, 5, 1.0),), 0, (Picture(0, 1, "y.png"), Picture(2, 2, "x.png")))
    shown = Draft((root, child), Place("f", 1, 1), images=("x.png", "y.png", "x.png"))
    blind = Draft((Strip([1, 2], (Stretch(1, 2, 1.0),)),), Place("f", 2, 2))
    store = stored(tmp_path / "s.arrow", [[blind], [shown], [blind]])
    assert [sample.tree for sample in store] == [
        tuple(strip.piece() for strip in draft.strips) for draft in (blind, shown, blind)
    ]
    assert store[1].images == shown.images


def test_many_batches_are_one_store(tmp_path, monkeypatch):
    monkeypatch.setattr("tunesmith.data.store._BATCH_SAMPLES", 3)
    monkeypatch.setattr("tunesmith.data.store._BYTES_READ_BEFORE_RELEASE", 5)
    rows = [[Draft((Strip([at, at + 1], (Stretch(1, 2, 1.0),)),), Place("f", at, at))] for at in range(10)]
    store = stored(tmp_path / "s.arrow", rows)
    assert [sample.tree[0].tokens for sample in store] == [(at, at + 1) for at in range(10)]
    assert [store[at].place.line for at in (9, 0, -1, 4)] == [9, 0, 9, 4]
    assert [sample.place.line for sample in store[2:5]] == [2, 3, 4]
    with pytest.raises(IndexError):
        store[10]


def mapped_pages(path) -> int:
    """How many kB of a file's mapping are in this process's memory."""
    resident, inside = 0, False
    for line in Path("/proc/self/smaps").read_text("utf-8").splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = line.endswith(str(path))
        elif inside and line.startswith("Rss:"):
            resident += int(line.split()[1])
    return resident


@pytest.mark.skipif(not Path("/proc/self/smaps").is_file(), reason="only Linux tells it")
def test_reading_a_column_leaves_none_of_the_file_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("tunesmith.data.store._BATCH_SAMPLES", 50)
    rows = [
        [Draft((Strip([1, 2], (Stretch(1, 2, 1.0),)),), Place("f", at, at), "long " * 2000)]
        for at in range(200)
    ]
    path = tmp_path / "s.arrow"
    store = stored(path, rows)
    prompts = store.column("prompt")
    next(prompts)
    batch = mapped_pages(path)
    assert batch > 0
    assert sum(len(prompt) for prompt in prompts) == 199 * 10_000
    assert mapped_pages(path) < batch


def test_the_fingerprint_tells_tokens_weights_and_order_apart(tmp_path):
    def of(*strips):
        rows = [[Draft((strip,), Place("f", 1, 1))] for strip in strips]
        return stored(tmp_path / "s.arrow", rows).fingerprint()

    one, other = Strip([1, 2], (Stretch(1, 2, 1.0),)), Strip([1, 3], (Stretch(1, 2, 1.0),))
    lighter = Strip([1, 2], (Stretch(1, 2, 0.5),))
    assert len({of(one, other), of(other, one), of(lighter, other), of(one), of()}) == 5
    assert of(one, other) == of(one, other)
