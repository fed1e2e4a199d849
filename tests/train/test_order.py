"""The order of samples: every sample once an epoch, and nothing but (seed, epoch) in it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.train.order import Schedule, epoch_order

STEADY = settings(max_examples=60, deadline=None, derandomize=True)
SCHEDULES = st.builds(
    Schedule,
    samples=st.integers(1, 60),
    an_update=st.integers(1, 20),
    epochs=st.integers(1, 4),
    max_steps=st.none(),
    seed=st.integers(0, 2**32 - 1),
)


@STEADY
@given(schedule=SCHEDULES)
def test_every_epoch_sees_every_sample_once(schedule):
    steps = [schedule.update(step) for step in range(schedule.total_steps)]
    for epoch in range(schedule.epochs):
        seen = steps[epoch * schedule.steps_an_epoch : (epoch + 1) * schedule.steps_an_epoch]
        assert sorted(number for update in seen for number in update) == list(range(schedule.samples))
        assert all(len(update) == schedule.an_update for update in seen[:-1])
        assert 1 <= len(seen[-1]) <= schedule.an_update


@STEADY
@given(samples=st.integers(1, 200), seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 50))
def test_the_order_is_a_pure_function_of_seed_and_epoch(samples, seed, epoch):
    order = epoch_order(samples, seed, epoch)
    epoch_order.cache_clear()
    assert epoch_order(samples, seed, epoch).tolist() == order.tolist()


def test_epochs_and_seeds_differ():
    orders = {tuple(epoch_order(50, seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


def test_the_order_of_a_seed_never_changes_between_versions():
    assert epoch_order(8, 0, 0).tolist() == [2, 4, 3, 6, 5, 0, 1, 7]
    assert epoch_order(8, 0, 1).tolist() == [1, 3, 7, 6, 0, 4, 2, 5]


def test_an_order_takes_eight_bytes_a_sample_and_cannot_be_changed():
    order = epoch_order(1000, 0, 0)
    assert order.nbytes == 8000
    with pytest.raises(ValueError, match="read-only"):
        order[0] = 0


def test_an_updates_numbers_are_plain_ones():
    numbers = Schedule(samples=5, an_update=3, epochs=1, max_steps=None, seed=0).update(0)
    assert isinstance(numbers, tuple) and {type(number) for number in numbers} == {int}


@STEADY
@given(schedule=SCHEDULES)
def test_epochs_are_counted_by_samples_seen(schedule):
    seen = 0
    for step in range(schedule.total_steps):
        seen += len(schedule.update(step))
        assert abs(schedule.epoch_after(step + 1) - seen / schedule.samples) < 1e-9
        assert schedule.ends_epoch(step + 1) == (seen % schedule.samples == 0)
    assert seen == schedule.samples * schedule.epochs


def test_max_steps_has_the_last_word_and_may_go_on_into_later_epochs():
    few = Schedule(samples=10, an_update=4, epochs=5, max_steps=2, seed=0)
    many = Schedule(samples=10, an_update=4, epochs=1, max_steps=7, seed=0)
    assert (few.total_steps, many.total_steps) == (2, 7)
    assert many.update(6) == tuple(epoch_order(10, 0, 2)[:4])
