"""The segment attention against dense attention with an explicit mask, over drawn forests."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tunesmith.kernels.segment_attention import UnsupportedAttention, segment_attention
from tunesmith.segments import SegmentPlan


def dense_reference(query, key, value, plan, *, scale, window=None, softcap=None, sinks=None):
    """The definition, written out: every pair of tokens, one mask of [T, T]."""
    length = plan.length
    owner = [i for i, s in enumerate(plan.segments) for _ in range(s.length)]
    positions = torch.tensor(plan.positions)
    visible = torch.zeros(length, length, dtype=torch.bool)
    for q in range(length):
        lineage = set(plan.lineage(owner[q]))
        for k in range(length):
            near = window is None or positions[k] > positions[q] - window
            visible[q, k] = owner[k] in lineage and positions[k] <= positions[q] and near
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = query @ key.transpose(-1, -2) * scale
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    scores = scores.masked_fill(~visible, float("-inf"))
    if sinks is not None:
        column = sinks.reshape(1, -1, 1, 1).expand(1, -1, length, 1)
        weights = torch.cat([scores, column], -1).softmax(-1)[..., :-1]
    else:
        weights = scores.softmax(-1)
    return (weights @ value).transpose(1, 2)


@st.composite
def plans(draw):
    count = draw(st.integers(1, 6))
    lengths = [draw(st.integers(1, 7)) for _ in range(count)]
    parents = [draw(st.one_of(st.none(), st.integers(0, i - 1))) if i else None for i in range(count)]
    return SegmentPlan.of(lengths, parents)


@settings(max_examples=60, deadline=None)
@given(
    plan=plans(),
    window=st.one_of(st.none(), st.integers(1, 6)),
    softcap=st.one_of(st.none(), st.just(3.0)),
    with_sinks=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_matches_dense_attention_with_gradients(plan, window, softcap, with_sinks, seed):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)

    query, key, value = draw(1, 4, plan.length, 8), draw(1, 2, plan.length, 8), draw(1, 2, plan.length, 8)
    sinks = draw(4) if with_sinks else None
    upstream = torch.randn(1, plan.length, 4, 8, generator=generator, dtype=torch.float64)
    leaves = [query, key, value] + ([sinks] if with_sinks else [])

    ours, _ = segment_attention(
        torch.nn.Identity(), query, key, value, None,
        segments=plan, scaling=0.4, sliding_window=window, softcap=softcap, s_aux=sinks,
    )  # fmt: skip
    ours_gradients = torch.autograd.grad((ours * upstream).sum(), leaves)
    theirs = dense_reference(query, key, value, plan, scale=0.4, window=window, softcap=softcap, sinks=sinks)
    their_gradients = torch.autograd.grad((theirs * upstream).sum(), leaves)

    # The explicit path takes its softmax in fp32, as the models themselves do.
    tolerance = 1e-9 if window is None and softcap is None and sinks is None else 2e-5
    torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance)
    for mine, reference in zip(ours_gradients, their_gradients, strict=True):
        torch.testing.assert_close(mine, reference, atol=tolerance, rtol=tolerance)


def test_long_windowed_segments_cross_query_blocks():
    plan = SegmentPlan.of([300, 150], [None, 0])
    query, key, value = (torch.randn(1, heads, 450, 8) for heads in (4, 2, 2))
    ours, _ = segment_attention(
        torch.nn.Identity(), query, key, value, None, segments=plan, scaling=0.3, sliding_window=70
    )
    torch.testing.assert_close(
        ours, dense_reference(query, key, value, plan, scale=0.3, window=70), atol=1e-5, rtol=1e-4
    )


class Largest(TorchDispatchMode):
    """The most numbers that any one operation's result holds, masks of bits apart."""

    def __init__(self):
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and leaf.dtype != torch.bool:
                self.numbers = max(self.numbers, leaf.numel())
        return result


@pytest.mark.parametrize(
    "asked", [{}, {"sliding_window": 64}, {"s_aux": torch.zeros(4)}, {"softcap": 5.0}], ids=str
)
@pytest.mark.parametrize(
    ("lengths", "parents"),
    [([2048], [None]), ([1024, 256, 256, 512], [None, 0, 0, 0]), ([512] * 4, [None] * 4)],
    ids=["one root", "a prompt with answers", "four roots"],
)
def test_no_scores_of_all_tokens_with_all_tokens_exist(lengths, parents, asked):
    plan = SegmentPlan.of(lengths, parents)
    length = plan.length
    query, key, value = (torch.randn(1, heads, length, 8, requires_grad=True) for heads in (4, 2, 2))
    with Largest() as largest:
        out, _ = segment_attention(torch.nn.Identity(), query, key, value, None, segments=plan, **asked)
        out.sum().backward()
    assert largest.numbers < length * length / 2


@pytest.mark.parametrize("lengths", [[9], [4, 5]], ids=["one segment", "two"])
def test_what_comes_back_can_be_viewed(lengths):
    plan = SegmentPlan.of(lengths)
    query, key, value = (torch.randn(1, 2, 9, 4) for _ in range(3))
    out, _ = segment_attention(torch.nn.Identity(), query, key, value, None, segments=plan)
    assert out.view(1, 9, 8).shape == (1, 9, 8)


@pytest.mark.parametrize(
    "extra",
    [
        {"position_bias": torch.zeros(1)},
        {"head_mask": torch.ones(1)},
        {"dropout": 0.1},
        {"is_causal": False},
        {"some_future_argument": 3},
    ],
)
def test_any_argument_it_does_not_implement_raises(extra):
    plan = SegmentPlan.of([3])
    query, key, value = (torch.randn(1, 2, 3, 4) for _ in range(3))
    with pytest.raises(UnsupportedAttention):
        segment_attention(torch.nn.Identity(), query, key, value, None, segments=plan, **extra)


def test_a_mask_of_the_models_own_raises():
    query, key, value = (torch.randn(1, 2, 3, 4) for _ in range(3))
    with pytest.raises(UnsupportedAttention):
        segment_attention(
            torch.nn.Identity(), query, key, value, torch.zeros(1, 1, 3, 3), segments=SegmentPlan.of([3])
        )
