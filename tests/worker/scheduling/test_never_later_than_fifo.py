"""Nobody is served later than under strict FIFO, although far fewer logins are made."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.worker.scheduling.conftest import Arrival, SimulatedDay, known_costs

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.operations import SNAPSHOT_OPERATIONS, Operation
from mt5relay_worker.costs import Costs
from mt5relay_worker.schedule import EPSILON_MS

ACCOUNTS = [AccountId(number, f"Server-{number % 2}") for number in range(1, 6)]
ROUNDING_MS = 1e-6


@st.composite
def learned_costs(draw: st.DrawFn) -> Costs:
    """A terminal whose costs are known and do not vary, each account and operation its own."""
    costs = Costs()
    for account in ACCOUNTS:
        costs.observe_switch(account, draw(st.integers(0, 4_000)))
    for operation in Operation:
        costs.observe_read(operation, draw(st.sampled_from([0, 1, 5, 20, 100, 1_000])))
    return costs


def arrivals(*operations: Operation) -> st.SearchStrategy[list[Arrival]]:
    """Up to forty requests, from all at once to minutes apart."""
    gaps_ms = st.sampled_from([0, 0, 0, 1, 10, 300, 3_000, 60_000])
    asked = st.tuples(
        gaps_ms,
        st.sampled_from(ACCOUNTS),
        st.sampled_from(operations),
        st.sampled_from(["EURUSD", "GBPUSD", "XAU", "BTC"]),
    )

    def in_order(steps: list[tuple[int, AccountId, Operation, str]]) -> list[Arrival]:
        at_ms, built = 0, list[Arrival]()
        for gap_ms, account, operation, symbol in steps:
            at_ms += gap_ms
            built.append(Arrival(at_ms, account, operation, symbol))
        return built

    return st.lists(asked, min_size=1, max_size=40).map(in_order)


def worst_lateness_ms(day: SimulatedDay) -> float:
    fifo = day.strict_fifo_ms()
    assert set(day.finished_ms) == set(fifo)  # everybody is served, once
    return max(day.finished_ms[order] - fifo[order] for order in fifo)


@settings(max_examples=300, deadline=None)
@given(learned_costs(), arrivals(*SNAPSHOT_OPERATIONS))
def test_who_asks_how_an_account_stands_is_never_late_at_all(
    costs: Costs, asked: list[Arrival]
) -> None:
    assert worst_lateness_ms(SimulatedDay(costs, asked)) <= ROUNDING_MS


@settings(max_examples=300, deadline=None)
@given(learned_costs(), arrivals(*Operation))
def test_whatever_is_asked_nobody_is_later_than_epsilon(costs: Costs, asked: list[Arrival]) -> None:
    assert worst_lateness_ms(SimulatedDay(costs, asked)) <= EPSILON_MS + ROUNDING_MS


@settings(deadline=None)
@given(learned_costs(), arrivals(*Operation))
def test_the_figure_in_production_is_the_one_of_the_proof(
    costs: Costs, asked: list[Arrival]
) -> None:
    day = SimulatedDay(costs, asked)
    assert day.shadow.late_ms == max(0, round(worst_lateness_ms(day)))
    assert len(day.shadow) == 0


@settings(deadline=None)
@given(learned_costs(), arrivals(*SNAPSHOT_OPERATIONS))
def test_no_more_logins_are_made_than_under_strict_fifo(costs: Costs, asked: list[Arrival]) -> None:
    day = SimulatedDay(costs, asked)
    assert len(day.switches) <= day.shadow.logins


def test_a_thousand_askers_of_ten_accounts_cost_ten_logins() -> None:
    accounts = [AccountId(number, "Demo") for number in range(1, 11)]
    asked = [Arrival(0, accounts[number % 10]) for number in range(1_000)]
    day = SimulatedDay(known_costs(accounts), asked)
    assert (len(day.switches), day.visits) == (10, 10)
    assert day.shadow.logins == 1_000
    assert day.now_ms == 10 * (1_000 + 60)
