"""Splitting: every row in one part, groups whole, shares and strata kept, the same on every platform."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.schema import Conversation, Image, Message, Text
from tunesmith.data.split import (
    assign,
    content_of,
    content_of_converted,
    folded,
    prompt_of,
    without_instructions,
)

from .tiny import STEADY

SHARES = st.sampled_from([(0.9, 0.1), (0.5, 0.5), (0.8, 0.1, 0.1), (1.0,), (0.98, 0.02)])
# Few keys, so that rows meet; some rows have two, so that groups join through them.
ROWS = st.lists(
    st.tuples(st.lists(st.sampled_from("abcdefghijklmnopqrst"), max_size=2), st.sampled_from("xyz")), max_size=60
)  # fmt: skip


def groups_of(keys) -> list[set[int]]:
    """The slow way: join sets of rows until nothing changes."""
    groups = [{row} for row in range(len(keys))]
    for key in {key for row in keys for key in row}:
        touched = [group for group in groups if any(key in keys[row] for row in group)]
        groups = [group for group in groups if group not in touched] + [set().union(*touched)]
    return groups


@STEADY
@given(rows=ROWS, shares=SHARES, seed=st.integers(0, 5))
def test_every_row_is_in_one_part_and_groups_are_whole(rows, shares, seed):
    keys, strata = [row[0] for row in rows], [row[1] for row in rows]
    parts = assign(keys, strata, shares, seed)
    assert len(parts) == len(rows)
    assert all(0 <= part < len(shares) for part in parts)
    for group in groups_of(keys):
        assert len({parts[row] for row in group}) == 1
    assert assign(keys, strata, shares, seed) == parts


@STEADY
@given(rows=ROWS, shares=SHARES, seed=st.integers(0, 5))
def test_shares_are_kept_within_the_size_of_a_group(rows, shares, seed):
    keys, strata = [row[0] for row in rows], [row[1] for row in rows]
    parts = assign(keys, strata, shares, seed)
    largest = max(map(len, groups_of(keys)), default=0)
    for part, share in enumerate(shares):
        assert abs(parts.count(part) - share * len(rows)) <= (len(shares) - 1) * largest + 1e-9


@STEADY
@given(strata=st.lists(st.sampled_from("vwxyz"), max_size=80), shares=SHARES, seed=st.integers(0, 5))
def test_each_stratum_has_its_share(strata, shares, seed):
    parts = assign([()] * len(strata), strata, shares, seed)
    for stratum in set(strata):
        inside = [part for part, of in zip(parts, strata, strict=True) if of == stratum]
        for part, share in enumerate(shares):
            assert abs(inside.count(part) - share * len(inside)) <= 2 * (len(shares) - 1) + 1e-9


def test_the_split_is_pinned():
    """The same numbers on every machine and in every version, or a user's held-out rows would change under them."""
    keys = [[f"row {row % 17}"] for row in range(20)]
    assert [row for row, part in enumerate(assign(keys, ["a", "b"] * 10, (0.75, 0.25), 7)) if part] == [
        0,
        6,
        11,
        13,
        17,
    ]


def test_another_seed_holds_out_other_rows():
    rows = [()] * 200
    held_out = {tuple(assign(rows, [""] * 200, (0.9, 0.1), seed)) for seed in range(5)}
    assert len(held_out) == 5
    assert all(parts.count(1) == 20 for parts in held_out)


def test_no_row_is_held_out_more_often_than_others():
    counts = [0] * 40
    for seed in range(200):
        for row, part in enumerate(assign([()] * 40, ["a", "b"] * 20, (0.75, 0.25), seed)):
            counts[row] += part
    assert min(counts) >= 25 and max(counts) <= 80  # 50 expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Why is the sky blue?", "why is the sky  blue"),
        ("天空为什么是蓝色的？", "天空为什么是蓝色的?"),
        ("Ｆｕｌｌ　width", "full width"),
        ("a\r\nb\ufeff", "A b"),
    ],
)
def test_case_blanks_punctuation_and_width_make_no_other_text(one, other):
    assert folded(one) == folded(other)


@pytest.mark.parametrize(("one", "other"), [("a", "b"), ("?", "!"), ("1 + 1", "1 - 1 2"), ("春", "秋")])
def test_other_text_stays_other(one, other):
    assert folded(one) != folded(other)


def chat(*turns: str) -> Conversation:
    roles = ("user", "assistant")
    return Conversation(tuple(Message(roles[i % 2], turn) for i, turn in enumerate(turns)))


def test_content_and_prompt_of_a_chat():
    assert content_of_converted(chat("Hi!", "Hello")) == content_of_converted(chat("hi", "hello."))
    assert content_of_converted(chat("hi", "hello")) != content_of_converted(chat("hi", "good day"))
    assert prompt_of(chat("hi", "hello")) == prompt_of(chat("Hi", "good day"))
    assert prompt_of(chat("hi", "a", "go on", "b")) != prompt_of(chat("ho", "a", "go on", "b"))
    assert prompt_of(Text("hi")) is None


def test_two_pictures_under_one_question_are_two_prompts():
    asked = [
        Conversation((Message("user", (Image(name, 1, 1), "What is this?")), Message("assistant", "a cat")))
        for name in ("a.png", "b.png")
    ]
    assert prompt_of(asked[0]) != prompt_of(asked[1])


def test_where_no_format_is_known_the_fields_count():
    assert content_of({"a": "X", "b": [1, None]}) == content_of({"b": [1, None], "a": "x!"})
    assert content_of({"a": "x"}) != content_of({"b": "x"})
    assert content_of(["x", 1]) != content_of(["x", 2])


def test_a_prompt_that_many_rows_share_binds_none():
    prompts = ["write a passage"] * 30 + ["why?", "why?", None]
    kept, instructions = without_instructions(prompts)
    assert kept == [None] * 30 + ["why?", "why?", None] and instructions == 1
