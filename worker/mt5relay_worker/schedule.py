"""What to do next: first in, first out by account, with everybody riding along who can.

The visited accounts are a subsequence of the FIFO order, every coalesced request rides on an
earlier visit, and what a switch costs depends on its target only; so by induction no visit ends
later than under strict FIFO. Two rules keep it so at the edges: what a visit reads beside the
question whose turn it is may push nobody past their strict-FIFO finish by more than `epsilon`,
neither those it bypasses nor those it answers at its own, later end; and when nobody waits,
the terminal follows the newest arrival, because strict FIFO would have paid for that login already.

The login governor stands above that: while it holds the oldest waiter's login back, those are
served, in turn, whose visit it allows and ends before that login may be made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.messages import Question
from mt5relay_shared.operator import Turn
from mt5relay_worker.backlog import Backlog, Waiting
from mt5relay_worker.costs import Costs
from mt5relay_worker.governor import GovernorPolicy, LoginGovernor

EPSILON_MS = 25.0
MAX_READS = 256  # of one visit: bounds the message and the time until others are looked at again
MIN_READS = 32  # fewer are not worth a visit of their own
RUN_LIMIT = 4 * MAX_READS  # requests that are looked at for those in a row
UNGOVERNED = LoginGovernor(GovernorPolicy())  # allows every login at once


@dataclass(frozen=True, slots=True)
class Visit:
    """Switch to an account and read; `serves` are those whose answer these reads are.

    `planned_at` is the last place in the line when this was planned: who comes after it may ride
    along.
    """

    account: AccountId
    reads_snapshot: bool
    questions: tuple[Question, ...]  # beside the snapshot, each once, oldest first
    serves: tuple[Waiting, ...]
    planned_at: int = 0
    _asked: frozenset[Question] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_asked", frozenset(self.questions))

    def answers(self, waiting: Waiting) -> bool:
        """Whether a request that arrived during the switch can ride along."""
        if waiting.is_in_snapshot:
            return self.reads_snapshot and waiting.account == self.account
        return waiting.question in self._asked


@dataclass(frozen=True, slots=True)
class Follow:
    """Nobody waits: log in where the next request will probably want to be."""

    account: AccountId


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until something arrives, or until the governor allows the next login."""

    until_ms: float | None = None


Step = Visit | Follow | Wait


def next_step(
    backlog: Backlog,
    current: AccountId | None,
    costs: Costs,
    now_ms: float,
    governor: LoginGovernor = UNGOVERNED,
) -> Step:
    """Decide. `current` is the account the terminal is known to be logged in to, if any."""
    oldest = backlog.oldest()
    if oldest is None:
        return _while_nobody_waits(backlog.newest_account, current, now_ms, governor)
    if governor.allows_at_ms(oldest.account, current) <= now_ms:
        return plan_visit(backlog, oldest.account, current, costs, now_ms)
    return _while_held_back(backlog, current, costs, now_ms, governor)


def _while_held_back(
    backlog: Backlog,
    current: AccountId | None,
    costs: Costs,
    now_ms: float,
    governor: LoginGovernor,
) -> Step:
    """Serve whom the governor allows, as long as that holds up nobody who has waited longer."""
    next_turn_ms = math.inf
    for oldest in _in_turn(backlog):
        allowed_ms = governor.allows_at_ms(oldest.account, current)
        course = _Course(current, costs, now_ms, governor)
        if allowed_ms > now_ms:
            next_turn_ms = min(next_turn_ms, allowed_ms)
        elif course.visit(oldest.account) <= next_turn_ms and course.may_go_on_ms <= next_turn_ms:
            return plan_visit(backlog, oldest.account, current, costs, now_ms)
    return Wait(next_turn_ms)


def _while_nobody_waits(
    newest: AccountId | None, current: AccountId | None, now_ms: float, governor: LoginGovernor
) -> Step:
    if newest is None or newest == current:
        return Wait()
    allowed_ms = governor.allows_follow_at_ms(newest, current)
    return Follow(newest) if allowed_ms <= now_ms else Wait(allowed_ms)


def plan_visit(
    backlog: Backlog, account: AccountId, current: AccountId | None, costs: Costs, now_ms: float
) -> Visit:
    """Choose the reads of a visit to `account`, for which somebody waits."""
    oldest, sharing = backlog.oldest_for(account), backlog.sharing(account)
    assert oldest is not None  # noqa: S101 - somebody waits
    switch_ms = 0 if account == current else costs.switch_ms(account)
    slack = _Slack(backlog, oldest, costs, now_ms + switch_ms + costs.overhead_ms)
    if not _has_time_for_snapshot(oldest, sharing, slack, costs):
        sharing = []
    questions = backlog.questions(account)
    spent_ms = costs.snapshot_ms() if sharing else 0.0
    chosen = _choose_reads(questions, slack, spent_ms, costs, _most_reads(backlog, len(questions)))
    asking = (one for question in chosen for one in questions[question].values())
    serves = sorted((*sharing, *asking), key=lambda one: one.order)
    return Visit(account, bool(sharing), tuple(chosen), tuple(serves), backlog.newest_order())


