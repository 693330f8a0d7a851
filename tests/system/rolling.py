"""Replaces a worker under steady load, and measures what callers saw of it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import anyio
from tests.system.conftest import until

from mt5relay_gateway import AccountClient
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5Error

if TYPE_CHECKING:
    from tests.system.conftest import System, WorkerProcess

LASTING = {"MT5_LEASE_TTL": "60", "MT5_STALL_LIMIT": "60"}
"""Settings with which a worker that waits for a lease to expire, instead of for its release, takes
longer than `HAND_OVER_LIMIT` on any machine."""
HAND_OVER_LIMIT = 30.0  # seconds
INTERVAL = 0.02  # seconds between two questions, answered or not
MOST_WAITING = 300


@dataclass
class Load:
    """What the callers saw. `answered_at` in seconds of the event loop."""

    answered_at: list[float] = field(default_factory=list[float])
    errors: list[str] = field(default_factory=list[str])

    def longest_gap(self, since: float) -> float:
        """Seconds without any answer, at most, from then on."""
        times = [since, *(at for at in self.answered_at if at >= since)]
        return max((after - before for before, after in itertools.pairwise(times)), default=0.0)


@contextlib.asynccontextmanager
async def steady_load(client: AccountClient, system: System) -> AsyncGenerator[Load]:
    """Ask on and on, of every account in turn, whether or not answers come."""
    load, waiting = Load(), asyncio.Semaphore(MOST_WAITING)

    async def ask(account: AccountId) -> None:
        async with waiting:
            try:
                answer = await client.positions(account)
            except MT5Error as error:
                load.errors.append(f"{error.code}: {error}")
                return
        assert answer.account == account
        load.answered_at.append(asyncio.get_running_loop().time())

    async def ask_on_and_on() -> None:
        for account in itertools.cycle(system.accounts):
            asking.start_soon(ask, account)
            await anyio.sleep(INTERVAL)

    async with anyio.create_task_group() as asking:
        asking.start_soon(ask_on_and_on)
        yield load
        asking.cancel_scope.cancel()


@dataclass(frozen=True)
class HandOver:
    """How long one took, in seconds: all of it since the first worker was asked to go, without a
    lease, and the longest that no caller was answered."""

    total: float
    without_lease: float
    without_answer: float

    def __str__(self) -> str:
        return (
            f"hand-over {self.total:.3f} s, lease free for {self.without_lease:.3f} s,"
            f" no answer for {self.without_answer:.3f} s"
        )


async def hand_over(
    system: System, going: WorkerProcess, load: Load, start: Callable[[], WorkerProcess]
) -> tuple[WorkerProcess, HandOver]:
    """Start a standby, ask the other to go, and wait until the standby answers."""
    coming = start()

    async def is_standby() -> bool:
        return bool(coming.events("lease.waiting"))

    await until(is_standby, system.tail)
    await anyio.sleep(1.0)  # as long as a standby needs to have prepared what it can
    began = asyncio.get_running_loop().time()
    going.process.send_signal(signal.SIGTERM)
    fence = int(going.events("lease.acquired")[-1]["fence"]) + 1

    async def answers() -> bool:
        health = await system.health()
        return int(health.get(b"fence", 0)) >= fence and int(health[b"requests_total"]) > 0

    await until(answers, system.tail)
    total = asyncio.get_running_loop().time() - began
    await anyio.sleep(0.5)  # what comes late shows up too
    assert await asyncio.to_thread(going.wait) == 0
    free = _at(coming, "lease.acquired") - _at(going, "lease.released")
    return coming, HandOver(total, free, load.longest_gap(began - 0.2))


def _at(worker: WorkerProcess, event: str) -> float:
    return datetime.fromisoformat(worker.events(event)[-1]["timestamp"]).timestamp()
