"""How often the terminal may log in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt5relay_shared.accounts import AccountId
from mt5relay_worker.governor import GovernorPolicy, LoginCounts, LoginGovernor

A, B, ELSEWHERE = AccountId(1, "Demo"), AccountId(2, "Demo"), AccountId(3, "Live")
MINUTE, HOUR = 60_000, 3_600_000


def governor(per_minute: float = 6, burst: int = 1, dwell_ms: float = 0) -> LoginGovernor:
    """By default one login in ten seconds."""
    return LoginGovernor(GovernorPolicy(per_minute, burst, dwell_ms))


def is_allowed(asked: LoginGovernor, account: AccountId, now_ms: float) -> bool:
    return asked.allows_at_ms(account, None) <= now_ms


def test_without_a_limit_every_login_is_allowed_at_once() -> None:
    free = governor(per_minute=0)
    for now_ms in (0, 0, 1):
        assert is_allowed(free, A, now_ms)
        free.logged_in(A, now_ms)


def test_a_login_puts_off_the_next_at_its_server_alone() -> None:
    one = governor()
    one.logged_in(A, 1_000)
    assert one.allows_at_ms(B, A) == 11_000
    assert is_allowed(one, ELSEWHERE, 1_000)


def test_where_no_login_is_needed_nothing_is_put_off() -> None:
    one = governor(dwell_ms=5_000)
    one.logged_in(A, 1_000)
    assert one.allows_at_ms(A, A) < 0


def test_a_quiet_time_saves_up_a_burst_and_no_more() -> None:
    one = governor(burst=3)
    for _ in range(3):
        assert is_allowed(one, A, HOUR)
        one.logged_in(A, HOUR)
    assert one.allows_at_ms(A, None) == HOUR + 10_000


def test_an_account_is_not_left_before_its_dwell_is_over() -> None:
    one = governor(per_minute=0, dwell_ms=5_000)
    one.logged_in(A, 1_000)
    assert one.allows_at_ms(ELSEWHERE, A) == 6_000


def test_a_login_that_nobody_needs_leaves_half_the_burst() -> None:
    one = governor(burst=4)
    for _ in range(2):
        assert one.allows_follow_at_ms(A, None) <= HOUR
        one.logged_in(A, HOUR)
    assert one.allows_follow_at_ms(A, None) == HOUR + 10_000
    assert is_allowed(one, A, HOUR)


def test_jitter_makes_pauses_uneven_and_never_shorter() -> None:
    factors = iter([1.0, 1.5])
    one = LoginGovernor(GovernorPolicy(6, 1), jitter=lambda: next(factors))
    one.logged_in(A, 0)
    one.logged_in(A, 10_000)
    assert one.allows_at_ms(A, None) == 25_000


def test_a_forecast_leaves_the_governor_as_it_is() -> None:
    one = governor()
    one.forecast().logged_in(A, 0)
    assert is_allowed(one, A, 0)


@given(
    st.lists(st.integers(0, 3_000), min_size=2, max_size=60),
    st.integers(1, 10),
    st.sampled_from([6.0, 60.0, 600.0]),
)
def test_no_span_has_more_logins_than_burst_and_rate_give(
    pauses_ms: list[int], burst: int, per_minute: float
) -> None:
    """Whoever waits as told never makes more than burst + rate x span."""
    one = governor(per_minute, burst)
    now_ms, logins = 0.0, list[float]()
    for pause_ms in pauses_ms:
        now_ms = max(now_ms + pause_ms, one.allows_at_ms(A, None))
        one.logged_in(A, now_ms)
        logins.append(now_ms)
    for first in range(len(logins)):
        for last in range(first, len(logins)):
            span_ms = logins[last] - logins[first]
            assert last - first + 1 <= burst + span_ms * per_minute / MINUTE + 1e-6


@pytest.mark.parametrize(("now_ms", "left"), [(0, 2), (59 * MINUTE, 2), (HOUR + MINUTE, 0)])
def test_logins_are_counted_for_an_hour(now_ms: float, left: int) -> None:
    counts = LoginCounts()
    counts.add(A, 0)
    counts.add(A, 0)
    assert counts.of_last_hour(now_ms)[A] == left
    assert counts.of_last_hour(now_ms).total() == left


def test_each_account_has_its_own_count() -> None:
    counts = LoginCounts()
    for account in (A, B, B):
        counts.add(account, MINUTE)
    assert dict(counts.of_last_hour(2 * MINUTE)) == {A: 1, B: 2}
