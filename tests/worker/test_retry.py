"""How long to wait before trying again."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt5relay_worker.retry import RetryPolicy


def test_by_default_there_are_three_tries_after_one_two_and_four_seconds() -> None:
    assert list(RetryPolicy().delays()) == [1.0, 2.0, 4.0]


def test_a_caller_may_allow_fewer_tries() -> None:
    assert list(RetryPolicy().delays(1)) == [1.0]
    assert list(RetryPolicy().delays(0)) == []


@pytest.mark.parametrize("limit", [0, 1, 10])
def test_there_are_as_many_delays_as_tries(limit: int) -> None:
    assert len(list(RetryPolicy(limit=limit).delays())) == limit


@given(st.integers(0, 20), st.floats(0.01, 60), st.floats(1, 100))
def test_delays_double_up_to_the_longest(limit: int, first: float, longest: float) -> None:
    delays = list(RetryPolicy(limit, first, longest).delays())
    assert all(delay <= longest for delay in delays)
    for earlier, later in itertools.pairwise(delays):
        assert later == min(2 * earlier, longest)


def test_delays_are_jittered_each_for_itself() -> None:
    factors = iter([1.1, 0.9, 1.0])
    policy = RetryPolicy(jitter=lambda: next(factors))
    assert list(policy.delays()) == pytest.approx([1.1, 1.8, 4.0])
