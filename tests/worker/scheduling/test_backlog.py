"""The backlog: who waits, for which account, and until when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.worker.scheduling.conftest import Arrival, waiting

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.operations import Operation
from mt5relay_worker.backlog import Backlog, Waiting

ACCOUNTS = [AccountId(number, "Demo") for number in range(1, 4)]
A, B, C = ACCOUNTS


class BacklogAgainstAList(RuleBasedStateMachine):
    """Whatever comes and goes, the backlog answers as a plain list in order of arrival would."""

    def __init__(self) -> None:
        super().__init__()
        self.backlog = Backlog()
        self.model: list[Waiting] = []
        self.now_ms = 0
        self.arrived = 0

    @rule(account=st.sampled_from(ACCOUNTS), timeout_ms=st.integers(1, 100))
    def arrive(self, account: AccountId, timeout_ms: int) -> None:
        self.arrived += 1
        one = waiting(self.arrived, Arrival(self.now_ms, account, timeout_ms=timeout_ms))
        self.backlog.add(one)
        self.model.append(one)

    @rule(chosen=st.sets(st.integers(1, 50)))
    def leave(self, chosen: set[int]) -> None:
        gone = [waiting(order, Arrival(0, A)) for order in chosen if order > self.arrived]
        gone += [one for one in self.model if one.order in chosen]
        self.backlog.remove(gone)
        self.model = [one for one in self.model if one.order not in chosen]

    @rule(passed_ms=st.integers(0, 60))
    def time_passes(self, passed_ms: int) -> None:
        self.now_ms += passed_ms
        expired = self.backlog.expired(self.now_ms)
        assert sorted(one.order for one in expired) == [
            one.order for one in self.model if one.deadline_ms <= self.now_ms
        ]
        self.model = [one for one in self.model if one.deadline_ms > self.now_ms]

    @invariant()
    def it_holds_the_same_in_the_same_order(self) -> None:
        assert list(self.backlog) == self.model
        assert len(self.backlog) == len(self.model)
        assert self.backlog.oldest() == (self.model[0] if self.model else None)

    @invariant()
    def it_knows_who_waits_for_each_account(self) -> None:
        for account in ACCOUNTS:
            of_account = [one for one in self.model if one.account == account]
            assert self.backlog.waiting_for(account) == of_account
        assert self.backlog.accounts == len({one.account for one in self.model})

    @invariant()
    def it_knows_the_oldest_of_each_account(self) -> None:
        first: dict[AccountId, Waiting] = {}
        for one in self.model:
            first.setdefault(one.account, one)
        oldest = {one.account: one for one in self.backlog.oldest_of_each_account()}
        assert oldest == first

    @invariant()
    def it_knows_when_the_next_gives_up(self) -> None:
        deadlines = [one.deadline_ms for one in self.model]
        assert self.backlog.next_deadline_ms() == min(deadlines, default=None)


TestBacklogAgainstAList = BacklogAgainstAList.TestCase


def test_a_request_expires_at_its_deadline_and_not_before() -> None:
    backlog = Backlog()
    backlog.add(waiting(1, Arrival(1_000, A, timeout_ms=500)))
    assert backlog.expired(1_499) == []
    assert [one.entry for one in backlog.expired(1_500)] == ["1"]
    assert backlog.expired(1_500) == []


def test_the_newest_account_is_remembered_when_nobody_waits_any_more() -> None:
    backlog = Backlog()
    for order, account in enumerate((A, B), 1):
        backlog.add(waiting(order, Arrival(0, account)))
    backlog.remove(list(backlog))
    assert len(backlog) == 0
    assert backlog.newest_account == B


def test_who_is_gone_already_is_passed_over() -> None:
    backlog = Backlog()
    one = waiting(1, Arrival(0, A))
    backlog.add(one)
    backlog.remove([one, one])
    backlog.remove([one])
    assert one.entry not in backlog


@given(st.sampled_from(Operation))
def test_the_full_read_answers_questions_about_the_account_as_it_stands(
    operation: Operation,
) -> None:
    about_now = {Operation.ACCOUNT_INFO, Operation.POSITIONS, Operation.ORDERS}
    assert waiting(1, Arrival(0, A, operation)).is_in_snapshot == (operation in about_now)


def test_its_repr_tells_how_many_wait() -> None:
    backlog = Backlog()
    for order in (1, 2):
        backlog.add(waiting(order, Arrival(0, A)))
    assert repr(backlog) == "<Backlog 2 requests for 1 accounts>"


def test_questions_stay_in_order_when_who_asked_first_leaves() -> None:
    backlog = Backlog()
    gone, other, still = (
        waiting(order, Arrival(0, A, Operation.TICK, symbol))
        for order, symbol in enumerate(("EURUSD", "XAUUSD", "EURUSD"), 1)
    )
    for one in (gone, other, still):
        backlog.add(one)
    backlog.drop([gone])
    assert list(backlog.questions(A)) == [other.question, still.question]


def test_who_joined_later_is_told_apart() -> None:
    backlog = Backlog()
    for order in (1, 2, 3):
        backlog.add(waiting(order, Arrival(0, A)))
    assert [one.order for one in backlog.joined_after(A, 1)] == [2, 3]
    assert backlog.joined_after(A, 3) == backlog.joined_after(B, 0) == []
