"""The pool of sessions: whose credential may stay unsealed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mt5relay_shared.accounts import AccountId
from mt5relay_worker.sessions import SessionPool

ACCOUNTS = [AccountId(number, "Demo") for number in range(1, 8)]
A, B, C, *_ = ACCOUNTS
accounts = st.sampled_from(ACCOUNTS)


def used(pool: SessionPool, *logins: AccountId) -> list[AccountId]:
    """Log in one after the other, a second apart; returns everybody who had to make room."""
    return [
        account
        for second, login in enumerate(logins)
        for account in pool.use(login, "f", float(second))
    ]


@given(st.integers(1, 5), st.lists(accounts, max_size=40))
def test_the_pool_keeps_the_last_used_and_tells_whom_it_forgets(
    limit: int, logins: list[AccountId]
) -> None:
    pool = SessionPool(limit, 300)
    model: list[AccountId] = []  # least recently used first
    for second, login in enumerate(logins):
        evicted = pool.use(login, "f", float(second))
        model = [*(account for account in model if account != login), login]
        assert evicted == model[:-limit]
        model = model[-limit:]
        assert len(pool) == len(model) <= limit
        assert all((account in pool) == (account in model) for account in ACCOUNTS)


@given(
    st.lists(st.tuples(accounts, st.floats(0, 100)), max_size=30),
    st.floats(1, 50),
    st.floats(0, 300),
)
def test_who_was_idle_for_too_long_is_forgotten_and_nobody_else(
    steps: list[tuple[AccountId, float]], idle_timeout: float, later: float
) -> None:
    pool = SessionPool(len(ACCOUNTS), idle_timeout)
    last_used: dict[AccountId, float] = {}
    now = 0.0
    for account, gap in steps:
        now += gap
        pool.use(account, "f", now)
        last_used[account] = now
    now += later
    idle = {account for account, at in last_used.items() if at + idle_timeout <= now}
    assert set(pool.evict_idle(now)) == idle
    assert pool.idle_evictions == len(idle)
    assert {account for account in ACCOUNTS if account in pool} == set(last_used) - idle


def test_the_next_expiry_is_that_of_the_least_recently_used() -> None:
    pool = SessionPool(3, 300)
    assert pool.next_expiry() is None
    used(pool, A, B, A)  # at 0, 1 and 2
    assert pool.next_expiry() == 301
    assert pool.evict_idle(301) == [B]
    assert pool.next_expiry() == 302


def test_a_session_in_use_is_not_idle() -> None:
    pool = SessionPool(3, 300)
    pool.use(A, "f", 0)
    pool.use(A, "f", 299)
    assert pool.evict_idle(300) == []


def test_making_room_is_not_counted_as_idleness() -> None:
    pool = SessionPool(1, 300)
    assert used(pool, A, B, C) == [A, B]
    assert pool.idle_evictions == 0


def test_a_forgotten_session_needs_no_eviction() -> None:
    pool = SessionPool(2, 300)
    used(pool, A, B)
    pool.forget(A)
    pool.forget(C)
    assert A not in pool
    assert pool.use(C, "f", 5) == []


def test_with_the_terminal_process_all_sessions_are_gone() -> None:
    pool = SessionPool(3, 300)
    used(pool, A, B)
    pool.clear()
    assert len(pool) == 0
    assert pool.next_expiry() is None
    assert pool.idle_evictions == 0


def test_its_repr_tells_how_full_it_is() -> None:
    pool = SessionPool(20, 300)
    used(pool, A, B)
    assert repr(pool) == "<SessionPool 2/20, 0 idle evictions>"
