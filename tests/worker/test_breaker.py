"""The circuit breaker: its whole table, and how its pauses grow."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt5relay_shared.errors import Outcome
from mt5relay_shared.health import BreakerState
from mt5relay_worker.breaker import BreakerChange, BreakerPolicy, CircuitBreaker

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
POLICY = BreakerPolicy(failure_threshold=1, first_pause=30.0, longest_pause=600.0)
NOW = 1_000.0

Event = Callable[[CircuitBreaker], object]


def record(outcome: Outcome) -> Event:
    return lambda breaker: breaker.record(outcome, "news", NOW)


def probe_after_the_pause(breaker: CircuitBreaker) -> None:
    breaker.try_probe(NOW + 10_000)


def probe_too_early(breaker: CircuitBreaker) -> None:
    breaker.try_probe(NOW)


def reset(breaker: CircuitBreaker) -> None:
    breaker.reset("a person", NOW)


EVENTS: dict[str, Event] = {
    "success": record(Outcome.SUCCESS),
    "failure": record(Outcome.FAILURE),
    "neutral": record(Outcome.NEUTRAL),
    "probe": probe_after_the_pause,
    "early probe": probe_too_early,
    "reset": reset,
}
TABLE = {
    (CLOSED, "success"): CLOSED,
    (CLOSED, "failure"): OPEN,
    (CLOSED, "neutral"): CLOSED,
    (CLOSED, "probe"): CLOSED,
    (CLOSED, "early probe"): CLOSED,
    (CLOSED, "reset"): CLOSED,
    (OPEN, "success"): OPEN,
    (OPEN, "failure"): OPEN,
    (OPEN, "neutral"): OPEN,
    (OPEN, "probe"): HALF_OPEN,
    (OPEN, "early probe"): OPEN,
    (OPEN, "reset"): CLOSED,
    (HALF_OPEN, "success"): CLOSED,
    (HALF_OPEN, "failure"): OPEN,
    (HALF_OPEN, "neutral"): OPEN,
    (HALF_OPEN, "probe"): HALF_OPEN,
    (HALF_OPEN, "early probe"): HALF_OPEN,
    (HALF_OPEN, "reset"): CLOSED,
}


def breaker_in(
    state: BreakerState, policy: BreakerPolicy = POLICY
) -> tuple[CircuitBreaker, list[BreakerChange]]:
    heard: list[BreakerChange] = []
    breaker = CircuitBreaker(policy, on_change=heard.append)
    if state is not CLOSED:
        for _ in range(policy.failure_threshold):
            breaker.record(Outcome.FAILURE, "down", NOW)
    if state is HALF_OPEN:
        breaker.try_probe(NOW + policy.first_pause)
    heard.clear()
    return breaker, heard


@pytest.mark.parametrize(("state", "event", "expected"), [(*key, to) for key, to in TABLE.items()])
def test_every_event_in_every_state_leads_where_the_table_says(
    state: BreakerState, event: str, expected: BreakerState
) -> None:
    breaker, heard = breaker_in(state)
    EVENTS[event](breaker)
    assert breaker.state is expected
    assert breaker.is_closed is (expected is CLOSED)
    assert [(change.source, change.target) for change in heard] == (
        [] if state is expected else [(state, expected)]
    )


def test_the_table_is_complete() -> None:
    assert set(TABLE) == {(state, event) for state in BreakerState for event in EVENTS}


def test_a_change_tells_its_cause_and_time() -> None:
    breaker, heard = breaker_in(CLOSED)
    breaker.record(Outcome.FAILURE, "IPC timeout", 7.0)
    assert heard == [BreakerChange(CLOSED, OPEN, "IPC timeout", 7.0)]


def test_one_caller_gets_the_probe() -> None:
    breaker, _ = breaker_in(OPEN)
    tries = [
        breaker.try_probe(NOW + 29.9),
        breaker.try_probe(NOW + 30),
        breaker.try_probe(NOW + 31),
    ]
    assert tries == [False, True, False]


def test_only_the_threshold_th_failure_opens() -> None:
    breaker, _ = breaker_in(CLOSED, BreakerPolicy(failure_threshold=3))
    states: list[BreakerState] = []
    for _ in range(3):
        breaker.record(Outcome.FAILURE, "down", NOW)
        states.append(breaker.state)
    assert states == [CLOSED, CLOSED, OPEN]


def test_a_success_starts_the_count_of_failures_anew_and_a_neutral_outcome_does_not() -> None:
    breaker, _ = breaker_in(CLOSED, BreakerPolicy(failure_threshold=2))
    for outcome in (Outcome.FAILURE, Outcome.SUCCESS, Outcome.FAILURE, Outcome.NEUTRAL):
        breaker.record(outcome, "news", NOW)
    assert breaker.is_closed
    breaker.record(Outcome.FAILURE, "down", NOW)
    assert not breaker.is_closed


@given(st.lists(st.just(Outcome.NEUTRAL), max_size=50))
def test_wrong_passwords_alone_never_open_it(outcomes: list[Outcome]) -> None:
    breaker, heard = breaker_in(CLOSED)
    for outcome in outcomes:
        breaker.record(outcome, "wrong password", NOW)
    assert breaker.is_closed
    assert heard == []


def test_a_neutral_probe_gives_its_permit_back_at_once_and_does_not_lengthen_the_pause() -> None:
    breaker, _ = breaker_in(HALF_OPEN)
    breaker.record(Outcome.NEUTRAL, "unknown symbol", NOW + 40)
    assert (breaker.retry_at, breaker.retry_after(NOW + 40)) == (NOW + 40, 0)
    assert breaker.try_probe(NOW + 40)
    breaker.record(Outcome.FAILURE, "down", NOW + 41)
    assert breaker.retry_after(NOW + 41) == 60


def failed_probes(breaker: CircuitBreaker, count: int) -> list[float]:
    """The pause after each of so many failed probes."""
    pauses: list[float] = []
    now = NOW
    for _ in range(count):
        now += breaker.retry_after(now)
        assert breaker.try_probe(now)
        breaker.record(Outcome.FAILURE, "still down", now)
        pauses.append(breaker.retry_after(now))
    return pauses


def test_each_failed_probe_doubles_the_pause_up_to_the_longest() -> None:
    breaker, _ = breaker_in(OPEN)
    assert breaker.retry_after(NOW) == 30
    assert failed_probes(breaker, 6) == [60, 120, 240, 480, 600, 600]


def test_after_a_success_pauses_start_anew() -> None:
    breaker, _ = breaker_in(OPEN)
    failed_probes(breaker, 4)
    breaker.try_probe(NOW + 10_000)
    breaker.record(Outcome.SUCCESS, "well", NOW)
    breaker.record(Outcome.FAILURE, "down again", NOW)
    assert breaker.retry_after(NOW) == 30


@pytest.mark.parametrize("state", [OPEN, HALF_OPEN])
def test_a_person_may_reset_it_and_pauses_start_anew(state: BreakerState) -> None:
    breaker, _ = breaker_in(state)
    breaker.reset("operator", NOW)
    assert (breaker.retry_at, breaker.retry_after(NOW)) == (None, 0)
    breaker.record(Outcome.FAILURE, "down", NOW)
    assert breaker.retry_after(NOW) == 30


def test_a_person_may_end_the_pause_early() -> None:
    breaker, _ = breaker_in(OPEN)
    breaker.allow_probe_now(NOW + 1)
    assert breaker.retry_after(NOW + 1) == 0
    assert breaker.try_probe(NOW + 1)


@pytest.mark.parametrize("state", [CLOSED, HALF_OPEN])
def test_where_there_is_no_pause_there_is_none_to_end(state: BreakerState) -> None:
    breaker, _ = breaker_in(state)
    before = repr(breaker)
    breaker.allow_probe_now(NOW)
    assert repr(breaker) == before


def test_pauses_are_jittered_so_that_terminals_do_not_come_back_together() -> None:
    breaker = CircuitBreaker(POLICY, on_change=lambda _: None, jitter=lambda: 1.1)
    breaker.record(Outcome.FAILURE, "down", 0.0)
    assert breaker.retry_after(0.0) == pytest.approx(33)


def test_the_time_to_come_back_counts_down_to_zero() -> None:
    breaker, _ = breaker_in(OPEN)
    assert [breaker.retry_after(NOW + later) for later in (0, 10, 30, 99)] == [30, 20, 0, 0]


@given(st.lists(st.sampled_from(sorted(EVENTS))))
def test_whatever_happens_it_tells_every_change_and_nothing_else(events: list[str]) -> None:
    breaker, heard = breaker_in(CLOSED)
    states = [breaker.state]
    for event in events:
        EVENTS[event](breaker)
        states.append(breaker.state)
    changes = [(a, b) for a, b in itertools.pairwise(states) if a is not b]
    assert [(change.source, change.target) for change in heard] == changes
    assert (breaker.retry_at is None) == breaker.is_closed
