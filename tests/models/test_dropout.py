"""Dropout whose masks depend on where training stands and on nothing else."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tunesmith.models.dropout import DropoutKey, keep_mask, key_dropout, mix

CPU = torch.device("cpu")
KEYS = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 10**6), st.integers(0, 10**4))


def two_dropouts(rate: float = 0.25) -> tuple[nn.Sequential, DropoutKey]:
    """Both are fed the same ones, so that their masks can be compared."""
    model, key = nn.Sequential(nn.Dropout(rate), nn.Dropout(rate)), DropoutKey()
    assert key_dropout(model, key) == 2
    return model.train(), key


def masks(model: nn.Sequential, key: DropoutKey, place: tuple[int, int, int]) -> list[torch.Tensor]:
    key.seed, key.step, key.row = place
    return [module(torch.ones(64, 64)) for module in model]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(place=KEYS, axis=st.integers(0, 2), distance=st.integers(1, 5))
def test_a_mask_is_a_function_of_seed_step_row_and_module(place, axis, distance):
    other = tuple(value + distance * (number == axis) for number, value in enumerate(place))
    model, key = two_dropouts()
    first = masks(model, key, place)
    elsewhere = masks(model, key, other)
    torch.manual_seed(hash(other) % 2**31)  # no generator has a say
    again = masks(model, key, place)
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], elsewhere[0])


@settings(max_examples=20, deadline=None, derandomize=True)
@given(rate=st.sampled_from([0.01, 0.1, 0.5, 0.9]), seed=st.integers(0, 2**63 - 1))
def test_the_rate_is_kept_and_the_scale_makes_up_for_it(rate, seed):
    threshold = round(rate * 65536)
    mask = keep_mask(torch.Size([200, 500]), threshold, seed, CPU)
    # Five standard deviations of a share among 100,000.
    assert abs(float(mask.float().mean()) - (1 - rate)) < 5 * (rate * (1 - rate) / 100_000) ** 0.5
    dropout, key = nn.Dropout(rate), DropoutKey(seed=seed % 2**32)
    key_dropout(dropout, key)
    kept = dropout.train()(torch.ones(200, 500)).unique().tolist()
    assert kept == pytest.approx([0.0, 1 / (1 - rate)], rel=1e-2)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(first=KEYS, second=KEYS)
def test_two_masks_are_independent(first, second):
    """Of two masks of rate one half, a quarter of the places are kept by both."""
    if first == second:
        return
    one, two = (keep_mask(torch.Size([40_000]), 1 << 15, mix(*key), CPU) for key in (first, second))
    both = float((one & two).float().mean())
    assert abs(both - 0.25) < 5 * (0.25 * 0.75 / 40_000) ** 0.5


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["seed", "step", "row"])
def test_neighbouring_places_have_independent_masks(axis):
    def at(value: int) -> torch.Tensor:
        place = [3, 3, 3]
        place[axis] = value
        return keep_mask(torch.Size([40_000]), 1 << 15, mix(*place, 0), CPU)

    for value in range(10):
        both = float((at(value) & at(value + 1)).float().mean())
        assert abs(both - 0.25) < 5 * (0.25 * 0.75 / 40_000) ** 0.5


@pytest.mark.parametrize("shape", [(1,), (3,), (5, 7), (2, 3, 4), (1, 9, 33)])
def test_any_shape_has_its_mask(shape):
    assert keep_mask(torch.Size(shape), 1 << 15, 1, CPU).shape == shape


def test_nothing_is_dropped_in_evaluation_or_at_rate_zero():
    x = torch.randn(50, 50)
    model, _ = two_dropouts()
    assert torch.equal(model.eval()(x), x)
    untouched = nn.Dropout(0.0)
    assert key_dropout(untouched, DropoutKey()) == 0
    assert torch.equal(untouched.train()(x), x)


def test_gradients_flow_where_the_mask_lets_values_through():
    dropout = nn.Dropout(0.5)
    key_dropout(dropout, DropoutKey(seed=1))
    x = torch.randn(30, 30, requires_grad=True)
    output = dropout.train()(x)
    output.sum().backward()
    assert torch.equal(x.grad, torch.where(output == 0, 0.0, 2.0))


def test_the_type_of_values_stays():
    dropout = nn.Dropout(0.3)
    key_dropout(dropout, DropoutKey())
    assert dropout.train()(torch.ones(9, dtype=torch.bfloat16)).dtype == torch.bfloat16


@settings(max_examples=50, deadline=None, derandomize=True)
@given(numbers=st.lists(st.integers(0, 2**63), min_size=1, max_size=5))
def test_mixed_seeds_are_nonnegative_and_depend_on_order(numbers):
    assert 0 <= mix(*numbers) < 2**63
    if numbers != numbers[::-1]:
        assert mix(*numbers) != mix(*numbers[::-1])
