"""What to do next: first in, first out by account, with everybody riding along who can.

The visited accounts are a subsequence of the FIFO order, every coalesced request rides on an
earlier visit, and what a switch costs depends on its target only; so by induction no visit ends
later than under strict FIFO. Two rules keep it so at the edges: what a visit reads beside the
question whose turn it is may push nobody past their strict-FIFO finish by more than `epsilon`,
neither those it bypasses nor those it answers at its own, later end; and when nobody waits,
the terminal follows the newest arrival, because strict FIFO would have paid for that login already.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.messages import Question
from mt5relay_shared.operator import Turn
from mt5relay_worker.backlog import Backlog, Waiting
from mt5relay_worker.costs import Costs

EPSILON_MS = 25.0
MAX_READS = 256  # of one visit: bounds the message and the time until others are looked at again


@dataclass(frozen=True, slots=True)
class Visit:
    """Switch to an account and read; `serves` are those whose answer these reads are."""

    account: AccountId
    reads_snapshot: bool
    questions: tuple[Question, ...]  # beside the snapshot, each once, oldest first
    serves: tuple[Waiting, ...]

    def answers(self, waiting: Waiting) -> bool:
        """Whether a request that arrived during the switch can ride along."""
        if waiting.is_in_snapshot:
            return self.reads_snapshot and waiting.account == self.account
        return waiting.question in self.questions


@dataclass(frozen=True, slots=True)
class Follow:
    """Nobody waits: log in where the next request will probably want to be."""

    account: AccountId


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until something arrives."""


Step = Visit | Follow | Wait


def next_step(backlog: Backlog, current: AccountId | None, costs: Costs, now_ms: float) -> Step:
    """Decide. `current` is the account the terminal is known to be logged in to, if any."""
    oldest = backlog.oldest()
    if oldest is not None:
        return plan_visit(backlog, oldest.account, current, costs, now_ms)
    if backlog.newest_account not in (None, current):
        return Follow(backlog.newest_account)
    return Wait()


def plan_visit(
    backlog: Backlog, account: AccountId, current: AccountId | None, costs: Costs, now_ms: float
) -> Visit:
    """Choose the reads of a visit to `account`, for which somebody waits."""
    waiting = backlog.waiting_for(account)
    sharing = [one for one in waiting if one.is_in_snapshot]
    single = [one for one in waiting if not one.is_in_snapshot]
    starts = now_ms + (0 if account == current else costs.switch_ms(account))
    slack = _Slack(backlog, waiting[0], costs, starts)
    if not _has_time_for_snapshot(waiting[0], sharing, slack, costs):
        sharing = []
    chosen = _choose_reads(single, slack, costs.snapshot_ms() if sharing else 0.0, costs)
    serves = [*sharing, *(one for one in single if one.question in chosen)]
    return Visit(account, bool(sharing), tuple(chosen), tuple(serves))


def _has_time_for_snapshot(
    oldest: Waiting, sharing: list[Waiting], slack: _Slack, costs: Costs
) -> bool:
    """The full read need not ask for time, unless it is the turn of another question."""
    if not sharing:
        return False
    return slack.allows(
        sharing[0],
        costs.answer_ms(oldest.question.operation) + costs.snapshot_ms(),
    )


class _Slack:
    """How long a visit may read before somebody is served too late.

    A visit answers everybody at its end, so what it reads for a later arrival keeps the account's
    own oldest waiter, and puts off the turn of every account that has waited longer.
    """

    def __init__(self, backlog: Backlog, oldest: Waiting, costs: Costs, starts_ms: float) -> None:
        others = (one for one in backlog.oldest_of_each_account() if one.account != oldest.account)
        in_order = sorted(others, key=lambda one: one.order)
        slacks_ms = [oldest.fifo_finish_ms + EPSILON_MS - starts_ms]
        for other in in_order:
            starts_ms += costs.switch_ms(other.account) + costs.answer_ms(other.question.operation)
            slacks_ms.append(other.fifo_finish_ms + EPSILON_MS - starts_ms)
        self._oldest = oldest
        self._orders = [other.order for other in in_order]
        self._least_ms = list(accumulate(slacks_ms, min))

    def allows(self, waiting: Waiting, reads_ms: float) -> bool:
        """Whether reads of this length may serve a waiter. Whose turn it is, is always served."""
        if waiting is self._oldest:
            return True
        return reads_ms <= self._least_ms[bisect_left(self._orders, waiting.order)]


def _choose_reads(
    single: Iterable[Waiting], slack: _Slack, spent_ms: float, costs: Costs
) -> dict[Question, None]:
    """The distinct questions that fit, oldest first."""
    chosen: dict[Question, None] = {}
    for one in single:
        if one.question in chosen:
            continue
        spent_ms += costs.read_ms(one.question.operation)
        if len(chosen) >= MAX_READS or not slack.allows(one, spent_ms):
            break
        chosen[one.question] = None
    return chosen


def turns(
    backlog: Backlog, current: AccountId | None, costs: Costs, now_ms: float
) -> dict[AccountId, Turn]:
    """When each account that somebody waits for will probably have been served, in that order.

    The wait is bounded by the switches and reads of the *distinct* accounts ahead, whatever the
    number of requests; riders are answered sooner.
    """
    found: dict[AccountId, Turn] = {}
    by_ms = now_ms
    for oldest in _in_turn(backlog):
        account = oldest.account
        by_ms += _visit_ms(account, current, costs)
        waiting = len(backlog.waiting_for(account))
        found[account] = Turn(waiting, oldest.arrived_ms, round(by_ms))
    return found


class Line:
    """The accounts that somebody waits for, in turn, and when the visit to each will begin.

    Read once and joined by newcomers, so that taking in many costs one look at the backlog.
    """

    def __init__(
        self, backlog: Backlog, current: AccountId | None, costs: Costs, now_ms: float
    ) -> None:
        self._current = current
        self._costs = costs
        self._starts_ms: dict[AccountId, float] = {}
        self._end_ms = now_ms
        for oldest in _in_turn(backlog):
            self.join(oldest.account)

    def starts_ms(self, account: AccountId) -> float:
        """When the visit that serves a newcomer of this account will probably begin."""
        return self._starts_ms.get(account, self._end_ms)

    def join(self, account: AccountId) -> None:
        if account not in self._starts_ms:
            self._starts_ms[account] = self._end_ms
            self._end_ms += _visit_ms(account, self._current, self._costs)


def _in_turn(backlog: Backlog) -> list[Waiting]:
    return sorted(backlog.oldest_of_each_account(), key=lambda one: one.order)


def _visit_ms(account: AccountId, current: AccountId | None, costs: Costs) -> float:
    switch_ms = 0 if account == current else costs.switch_ms(account)
    return switch_ms + costs.snapshot_ms()
