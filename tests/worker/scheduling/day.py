"""A terminal of known costs, driven by the schedule as `Visits` drives the real one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.worker.scheduling.conftest import Arrival, waiting

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.operations import OPERATIONS, SNAPSHOT_OPERATIONS, Operation
from mt5relay_worker.backlog import Backlog, Waiting
from mt5relay_worker.costs import Costs
from mt5relay_worker.governor import GovernorPolicy, LoginGovernor
from mt5relay_worker.schedule import Follow, Visit, Wait, next_step
from mt5relay_worker.shadow_fifo import ShadowFifo


@dataclass(frozen=True)
class TerminalCosts:
    """What logins and reads take on a terminal, in whole ms, and whom it always refuses."""

    switch_ms: Mapping[AccountId, int]
    read_ms: Mapping[Operation, int]
    refused: frozenset[AccountId] = frozenset()

    @property
    def snapshot_ms(self) -> int:
        return sum(self.read_ms[operation] for operation in SNAPSHOT_OPERATIONS)

    def answer_ms(self, operation: Operation) -> int:
        """What strict FIFO reads for one request: the full read, too, is one read."""
        return self.snapshot_ms if OPERATIONS[operation].in_snapshot else self.read_ms[operation]

    def as_learned(self) -> Costs:
        """What a worker knows that has seen each of them once."""
        costs = Costs()
        for account, took_ms in self.switch_ms.items():
            costs.observe_switch(account, took_ms)
        for operation, took_ms in self.read_ms.items():
            costs.observe_read(operation, took_ms)
        return costs


@dataclass(frozen=True)
class Login:
    """From one account to another; `wanted` is False where nobody waited for it."""

    began_ms: int
    ended_ms: int
    left: AccountId | None
    account: AccountId
    wanted: bool


@dataclass(frozen=True)
class Answer:
    """`read_began_ms` is None where the login was refused."""

    order: int
    at_ms: int
    read_began_ms: int | None


class Day:
    """What becomes of all who ask, by their order of arrival, from 1. Times in ms.

    `costs` is what the schedule believes, `terminal` what is true.
    """

    def __init__(
        self,
        terminal: TerminalCosts,
        arrivals: Sequence[Arrival],
        costs: Costs | None = None,
        governor: GovernorPolicy | None = None,
    ) -> None:
        self.arrivals = arrivals
        self.answers: list[Answer] = []
        self.expired: list[int] = []
        self.logins: list[Login] = []
        self.ended_ms: list[int] = []  # of every visit
        self.worked_for: set[int] = set()  # the answered, and those for whose sake a visit was made
        self.distinct_bound_ms: dict[int, int] = {}  # see `_bound`
        self.expected_fifo_ms: dict[int, float] = {}
        self.misjudged_ms: dict[int, float] = {}  # of the visits from an arrival to its answer
        self.shadow = ShadowFifo(costs or terminal.as_learned())
        self._terminal = terminal
        self._costs = costs or terminal.as_learned()
        self._governor = LoginGovernor(governor or GovernorPolicy())
        self._backlog = Backlog()
        self._now_ms = 0
        self._busy_until_ms = 0
        self._serving: tuple[Visit, int] | None = None  # and when its reads begin
        self._misjudged_ms = 0.0
        self._current: AccountId | None = None
        self._admitted = 0
        while self._admitted < len(arrivals) or len(self._backlog):
            self._step()

    def _step(self) -> None:
        self._pass(self._now_ms)
        now_ms = self._now_ms
        match next_step(self._backlog, self._current, self._costs, now_ms, self._governor):
            case Visit() as visit:
                self._make(visit)
            case Follow(account):
                self._backlog.newest_account = None
                self._log_in(account, wanted=False)
            case Wait(until_ms):
                self._pass(self._next_event_ms(until_ms))

    def _next_event_ms(self, until_ms: float | None) -> int:
        events = [] if until_ms is None else [int(-(-until_ms // 1))]
        if self._admitted < len(self.arrivals):
            events.append(self.arrivals[self._admitted].at_ms)
        deadline_ms = self._backlog.next_deadline_ms()
        if deadline_ms is not None:
            events.append(deadline_ms)
        return max(self._now_ms, min(events)) if events else self._now_ms + 1

    def _pass(self, to_ms: int) -> None:
        """Let time go by: requests arrive, deadlines pass."""
        while self._admitted < len(self.arrivals):
            arrival = self.arrivals[self._admitted]
            if arrival.at_ms > to_ms:
                break
            self._expire(arrival.at_ms)
            self._admit(arrival)
        self._expire(to_ms)
        self._now_ms = to_ms

    def _admit(self, arrival: Arrival) -> None:
        self._admitted += 1
        order, at_ms = self._admitted, arrival.at_ms
        finish_ms = self.shadow.arrive(str(order), arrival.account, arrival.operation, at_ms)
        self.expected_fifo_ms[order] = finish_ms
        self.misjudged_ms[order] = self._misjudged_ms
        self._backlog.add(waiting(order, arrival, finish_ms))
        self.distinct_bound_ms[order] = self._bound(at_ms)

    def _bound(self, now_ms: int) -> int:
        """What runs, and one visit to each distinct account that then still waits."""
        ahead = [one.account for one in self._backlog.oldest_of_each_account()]
        bound_ms = max(now_ms, self._busy_until_ms)
        for account in ahead:
            if not self._is_being_served(account):
                bound_ms += self._terminal.switch_ms[account] + self._terminal.snapshot_ms
        return bound_ms

    def _is_being_served(self, account: AccountId) -> bool:
        if self._serving is None or self._serving[0].account != account:
            return False
        _, read_begins_ms = self._serving
        newest = self._backlog.waiting_for(account)[-1]
        return newest.admitted_ms <= read_begins_ms

    def _expire(self, now_ms: int) -> None:
        for one in self._backlog.expired(now_ms):
            self.shadow.leave(one.entry, now_ms)
            self.expired.append(one.order)

    def _log_in(self, account: AccountId, *, wanted: bool, reads_ms: int = 0) -> bool:
        """Whether the account was let in. `reads_ms` is how long it will be busy afterwards."""
        if account == self._current:
            self._busy_until_ms = self._now_ms + reads_ms
            return True
        is_refused = account in self._terminal.refused
        began_ms, ended_ms = self._now_ms, self._now_ms + self._terminal.switch_ms[account]
        self._busy_until_ms = ended_ms + (0 if is_refused else reads_ms)
        self._governor.logged_in(account, began_ms)
        self._pass(ended_ms)
        self.logins.append(Login(began_ms, ended_ms, self._current, account, wanted))
        self._current = None if is_refused else account
        return not is_refused

    def _make(self, visit: Visit) -> None:
        oldest = min(visit.serves, key=lambda one: one.order)
        self.worked_for.add(oldest.order)
        self._backlog.visit_begins(oldest)
        switches = visit.account != self._current
        switch_ms = self._terminal.switch_ms[visit.account] if switches else 0
        self._serving = (visit, self._now_ms + switch_ms)
        self._visit(visit, self._misjudgement_of(visit, switches=switches))
        self._serving = None
        self.ended_ms.append(self._now_ms)

    def _visit(self, visit: Visit, misjudged_ms: float) -> None:
        reads_ms = self._reads_ms(visit)
        if not self._log_in(visit.account, wanted=True, reads_ms=reads_ms):
            self._fail(visit.account)
            return
        read_began_ms = self._now_ms
        self._pass(read_began_ms + reads_ms)
        self._misjudged_ms += misjudged_ms
        planned = {one.order for one in visit.serves}
        self._answer(
            [
                one
                for one in self._backlog.waiting_for(visit.account)
                if one.order in planned
                or (visit.answers(one) and one.accepts(read_began_ms, self._now_ms))
            ],
            read_began_ms,
        )

    def _reads_ms(self, visit: Visit) -> int:
        single_ms = sum(self._terminal.read_ms[one.operation] for one in visit.questions)
        return single_ms + (self._terminal.snapshot_ms if visit.reads_snapshot else 0)

    def _misjudgement_of(self, visit: Visit, *, switches: bool) -> float:
        terminal, costs = self._terminal, self._costs
        operations = [one.operation for one in visit.questions]
        operations += SNAPSHOT_OPERATIONS if visit.reads_snapshot else ()
        wrong_ms = sum(abs(terminal.read_ms[one] - costs.read_ms(one)) for one in operations)
        if switches:
            account = visit.account
            wrong_ms += abs(terminal.switch_ms[account] - costs.switch_ms(account))
        return wrong_ms

    def _answer(self, served: Sequence[Waiting], read_began_ms: int) -> None:
        for one in served:
            self.worked_for.add(one.order)
            self.answers.append(Answer(one.order, self._now_ms, read_began_ms))
            switch_ms = self._terminal.switch_ms[one.account]
            read_ms = self._terminal.answer_ms(one.question.operation)
            self.shadow.serve(one.entry, self._now_ms, switch_ms, read_ms)
            self.misjudged_ms[one.order] = self._misjudged_ms - self.misjudged_ms[one.order]
        self._backlog.remove(served)

    def _fail(self, account: AccountId) -> None:
        """A refused login answers all who wait for it, and nobody follows it."""
        failed = self._backlog.waiting_for(account)
        self.shadow.stall(self._now_ms)
        for one in failed:
            self.worked_for.add(one.order)
            self.answers.append(Answer(one.order, self._now_ms, None))
            self.shadow.refuse(one.entry)
        self._backlog.remove(failed)
        if self._backlog.newest_account == account:
            self._backlog.newest_account = None
