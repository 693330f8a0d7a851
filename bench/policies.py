"""Ways to choose whose account a terminal visits next, played in simulated time.

All requests ask how an account stands, so that one read answers everybody who waits for it, where
a policy shares reads. Logins take `login_ms` whatever the account. Times in milliseconds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / name) for name in ("gateway", "worker", "shared")]

from mt5relay_shared.accounts import AccountId  # noqa: E402 - found once the path is set
from mt5relay_shared.messages import Question, Request  # noqa: E402
from mt5relay_shared.operations import SNAPSHOT_OPERATIONS, Operation  # noqa: E402
from mt5relay_worker.backlog import Backlog, Waiting  # noqa: E402
from mt5relay_worker.costs import Costs  # noqa: E402
from mt5relay_worker.schedule import Follow, Visit, Wait, next_step  # noqa: E402
from mt5relay_worker.shadow_fifo import ShadowFifo  # noqa: E402

SERVERS = 3


@dataclass(frozen=True, slots=True)
class Load:
    """Who asks when: (time, number of the account), in order of time."""

    arrivals: Sequence[tuple[int, int]]
    login_ms: int
    read_ms: int


@dataclass(frozen=True, slots=True)
class Served:
    """When each request was answered, in the order of arrival, and at how many logins."""

    finished_ms: Sequence[float]
    logins: int


def strict_fifo(load: Load) -> Served:
    """One after the other, each with a read of its own."""
    free_ms, current, logins = 0, None, 0
    finished_ms: list[float] = []
    for at_ms, account in load.arrivals:
        switches = account != current
        free_ms = max(free_ms, at_ms) + load.read_ms + load.login_ms * switches
        logins, current = logins + switches, account
        finished_ms.append(free_ms)
    return Served(finished_ms, logins)


class _LongestQueue:
    """Visits whoever most wait for, the longest-waiting of equals; riders included."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._queues: dict[int, list[int]] = {}
        self._admitted = 0
        self.finished_ms = [0.0] * len(load.arrivals)

    def play(self) -> Served:
        now_ms, current, logins, arrivals = 0, None, 0, self._load.arrivals
        while self._admit(now_ms) or self._admitted < len(arrivals):
            if not self._queues:
                now_ms = arrivals[self._admitted][0]
                continue
            account = max(self._queues, key=lambda one: (len(self._queues[one]), -self._since(one)))
            if account != current:
                now_ms, logins, current = now_ms + self._load.login_ms, logins + 1, account
            self._admit(now_ms)
            now_ms += self._load.read_ms
            for order in self._queues.pop(account):
                self.finished_ms[order] = now_ms
        return Served(self.finished_ms, logins)

    def _since(self, account: int) -> int:
        return self._queues[account][0]

    def _admit(self, now_ms: int) -> bool:
        """Whether anybody waits."""
        arrivals = self._load.arrivals
        while self._admitted < len(arrivals) and arrivals[self._admitted][0] <= now_ms:
            self._queues.setdefault(arrivals[self._admitted][1], []).append(self._admitted)
            self._admitted += 1
        return bool(self._queues)


class _Coalescing:
    """Drives the worker's own schedule, as `Visits` does; who comes during a login rides along."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._costs = _known_costs(load)
        self._shadow = ShadowFifo(self._costs)
        self._backlog = Backlog()
        self._current: AccountId | None = None
        self._now_ms = 0
        self._admitted = 0
        self._logins = 0
        self.finished_ms = [0.0] * len(load.arrivals)

    def play(self) -> Served:
        while self._admitted < len(self._load.arrivals) or len(self._backlog):
            self._admit()
            match next_step(self._backlog, self._current, self._costs, self._now_ms):
                case Visit() as visit:
                    self._make(visit)
                case Follow(account):
                    self._backlog.newest_account = None
                    self._log_in(account)
                case Wait():
                    self._now_ms = self._load.arrivals[self._admitted][0]
        return Served(self.finished_ms, self._logins)

    def _admit(self) -> None:
        arrivals = self._load.arrivals
        while self._admitted < len(arrivals) and arrivals[self._admitted][0] <= self._now_ms:
            at_ms, number = arrivals[self._admitted]
            entry, question = str(self._admitted), _question(number)
            finish = self._shadow.arrive(entry, question.account, question.operation, at_ms)
            self._backlog.add(
                Waiting(entry, self._admitted, _REQUEST, question, at_ms, at_ms, finish)
            )
            self._admitted += 1

    def _log_in(self, account: AccountId) -> None:
        if account != self._current:
            self._now_ms += self._load.login_ms
            self._logins += 1
            self._current = account

    def _make(self, visit: Visit) -> None:
        self._log_in(visit.account)
        self._admit()
        served = [one for one in self._backlog.waiting_for(visit.account) if visit.answers(one)]
        self._now_ms += self._load.read_ms
        for one in served:
            self.finished_ms[one.order] = self._now_ms
            self._shadow.serve(one.entry, self._now_ms, self._load.login_ms, self._load.read_ms)
        self._backlog.remove(served)


def longest_queue_first(load: Load) -> Served:
    return _LongestQueue(load).play()


def fifo_with_coalescing(load: Load) -> Served:
    """What the worker does."""
    return _Coalescing(load).play()


POLICIES: dict[str, Callable[[Load], Served]] = {
    "mt5relay": fifo_with_coalescing,
    "strict FIFO": strict_fifo,
    "longest queue first": longest_queue_first,
}

_REQUEST = Request(
    id="r", account="1@Demo", operation=Operation.POSITIONS.value, timeout_ms=3_600_000
)


@cache
def _question(number: int) -> Question:
    account = AccountId(number + 1, f"Server-{number % SERVERS}")
    request = Request(id="r", account=str(account), operation=Operation.POSITIONS.value)
    return request.question()


def _known_costs(load: Load) -> Costs:
    costs = Costs()
    for server in range(SERVERS):
        costs.observe_switch(_question(server).account, load.login_ms)
    for operation in SNAPSHOT_OPERATIONS:
        costs.observe_read(operation, load.read_ms / len(SNAPSHOT_OPERATIONS))
    return costs


def waits_ms(load: Load, served: Served) -> Iterator[float]:
    """From each arrival to its answer."""
    for (at_ms, _), finished_ms in zip(load.arrivals, served.finished_ms, strict=True):
        yield finished_ms - at_ms
