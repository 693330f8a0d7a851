"""What to do next: first in, first out by account, with everybody riding along who can.

The visited accounts are a subsequence of the FIFO order, every coalesced request rides on an
earlier visit, and what a switch costs depends on its target only; so by induction no visit ends
later than under strict FIFO. Two rules keep it so at the edges: a read that cannot be shared may
push nobody it bypasses past their strict-FIFO finish by more than `epsilon`; and when nobody waits,
the terminal follows the newest arrival, because strict FIFO would have paid for that login already.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.messages import Question
from mt5relay_shared.operations import SNAPSHOT_OPERATIONS
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
    """Choose the reads of a visit to `account`."""
    waiting = backlog.waiting_for(account)
    sharing = [one for one in waiting if one.is_in_snapshot]
    single = [one for one in waiting if not one.is_in_snapshot]
    starts = now_ms + (0 if account == current else costs.switch_ms(account))
    if sharing:
        starts += snapshot_ms(costs)
    chosen = _choose_reads(single, _bypassable(backlog, account, costs, starts), costs)
    serves = [*sharing, *(one for one in single if one.question in chosen)]
    return Visit(account, bool(sharing), tuple(chosen), tuple(serves))


def snapshot_ms(costs: Costs) -> float:
    return sum(costs.read_ms(operation) for operation in SNAPSHOT_OPERATIONS)


@dataclass(frozen=True, slots=True)
class _Bypassed:
    """An account that waits; `slack_ms` is by how much its turn may be put off."""

    order: int
    slack_ms: float


def _bypassable(
    backlog: Backlog, account: AccountId, costs: Costs, starts_ms: float
) -> list[_Bypassed]:
    """Everybody else's turn as planned, in order, against strict FIFO."""
    found: list[_Bypassed] = []
    others = (one for one in backlog.oldest_of_each_account() if one.account != account)
    for other in sorted(others, key=lambda one: one.order):
        operation = other.question.operation
        starts_ms += costs.switch_ms(other.account) + costs.read_ms(operation)
        found.append(_Bypassed(other.order, other.fifo_finish_ms + EPSILON_MS - starts_ms))
    return found


def _choose_reads(
    single: Iterable[Waiting], others: list[_Bypassed], costs: Costs
) -> dict[Question, None]:
    """The distinct questions that fit, oldest first. The very first always fits: it is its turn."""
    chosen: dict[Question, None] = {}
    spent, slack, passed = 0.0, float("inf"), 0
    for one in single:
        if one.question in chosen:
            continue
        while passed < len(others) and others[passed].order < one.order:
            slack = min(slack, others[passed].slack_ms)
            passed += 1
        cost = costs.read_ms(one.question.operation)
        bypasses_somebody = passed > 0
        if len(chosen) >= MAX_READS or (bypasses_somebody and spent + cost > slack):
            break
        chosen[one.question] = None
        spent += cost
    return chosen


def estimated_wait_ms(
    backlog: Backlog, current: AccountId | None, costs: Costs, busy_ms: float
) -> float:
    """How long a request for an account that nobody waits for would take if it came now.

    The sum of switch and read over the distinct accounts ahead, after the `busy_ms` that the visit
    under way still takes. Riders are answered sooner.
    """
    ahead = sum(
        (0 if one.account == current else costs.switch_ms(one.account)) + snapshot_ms(costs)
        for one in backlog.oldest_of_each_account()
    )
    return busy_ms + ahead
