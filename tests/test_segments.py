"""The planner and the targets, over drawn samples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.segments import (
    SHORTEST_SHARED_PREFIX,
    Picture,
    Piece,
    SegmentPlan,
    plan_rows,
    single_paths,
    tree_length,
    tree_targets,
    tree_weight,
)


@st.composite
def trees(draw):
    pieces = []
    for index in range(draw(st.integers(1, 5))):
        length = draw(st.integers(1, 6))
        tokens = tuple(draw(st.lists(st.integers(0, 99), min_size=length, max_size=length)))
        weights = tuple(draw(st.lists(st.sampled_from([0.0, 1.0, 0.5]), min_size=length, max_size=length)))
        parent = draw(st.one_of(st.none(), st.integers(0, index - 1))) if index else None
        pieces.append(Piece(tokens, weights, parent))
    return tuple(pieces)


@given(st.lists(trees(), min_size=1, max_size=8), st.integers(1, 40))
def test_every_sample_is_laid_exactly_once_and_uncut(samples, budget):
    rows = plan_rows(samples, budget)
    seen = sorted(owner for row in rows for owner in dict.fromkeys(row.owners))
    assert seen == list(range(len(samples)))
    for row in rows:
        assert (
            len(row.tokens)
            == row.plan.length
            == sum(tree_length(samples[o]) for o in dict.fromkeys(row.owners))
        )
        assert row.plan.length <= budget or len(set(row.owners)) == 1
        tokens = [t for owner in dict.fromkeys(row.owners) for piece in samples[owner] for t in piece.tokens]
        assert list(row.tokens) == tokens


@given(st.lists(trees(), min_size=1, max_size=6), st.integers(1, 40))
def test_rows_carry_the_weight_of_their_samples(samples, budget):
    total = sum(target.weight for row in plan_rows(samples, budget) for target in row.targets)
    assert total == pytest.approx(sum(tree_weight(sample) for sample in samples))


@given(trees())
def test_a_target_is_the_next_token_on_its_leafs_path(tree):
    (row,) = plan_rows([tree], 10_000)
    for target in row.targets:
        path = row.plan.path_positions(target.leaf)
        following = path[path.index(target.position) + 1]
        assert row.tokens[following] == target.token


@given(trees())
def test_paths_alone_have_the_same_targets_and_weight(tree):
    paths = single_paths(tree)
    assert sum(tree_weight(path) for path in paths) == pytest.approx(tree_weight(tree))
    alone = sorted((t.token, t.weight) for path in paths for t in tree_targets(path))
    assert alone == sorted((t.token, t.weight) for t in tree_targets(tree))


@given(trees())
def test_positions_count_along_the_path(tree):
    (row,) = plan_rows([tree], 10_000)
    for leaf in row.plan.leaves():
        path = row.plan.path_positions(leaf)
        assert [row.plan.positions[position] for position in path] == list(range(len(path)))


def test_the_drawing_in_the_module_is_true():
    plan = SegmentPlan.of([3, 2, 3, 2], [None, 0, 0, None])
    assert plan.positions == (0, 1, 2, 3, 4, 3, 4, 5, 0, 1)
    assert plan.lineage(2) == (0, 2)
    assert plan.leaves() == (1, 2, 3)


def test_a_parent_predicts_the_first_token_of_each_child():
    tree = (Piece((1, 2), (0.0, 0.0)), Piece((3, 4), (1.0, 1.0), 0), Piece((5,), (1.0,), 0))
    found = {(t.position, t.token, t.leaf) for t in tree_targets(tree)}
    assert found == {(1, 3, 1), (2, 4, 1), (1, 5, 2)}


def test_shared_tokens_with_loss_weigh_once_a_leaf():
    tree = (Piece((1, 2), (0.0, 1.0)), Piece((3,), (0.0,), 0), Piece((4,), (0.0,), 0))
    assert tree_weight(tree) == 2.0


@pytest.mark.parametrize(("lengths", "parents"), [([0], None), ([1, 1], [None, 1]), ([1, 1], [None, 2])])
def test_impossible_plans_are_refused(lengths, parents):
    with pytest.raises(ValueError, match="segment"):
        SegmentPlan.of(lengths, parents)


def test_planning_is_first_fit_longest_first():
    samples = [(Piece(tuple(range(length)), (1.0,) * length),) for length in (3, 9, 4, 6)]
    assert [sorted(set(row.owners)) for row in plan_rows(samples, 10)] == [[1], [2, 3], [0]]


PROMPT = tuple(range(100, 100 + SHORTEST_SHARED_PREFIX + 8))


@st.composite
def prompted(draw):
    """Samples of which many begin alike, some with loss in the middle of what they share."""
    shared = PROMPT[: draw(st.sampled_from([8, SHORTEST_SHARED_PREFIX, len(PROMPT)]))]
    weights = [0.0] * len(shared)
    if draw(st.booleans()) and draw(st.booleans()):
        weights[draw(st.integers(0, len(shared) - 1))] = 1.0
    own = draw(st.lists(st.integers(0, 3), min_size=0, max_size=4))
    root = Piece((*shared, *own), (*weights, *([1.0] * len(own))))
    below = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    children = [Piece(tuple(below), (1.0,) * len(below), 0)] * draw(st.integers(0, 2))
    return (root, *children)


def paths_of(rows):
    """What each root-to-leaf path holds and learns, whatever way it is cut."""
    found = []
    for row in rows:
        for leaf in row.plan.leaves():
            positions = row.plan.path_positions(leaf)
            place = {position: at for at, position in enumerate(positions)}
            learned = sorted(
                (place[t.position], t.token, t.weight) for t in row.targets if t.leaf == leaf and t.weight
            )
            found.append(([row.tokens[position] for position in positions], learned))
    return sorted(found)


@given(st.lists(prompted(), min_size=1, max_size=7), st.sampled_from([40, 60, 120, 10_000]))
def test_sharing_changes_no_path(samples, budget):
    apart, together = plan_rows(samples, budget), plan_rows(samples, budget, share=True)
    assert paths_of(together) == paths_of(apart)
    assert {o for row in together for o in row.owners} == set(range(len(samples)))
    assert sum(len(row.tokens) for row in together) <= sum(len(row.tokens) for row in apart)
    longest = max(tree_length(sample) for sample in samples)
    assert all(len(row.tokens) <= max(budget, longest) for row in together)


def test_a_long_common_prompt_is_laid_once():
    samples = [(Piece((*PROMPT, answer), (0.0,) * len(PROMPT) + (1.0,)),) for answer in (1, 2, 3)]
    (row,) = plan_rows(samples, 10_000, share=True)
    assert len(row.tokens) == len(PROMPT) + 3
    assert [segment.parent for segment in row.plan.segments] == [None, 0, 0, 0]


def test_a_short_common_prompt_is_left_alone():
    short = PROMPT[: SHORTEST_SHARED_PREFIX - 1]
    samples = [(Piece((*short, answer), (0.0,) * len(short) + (1.0,)),) for answer in (1, 2)]
    assert plan_rows(samples, 10_000, share=True) == plan_rows(samples, 10_000)


def test_answers_with_loss_are_never_shared():
    samples = [(Piece((*PROMPT, answer), (1.0,) * (len(PROMPT) + 1)),) for answer in (1, 2)]
    assert plan_rows(samples, 10_000, share=True) == plan_rows(samples, 10_000)


def test_roots_of_one_sample_share_too():
    history = Piece((*PROMPT, 1), (0.0,) * len(PROMPT) + (1.0,))
    later = Piece((*PROMPT, 2, 3), (0.0,) * (len(PROMPT) + 1) + (1.0,))
    (row,) = plan_rows([(history, later)], 10_000, share=True)
    assert len(row.tokens) == len(PROMPT) + 3


# --- pictures ----------------------------------------------------------------------------------------------------

PAD = 9  # the token that stands for pictures


def pictured(*parts):
    """A lone root of tokens and pictures (path, length), all but its last token without loss."""
    tokens: list[int] = []
    pictures = []
    for part in parts:
        if isinstance(part, tuple):
            pictures.append(Picture(len(tokens), part[1], part[0]))
            tokens += [PAD] * part[1]
        else:
            tokens.append(part)
    weights = (0.0,) * (len(tokens) - 1) + (1.0,)
    return (Piece(tuple(tokens), weights, None, tuple(pictures)),)


def shown(row):
    """What each path of a row shows: its tokens, a picture's as (path, number of its token)."""
    what = list(row.tokens)
    for picture in row.pictures:
        assert row.tokens[picture.start : picture.start + picture.length] == (PAD,) * picture.length
        for step in range(picture.length):
            what[picture.start + step] = (picture.path, step)
    paths = ([what[at] for at in row.plan.path_positions(leaf)] for leaf in row.plan.leaves())
    return sorted(paths, key=str)


