"""Nobody is served later than under strict FIFO, although far fewer logins are made."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.worker.scheduling.conftest import Arrival
from tests.worker.scheduling.day import Day, TerminalCosts
from tests.worker.scheduling.paths import PATIENCE_MS, PATTERNS, Path, path_of
from tests.worker.scheduling.promises import PROMISES, Played
from tests.worker.scheduling.replay import replay_command, violations
from tests.worker.scheduling.strict_fifo import impatient_fifo_ms, strict_fifo_logins

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.operations import SNAPSHOT_OPERATIONS, Operation

PATHS = int(os.environ.get("MT5RELAY_SCHEDULING_PATHS") or 20_000)
MISJUDGED_PATHS = PATHS // 10
ACCOUNTS = [AccountId(number, f"Server-{number % 2}") for number in range(1, 6)]
A, B, C, D = ACCOUNTS[:4]
PROMISE_NAMES = [promise.__name__ for promise in PROMISES]
Broken = dict[str, list[str]]


@pytest.fixture(scope="module")
def broken() -> Broken:
    """Random paths of a terminal that costs what the worker has learned."""
    patterns: Counter[str] = Counter()
    found = violations(range(PATHS), patterns=patterns)
    if PATHS >= 1_000:  # or the run would show nothing
        assert set(patterns) == set(PATTERNS)
    return found


@pytest.fixture(scope="module")
def broken_misjudged() -> Broken:
    """Random paths of a terminal that costs up to three times, or a third, of what is believed."""
    return violations(range(MISJUDGED_PATHS), misjudged=True)


@pytest.mark.parametrize("promise", PROMISE_NAMES)
def test_no_path_breaks_the_promise_that(promise: str, broken: Broken) -> None:
    if broken[promise]:
        pytest.fail("\n".join([f"{len(broken[promise])} broken", *broken[promise][:10]]))


@pytest.mark.parametrize("promise", PROMISE_NAMES)
def test_wrongly_believed_costs_do_not_break_the_promise_that(
    promise: str, broken_misjudged: Broken
) -> None:
    found = broken_misjudged[promise]
    if found:
        pytest.fail("\n".join([f"{len(found)} broken", *found[:10]]))


def test_nobody_is_later_than_if_those_who_left_had_never_stood_in_line() -> None:
    late = [
        replay_command(played.path)
        for played in (Played(path_of(seed)) for seed in range(2_000))
        if played.path.asks_snapshots_only
        and any(one.at_ms > played.fifo_of_the_same_ms[one.order] for one in played.day.answers)
    ]
    assert not late[:10]


def test_a_seed_makes_the_same_path_each_time() -> None:
    assert [path_of(seed) for seed in range(50)] == [path_of(seed) for seed in range(50)]


@st.composite
def terminals(draw: st.DrawFn) -> TerminalCosts:
    return TerminalCosts(
        {account: draw(st.integers(0, 4_000)) for account in ACCOUNTS},
        {one: draw(st.sampled_from([0, 1, 5, 20, 100, 1_000])) for one in Operation},
        draw(st.sets(st.sampled_from(ACCOUNTS), max_size=1).map(frozenset)),
    )


def arrivals(*operations: Operation) -> st.SearchStrategy[tuple[Arrival, ...]]:
    """Up to forty requests, from all at once to minutes apart."""
    gaps_ms = st.sampled_from([0, 0, 0, 1, 10, 300, 3_000, 60_000])
    asked = st.tuples(
        gaps_ms,
        st.sampled_from(ACCOUNTS),
        st.sampled_from(operations),
        st.sampled_from(["EURUSD", "GBPUSD", "XAU", "BTC"]),
        st.sampled_from([PATIENCE_MS, PATIENCE_MS, 50, 3_000]),
    )

    def in_order(
        steps: list[tuple[int, AccountId, Operation, str, int]],
    ) -> tuple[Arrival, ...]:
        at_ms, built = 0, list[Arrival]()
        for gap_ms, account, operation, symbol, timeout_ms in steps:
            at_ms += gap_ms
            built.append(Arrival(at_ms, account, operation, symbol, timeout_ms))
        return tuple(built)

    return st.lists(asked, min_size=1, max_size=40).map(in_order)


@settings(max_examples=200, deadline=None)
@given(terminals(), arrivals(*SNAPSHOT_OPERATIONS) | arrivals(*Operation))
def test_no_path_that_is_made_to_break_a_promise_does(
    terminal: TerminalCosts, asked: tuple[Arrival, ...]
) -> None:
    played = Played(Path(0, "by hypothesis", terminal, asked, terminal))
    assert [broken for promise in PROMISES for broken in promise(played)] == []


def test_a_thousand_askers_of_ten_accounts_cost_ten_logins() -> None:
    accounts = [AccountId(number, "Demo") for number in range(1, 11)]
    terminal = _terminal(accounts)
    asked = [Arrival(0, accounts[number % 10]) for number in range(1_000)]
    day = Day(terminal, asked)
    assert (len(day.logins), len(day.ended_ms)) == (10, 10)
    assert strict_fifo_logins(terminal, asked) == day.shadow.logins == 1_000
    assert day.ended_ms[-1] == 10 * (1_000 + 60)


def test_who_would_have_left_a_slower_line_is_served_instead_at_others_cost() -> None:
    """What is not promised: under strict FIFO C's caller gives up, which spares D the login."""
    terminal = _terminal([A, B, C, D], {C: 5_000})
    asked = [Arrival(0, A), Arrival(0, B), Arrival(0, A), Arrival(0, C, timeout_ms=3_000)]
    asked.append(Arrival(0, D))
    day, fifo_ms = Day(terminal, asked), impatient_fifo_ms(terminal, asked)
    answered_ms = {one.order: one.at_ms for one in day.answers}
    assert (day.expired, list(fifo_ms)) == ([4], [1, 2, 3, 5])
    assert answered_ms[5] - fifo_ms[5] == 5_060 - 1_060


def _terminal(accounts: list[AccountId], dear: dict[AccountId, int] | None = None) -> TerminalCosts:
    switch_ms = dict.fromkeys(accounts, 1_000) | (dear or {})
    return TerminalCosts(switch_ms, dict.fromkeys(Operation, 20))
