"""What a switch and a read cost, as far as was seen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.operations import Operation
from mt5relay_worker.costs import DEFAULT_READ_MS, DEFAULT_SWITCH_MS, Costs

KNOWN, SAME_SERVER, ELSEWHERE = AccountId(1, "A"), AccountId(2, "A"), AccountId(3, "B")
durations = st.lists(st.floats(0, 100_000), min_size=1, max_size=50)


def test_before_anything_was_seen_defaults_are_assumed() -> None:
    costs = Costs()
    assert costs.switch_ms(KNOWN) == DEFAULT_SWITCH_MS
    assert costs.read_ms(Operation.TICK) == DEFAULT_READ_MS
    assert costs.switch_percentile(0.5) is None
    assert costs.read_percentile(0.95) is None


def test_an_unknown_account_is_expected_to_cost_what_its_server_does() -> None:
    costs = Costs()
    costs.observe_switch(KNOWN, 700)
    assert costs.switch_ms(KNOWN) == costs.switch_ms(SAME_SERVER) == 700


def test_an_unknown_server_is_expected_to_cost_what_the_others_do() -> None:
    costs = Costs()
    assert not costs.is_learned
    costs.observe_switch(KNOWN, 700)
    assert costs.is_learned
    assert costs.switch_ms(ELSEWHERE) == 700


def test_accounts_of_one_server_are_told_apart_once_known() -> None:
    costs = Costs()
    costs.observe_switch(KNOWN, 500)
    costs.observe_switch(SAME_SERVER, 1_000)
    assert (costs.switch_ms(KNOWN), costs.switch_ms(SAME_SERVER)) == (500, 1_000)


def test_operations_cost_each_their_own() -> None:
    costs = Costs()
    costs.observe_read(Operation.DEALS, 400)
    assert costs.read_ms(Operation.DEALS) == 400
    assert costs.read_ms(Operation.TICK) == DEFAULT_READ_MS


@given(durations)
def test_an_estimate_stays_among_what_was_seen(seen: list[float]) -> None:
    costs = Costs()
    for took_ms in seen:
        costs.observe_switch(KNOWN, took_ms)
        costs.observe_read(Operation.TICK, took_ms)
    for estimate in (costs.switch_ms(KNOWN), costs.read_ms(Operation.TICK)):
        assert min(seen) - 1e-6 <= estimate <= max(seen) + 1e-6


def test_one_slow_login_does_not_turn_the_estimate_round() -> None:
    costs = Costs()
    for _ in range(20):
        costs.observe_switch(KNOWN, 1_000)
    costs.observe_switch(KNOWN, 6_000)
    assert costs.switch_ms(KNOWN) == pytest.approx(2_000)


def test_estimates_follow_a_lasting_change() -> None:
    costs = Costs()
    costs.observe_read(Operation.TICK, 10)
    for _ in range(40):
        costs.observe_read(Operation.TICK, 100)
    assert costs.read_ms(Operation.TICK) == pytest.approx(100, abs=1)


def test_percentiles_are_of_the_recent_past() -> None:
    costs = Costs()
    for took_ms in range(1, 101):
        costs.observe_switch(KNOWN, took_ms)
        costs.observe_read(Operation.TICK, took_ms)
    assert costs.switch_percentile(0.5) == 51
    assert costs.read_percentile(0.95) == 96
    for _ in range(1_000):
        costs.observe_switch(KNOWN, 7)
    assert costs.switch_percentile(0.95) == 7


def test_a_broker_with_very_many_accounts_does_not_fill_the_memory() -> None:
    costs = Costs()
    for login in range(1, 20_001):
        costs.observe_switch(AccountId(login, "A"), 500)
    costs.observe_switch(AccountId(1, "B"), 900)
    assert costs.switch_ms(AccountId(20_000, "A")) == 500
    assert costs.switch_ms(AccountId(30_000, "A")) == 500  # the server is never forgotten


def test_what_a_visit_takes_beside_the_terminal_is_learned_from_small_visits() -> None:
    costs = Costs()
    costs.observe_overhead(50.0, served=200)
    assert costs.overhead_ms == 0
    costs.observe_overhead(2.0, served=1)
    assert costs.overhead_ms == 2