def _has_time_for_snapshot(
    oldest: Waiting, sharing: Sequence[Waiting], slack: _Slack, costs: Costs
) -> bool:
    """The full read need not ask for time, unless it is the turn of another question."""
    if not sharing:
        return False
    return slack.allows(
        sharing[0],
        costs.answer_ms(oldest.question.operation) + costs.snapshot_ms(),
    )


class _Slack:
    """How long a visit may read before its own oldest waiter is served too late.

    Nobody behind can be late then either: strict FIFO, too, serves them after that waiter, and pays
    for their logins. Where costs were misjudged and the oldest is late already, those may be read
    together whom strict FIFO would serve one after the other, for as long as epsilon: one visit for
    each would only make all of them later.
    """

    def __init__(self, backlog: Backlog, oldest: Waiting, costs: Costs, starts_ms: float) -> None:
        self._oldest = oldest
        self._reads_ms = oldest.fifo_finish_ms + EPSILON_MS - starts_ms
        self._run_ends = 0
        if self._reads_ms < costs.answer_ms(oldest.question.operation):
            self._run_ends = backlog.run_ends(oldest, RUN_LIMIT)

    def allows(self, waiting: Waiting, reads_ms: float) -> bool:
        """Whether reads of this length may serve a waiter. Whose turn it is, is always served."""
        if waiting is self._oldest or reads_ms <= self._reads_ms:
            return True
        return waiting.order < self._run_ends and reads_ms <= EPSILON_MS


def _most_reads(backlog: Backlog, questions: int) -> int:
    """Where everybody waits for one account, one half is answered while the other is read."""
    if backlog.accounts > 1:
        return MAX_READS
    return min(MAX_READS, max(MIN_READS, math.ceil(questions / 2)))


def _choose_reads(
    questions: Mapping[Question, Mapping[str, Waiting]],
    slack: _Slack,
    spent_ms: float,
    costs: Costs,
    most: int,
) -> list[Question]:
    """The questions that fit, oldest first."""
    chosen: list[Question] = []
    for question, asking in questions.items():
        spent_ms += costs.read_ms(question.operation)
        oldest = next(iter(asking.values()))
        if len(chosen) >= most or not slack.allows(oldest, spent_ms):
            break
        chosen.append(question)
    return chosen


class _Course:
    """Where the terminal will probably be from now on, visit by visit."""

    def __init__(
        self, current: AccountId | None, costs: Costs, now_ms: float, governor: LoginGovernor
    ) -> None:
        self._current = current
        self._costs = costs
        self._at_ms = now_ms
        self._governor = governor.forecast()

    def starts_ms(self, account: AccountId) -> float:
        """When the next visit could begin, if it were to this account."""
        return max(self._at_ms, self._governor.allows_at_ms(account, self._current))

    @property
    def may_go_on_ms(self) -> float:
        """When the terminal may leave the account it is on then."""
        return self._governor.dwells_until_ms

    def visit(self, account: AccountId) -> float:
        """Make that visit; returns when it ends."""
        self._at_ms = self.starts_ms(account)
        if account != self._current:
            self._governor.logged_in(account, self._at_ms)
            self._at_ms += self._costs.switch_ms(account)
            self._current = account
        self._at_ms += self._costs.snapshot_ms()
        return self._at_ms


def turns(
    backlog: Backlog,
    current: AccountId | None,
    costs: Costs,
    now_ms: float,
    governor: LoginGovernor = UNGOVERNED,
) -> dict[AccountId, Turn]:
    """When each account that somebody waits for will probably have been served, in that order.

    The wait is bounded by the switches and reads of the *distinct* accounts ahead, whatever the
    number of requests, and by the login governor; riders are answered sooner.
    """
    course = _Course(current, costs, now_ms, governor)
    return {
        oldest.account: Turn(
            len(backlog.waiting_for(oldest.account)),
            oldest.arrived_ms,
            round(course.visit(oldest.account)),
        )
        for oldest in _in_turn(backlog)
    }


class Line:
    """The accounts that somebody waits for, in turn, and when the visit to each will begin.

    Read once and joined by newcomers, so that taking in many costs one look at the backlog.
    """

    def __init__(
        self,
        backlog: Backlog,
        current: AccountId | None,
        costs: Costs,
        now_ms: float,
        governor: LoginGovernor = UNGOVERNED,
    ) -> None:
        self._course = _Course(current, costs, now_ms, governor)
        self._starts_ms: dict[AccountId, float] = {}
        for oldest in _in_turn(backlog):
            self.join(oldest.account)

    def starts_ms(self, account: AccountId) -> float:
        """When the visit that serves a newcomer of this account will probably begin."""
        if account in self._starts_ms:
            return self._starts_ms[account]
        return self._course.starts_ms(account)

    def join(self, account: AccountId) -> None:
        if account not in self._starts_ms:
            self._starts_ms[account] = self._course.starts_ms(account)
            self._course.visit(account)


def _in_turn(backlog: Backlog) -> list[Waiting]:
    return sorted(backlog.oldest_of_each_account(), key=lambda one: one.order)
