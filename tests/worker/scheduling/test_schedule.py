"""What the worker does next."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.worker.scheduling.conftest import Arrival, known_costs, queue, waiting

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.operations import SNAPSHOT_OPERATIONS, Operation
from mt5relay_shared.operator import Turn
from mt5relay_worker.backlog import Backlog
from mt5relay_worker.costs import Costs
from mt5relay_worker.schedule import (
    MAX_READS,
    MIN_READS,
    Follow,
    Step,
    Visit,
    Wait,
    next_step,
    plan_visit,
    turns,
)

ACCOUNTS = [AccountId(number, "Demo") for number in range(1, 5)]
A, B, C, D = ACCOUNTS
TICK, RATES = Operation.TICK, Operation.RATES
COSTS = known_costs(ACCOUNTS, switch_ms=1_000, read_ms=20)

arrivals = st.lists(
    st.builds(
        Arrival,
        at_ms=st.just(0),
        account=st.sampled_from(ACCOUNTS),
        operation=st.sampled_from(Operation),
        symbol=st.sampled_from(["EURUSD", "GBPUSD", "XAU"]),
    ),
    min_size=1,
    max_size=30,
)


def decide(
    waiters: Sequence[Arrival], *, current: AccountId | None = None, costs: Costs = COSTS
) -> Step:
    return next_step(queue(costs, waiters), current, costs, 0)


def visit(
    waiters: Sequence[Arrival], *, current: AccountId | None = None, costs: Costs = COSTS
) -> Visit:
    step = decide(waiters, current=current, costs=costs)
    assert isinstance(step, Visit)
    return step


def served(step: Visit) -> list[int]:
    return sorted(one.order for one in step.serves)


def ticks(account: AccountId, *symbols: str) -> list[Arrival]:
    return [Arrival(0, account, TICK, symbol) for symbol in symbols]


@given(arrivals, st.sampled_from([None, *ACCOUNTS]))
def test_the_oldest_waiters_account_comes_first_whoever_is_logged_in(
    waiters: list[Arrival], current: AccountId | None
) -> None:
    step = visit(waiters, current=current)
    assert step.account == waiters[0].account
    assert 1 in served(step)


@given(arrivals)
def test_a_visit_serves_its_account_only(waiters: list[Arrival]) -> None:
    step = visit(waiters)
    assert {one.account for one in step.serves} == {step.account}


@given(arrivals)
def test_everybody_a_visit_serves_is_answered_by_its_reads(waiters: list[Arrival]) -> None:
    step = visit(waiters)
    assert all(step.answers(one) for one in step.serves)
    assert len(set(step.questions)) == len(step.questions)


@pytest.mark.parametrize("current", [None, A, B])
def test_one_full_read_answers_everybody_who_asks_how_the_account_stands(
    current: AccountId | None,
) -> None:
    waiters = [Arrival(0, A), Arrival(0, B), *(Arrival(0, A, op) for op in SNAPSHOT_OPERATIONS)]
    step = visit(waiters, current=current)
    assert (step.reads_snapshot, step.questions) == (True, ())
    assert served(step) == [1, 3, 4, 5]


def test_where_nobody_asks_how_the_account_stands_it_is_not_read() -> None:
    step = visit(ticks(A, "EURUSD"))
    assert not step.reads_snapshot
    assert [question.operation for question in step.questions] == [TICK]


def test_one_read_answers_everybody_who_asks_the_same() -> None:
    step = visit(ticks(A, "EURUSD", "EURUSD", "EURUSD"))
    assert len(step.questions) == 1
    assert served(step) == [1, 2, 3]


def test_distinct_questions_are_read_oldest_first() -> None:
    free = known_costs(ACCOUNTS, read_ms=0)
    step = visit(ticks(A, "GBPUSD", "EURUSD", "GBPUSD", "XAU"), costs=free)
    assert [question.arguments for question in step.questions] == [
        one.question.arguments for one in (step.serves[0], step.serves[1], step.serves[3])
    ]


def test_the_oldest_question_is_read_however_long_it_takes() -> None:
    slow = known_costs(ACCOUNTS, read_ms=60_000)
    step = visit([Arrival(0, A, RATES), Arrival(0, B)], costs=slow)
    assert served(step) == [1]


def test_a_cheap_read_may_bypass_within_epsilon() -> None:
    quick = known_costs(ACCOUNTS, read_ms=10)
    step = visit([*ticks(A, "EURUSD"), *ticks(B, "EURUSD"), *ticks(A, "GBPUSD")], costs=quick)
    assert served(step) == [1, 3]


def test_a_dear_read_waits_for_its_turn() -> None:
    slow = known_costs(ACCOUNTS, read_ms=400)
    step = visit([*ticks(A, "EURUSD"), *ticks(B, "EURUSD"), *ticks(A, "GBPUSD")], costs=slow)
    assert served(step) == [1]


@pytest.mark.parametrize(("fifo_finish_ms", "expected"), [(1_700, [1]), (9_999, [1, 3])])
def test_time_that_coalescing_saved_may_be_spent_on_reads(
    fifo_finish_ms: float, expected: list[int]
) -> None:
    slow = known_costs(ACCOUNTS, switch_ms=1_000, read_ms=400)
    backlog = Backlog()
    for order, one in enumerate([*ticks(A, "X"), *ticks(B, "X"), *ticks(A, "Y")], 1):
        backlog.add(waiting(order, one, fifo_finish_ms))
    assert served(plan_visit(backlog, A, None, slow, 0)) == expected


def test_a_long_read_does_not_keep_who_is_answered_with_it() -> None:
    costs = known_costs(ACCOUNTS, read_ms=1)
    costs.observe_read(RATES, 1)
    for _ in range(100):
        costs.observe_read(RATES, 5_000)
    step = visit([Arrival(0, A), Arrival(0, A, RATES)], costs=costs)
    assert served(step) == [1]


def test_a_full_read_does_not_keep_whose_turn_it_is() -> None:
    slow = known_costs(ACCOUNTS, read_ms=400)
    step = visit([*ticks(A, "EURUSD"), Arrival(0, A)], costs=slow)
    assert (step.reads_snapshot, served(step)) == (False, [1])


def test_a_visit_has_a_bound_on_its_reads() -> None:
    free = known_costs(ACCOUNTS, read_ms=0)
    many = ticks(A, *(f"S{number}" for number in range(MAX_READS + 50)))
    assert len(visit([*many, Arrival(0, B)], costs=free).questions) == MAX_READS


@pytest.mark.parametrize(
    ("waiting_for_a", "others", "read"),
    [
        (MIN_READS, [], MIN_READS),
        (3 * MIN_READS, [], 3 * MIN_READS // 2),
        (3 * MIN_READS, [Arrival(0, B)], 3 * MIN_READS),
        (9 * MAX_READS, [], MAX_READS),
    ],
    ids=["too few to share out", "one half", "not where others wait", "the bound"],
)
def test_of_many_for_one_account_half_are_answered_while_the_others_are_read(
    waiting_for_a: int, others: list[Arrival], read: int
) -> None:
    free = known_costs(ACCOUNTS, read_ms=0)
    asked = ticks(A, *(f"S{number}" for number in range(waiting_for_a)))
    assert len(visit([*asked, *others], costs=free).questions) == read


def test_who_arrives_during_the_login_rides_along_where_the_reads_answer_it() -> None:
    step = visit([Arrival(0, A), *ticks(A, "EURUSD")], costs=known_costs(ACCOUNTS, read_ms=1))
    rides = {
        arrival: step.answers(waiting(9, arrival))
        for arrival in (
            Arrival(0, A, Operation.ORDERS),
            Arrival(0, A, TICK, "EURUSD"),
            Arrival(0, A, TICK, "GBPUSD"),
            Arrival(0, B, Operation.ORDERS),
            Arrival(0, B, TICK, "EURUSD"),
        )
    }
    assert list(rides.values()) == [True, True, False, False, False]


def test_a_visit_that_reads_no_snapshot_takes_nobody_along_who_wants_one() -> None:
    step = visit(ticks(A, "EURUSD"))
    assert not step.answers(waiting(9, Arrival(0, A)))


def test_when_nobody_waits_the_terminal_follows_the_newest_arrival() -> None:
    backlog = queue(COSTS, [Arrival(0, A), Arrival(0, B)])
    backlog.remove(list(backlog))
    assert next_step(backlog, A, COSTS, 0) == Follow(B)


@pytest.mark.parametrize("current", [None, A])
def test_where_nothing_ever_arrived_there_is_nobody_to_follow(current: AccountId | None) -> None:
    assert next_step(Backlog(), current, COSTS, 0) == Wait()


def test_who_is_there_already_waits() -> None:
    backlog = queue(COSTS, [Arrival(0, A)])
    backlog.remove(list(backlog))
    assert next_step(backlog, A, COSTS, 0) == Wait()


def test_a_full_read_costs_its_three_reads() -> None:
    assert COSTS.snapshot_ms() == 60


def test_the_wait_is_the_sum_over_the_distinct_accounts_ahead_whatever_the_request_rate() -> None:
    backlog = queue(COSTS, [Arrival(0, account) for account in (A, B, C) for _ in range(100)])
    assert turns(backlog, None, COSTS, 0) == {
        A: Turn(100, 0, 1_060),
        B: Turn(100, 0, 2_120),
        C: Turn(100, 0, 3_180),
    }
    assert turns(backlog, A, COSTS, 500)[C].by_ms == 500 + 3 * 1_060 - 1_000
    assert turns(Backlog(), None, COSTS, 500) == {}


def test_a_visit_may_be_planned_for_an_account_out_of_turn() -> None:
    backlog = queue(COSTS, [Arrival(0, A), Arrival(0, B), Arrival(0, B)])
    assert served(plan_visit(backlog, B, None, COSTS, 0)) == [2, 3]


def test_a_worker_that_has_fallen_behind_reads_many_at_once() -> None:
    """Strict FIFO pays for a visit with each request; one visit for many must not look late."""
    costs = known_costs(ACCOUNTS, switch_ms=1_000, read_ms=0.05)
    costs.observe_overhead(2.0, served=1)
    behind = queue(costs, ticks(A, *(f"S{number}" for number in range(2 * MAX_READS))))
    late = plan_visit(behind, A, A, costs, now_ms=1_000 + 300)
    assert len(late.questions) == MAX_READS
