"""arq: a sorted set of jobs that the worker polls, results that the caller polls."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

from bench.driving import closed_loop
from bench.in_process import InProcessTerminal
from bench.world import Lookup

arq: Any = importlib.import_module("arq")
connections: Any = importlib.import_module("arq.connections")
arq_worker: Any = importlib.import_module("arq.worker")

TASK = "look_up"
POLL = 0.001  # seconds; the default of 0.5 would be all the latency there is
POLLS_A_SECOND = 2000  # of all callers together, or their polling starves the worker


class ArqClient:
    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._poll = POLL

    async def drive(self, lookups: Sequence[Lookup], in_flight: int) -> list[float]:
        self._poll = max(POLL, in_flight / POLLS_A_SECOND)
        return await closed_loop(self._ask, lookups, in_flight)

    async def _ask(self, one: Lookup) -> None:
        job = await self._pool.enqueue_job(TASK, one.account, one.operation, one.arguments)
        await job.result(poll_delay=self._poll)


@contextlib.asynccontextmanager
async def client(url: str) -> AsyncGenerator[ArqClient]:
    pool = await arq.create_pool(connections.RedisSettings.from_dsn(url))
    try:
        yield ArqClient(pool)
    finally:
        await pool.aclose()


def serve(url: str, book: Path) -> None:
    terminal = InProcessTerminal(book)

    async def look_up(
        _: dict[str, Any], account: str, operation: str, arguments: dict[str, Any]
    ) -> dict[str, Any]:
        return terminal.answer(account, operation, arguments)

    arq_worker.Worker(
        functions=[arq_worker.func(look_up, name=TASK)],
        redis_settings=connections.RedisSettings.from_dsn(url),
        # The look-up never yields to the loop, so one runs at a time, however many jobs are open;
        # with `max_jobs=1` arq would start one a poll.
        max_jobs=100,
        poll_delay=POLL,
        log_results=False,
        keep_result=60,
    ).run()
