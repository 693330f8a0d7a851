"""The worker's CPU a request when many wait before it may begin, end to end.

The worker is suspended while the requests are put into its stream, so what it used for its start
is known and left out. They are plain XADDs, which any client may send.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from bench.measuring import Failure
from bench.meters import cpu_seconds, psutil
from bench.processes import KEYS, BenchError, enrol, relay_worker, workspace
from bench.redis_link import redis_at
from bench.world import account, symbol

from mt5relay_gateway.cli.store import running_server
from mt5relay_shared.keys import WORKER_GROUP
from mt5relay_shared.messages import Request, encode

LIMIT = 60.0  # seconds for a size
AT_LEAST = 600  # requests; small sizes are repeated until there are so many
OBSERVED = 200  # visits to different accounts that are looked at
LEASE = {"MT5_LEASE_TTL": "300", "MT5_STALL_LIMIT": "3600"}  # must outlive the suspension
TIMEOUT_MS = 3_600_000
SENT_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class BacklogCost:
    """CPU of worker and terminal process in microseconds for each request answered."""

    of: str
    size: int
    worker_us: float
    terminal_us: float
    answered: int


def by_waiting(sizes: Iterable[int], tell: Callable[[str], None]) -> list[BacklogCost | Failure]:
    """One account, so many distinct questions; all are answered."""
    return _until_one_fails(_measured("requests for one account", size, 1, tell) for size in sizes)


def by_accounts(sizes: Iterable[int], tell: Callable[[str], None]) -> list[BacklogCost | Failure]:
    """One question for each of so many accounts; the first visits are looked at."""
    return _until_one_fails(_measured("accounts", size, size, tell) for size in sizes)


def _until_one_fails(costs: Iterable[BacklogCost | Failure]) -> list[BacklogCost | Failure]:
    """What was too slow with some waiting is not asked with ten times as many."""
    found: list[BacklogCost | Failure] = []
    for cost in costs:
        found.append(cost)
        if isinstance(cost, Failure):
            break
    return found


def _measured(
    of: str, size: int, accounts: int, tell: Callable[[str], None]
) -> BacklogCost | Failure:
    tell(f"cost with {size} {of} waiting")
    try:
        return _cost(of, size, accounts)
    except BenchError as error:
        tell(str(error))
        return Failure(f"{size} {of} waiting", 0, str(error))


def _cost(of: str, size: int, accounts: int) -> BacklogCost:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running_server())
        directory = stack.enter_context(workspace(accounts))
        redis = stack.enter_context(redis_at(server.url))
        worker = stack.enter_context(relay_worker(server.url, directory, **LEASE))
        enrol(server.url, accounts)
        drained = _Drained(redis, worker.pids["worker"], worker.pids["terminal"])
        drained.queue(1, 1, 0)  # the first visit compiles and connects
        drained.run(0)
        drained.reset()
        first = 1
        leave = max(0, size - OBSERVED) if accounts > 1 else 0
        while drained.answered < (AT_LEAST if not leave else 1) and drained.rounds < 10:
            drained.queue(size, accounts, first)
            drained.run(leave)
            first += size
        return drained.cost(of, size)


class _Drained:
    """A worker that is let loose on a line, and what it used."""

    def __init__(self, redis: Any, worker: int, terminal: int) -> None:
        self._redis: Any = redis
        self._worker, self._terminal = worker, terminal
        self.reset()

    def reset(self) -> None:
        self.answered = self.rounds = 0
        self._cpu = {self._worker: 0.0, self._terminal: 0.0}

    def queue(self, size: int, accounts: int, first: int) -> None:
        psutil.Process(self._worker).suspend()
        for start in range(0, size, SENT_AT_ONCE):
            pipeline = self._redis.pipeline(transaction=False)
            for number in range(start, min(size, start + SENT_AT_ONCE)):
                request = _request(first + number, number % accounts, accounts == 1)
                pipeline.xadd(KEYS.requests, {"request": encode(request)})
            pipeline.execute()

    def run(self, leave: int) -> None:
        """Let it work until so many are left; where some are, from when it has read them all.

        Raises:
            BenchError: it took too long.
        """
        psutil.Process(self._worker).resume()
        give_up = time.monotonic() + LIMIT
        if leave:
            _until(self._has_read_all, give_up)
        before, length = self._used(), self._redis.xlen(KEYS.requests)
        _until(lambda: self._redis.xlen(KEYS.requests) <= leave, give_up)
        self.answered += length - self._redis.xlen(KEYS.requests)
        for pid, seconds in self._used().items():
            self._cpu[pid] += seconds - before[pid]
        self.rounds += 1

    def _has_read_all(self) -> bool:
        (group,) = self._redis.xinfo_groups(KEYS.requests)
        return bool(group["name"] == WORKER_GROUP.encode() and group["lag"] == 0)

    def _used(self) -> dict[int, float]:
        return {pid: cpu_seconds(pid) for pid in self._cpu}

    def cost(self, of: str, size: int) -> BacklogCost:
        worker, terminal = (
            self._cpu[pid] / self.answered * 1e6 for pid in (self._worker, self._terminal)
        )
        return BacklogCost(of, size, worker, terminal, self.answered)


def _request(number: int, whose: int, is_history: bool) -> Request:
    """Distinct, so that none shares another's read; of the past, so that it finds nothing."""
    arguments: dict[str, Any] = {"symbol": symbol(0)}
    if is_history:
        arguments = {"from_ms": number, "to_ms": number}
    return Request(
        id=f"B{number:025}",
        account=account(whose),
        operation="deals" if is_history else "tick",
        arguments=arguments,
        timeout_ms=TIMEOUT_MS,
    )


def _until(holds: Callable[[], bool], give_up: float) -> None:
    while not holds():
        if time.monotonic() > give_up:
            raise BenchError(f"not drained within {LIMIT:g} s")
        time.sleep(0.01)