@pytest.mark.parametrize(
    ("first", "second", "tokens", "pictures"),
    [
        ((1, ("a", 40), 2, 3), (1, ("a", 40), 2, 4), 42 + 2, 1),
        ((1, ("a", 40), 2, 3), (1, ("b", 40), 2, 4), 2 * 43, 2),
        ((1, *PROMPT, ("a", 4), 2), (1, *PROMPT, ("b", 4), 2), 1 + len(PROMPT) + 2 * 5, 2),
        ((*PROMPT, ("a", 4), ("a", 4), 2), (*PROMPT, ("a", 4), ("b", 4), 2), len(PROMPT) + 4 + 2 * 5, 3),
        ((*PROMPT, ("a", 4), 2), (*PROMPT, ("a", 3), 2), len(PROMPT) + 5 + 4, 2),
        ((*PROMPT, ("a", 4)), (*PROMPT, ("a", 4)), len(PROMPT) + 2 * 4, 2),
    ],
    ids=["the same", "another", "another behind a prompt", "the second is another", "another size", "at the end"],
)  # fmt: skip
def test_prefixes_share_a_picture_only_if_it_is_the_same(first, second, tokens, pictures):
    trees = [pictured(*first), pictured(*second)]
    (row,) = plan_rows(trees, 1000, share=True)
    assert (len(row.tokens), len(row.pictures)) == (tokens, pictures)
    (apart,) = plan_rows(trees, 1000)
    assert shown(row) == shown(apart)


def test_equal_pictures_meet_whatever_follows_them():
    trees = [pictured(1, (path, 40), answer) for answer, path in enumerate("abab", 10)]
    (row,) = plan_rows(trees, 1000, share=True)
    assert sorted(picture.path for picture in row.pictures) == ["a", "b"]


def test_paths_take_their_pictures_along():
    root = Piece((1, PAD, PAD), (0.0,) * 3, None, (Picture(1, 2, "a"),))
    child = Piece((2, PAD, 3), (0.0, 0.0, 1.0), 0, (Picture(1, 1, "b"),))
    other = Piece((4,), (1.0,), 0)
    first, second = (path for (path,) in single_paths((root, child, other)))
    assert first.pictures == (Picture(1, 2, "a"), Picture(4, 1, "b"))
    assert second.pictures == (Picture(1, 2, "a"),)
