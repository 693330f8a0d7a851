"""taskiq on Redis streams, results as keys that the caller polls."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

from bench.driving import closed_loop
from bench.in_process import InProcessTerminal
from bench.world import Lookup

taskiq_redis: Any = importlib.import_module("taskiq_redis")
taskiq_api: Any = importlib.import_module("taskiq.api")

TASK = "look_up"
POLL = 0.001  # seconds; the default of 0.2 would be all the latency there is
POLLS_A_SECOND = 2000  # of all callers together, or their polling starves the worker


def _broker(url: str) -> Any:
    """The broker and result backend that its documentation recommends for Redis.

    Results expire, as advised; the group starts at 0, or what was sent before it is lost.
    """
    broker = taskiq_redis.RedisStreamBroker(url=url, consumer_id="0")
    results = taskiq_redis.RedisAsyncResultBackend(redis_url=url, result_ex_time=60)
    return broker.with_result_backend(results)


class TaskiqClient:
    def __init__(self, task: Any) -> None:
        self._task = task
        self._poll = POLL

    async def drive(self, lookups: Sequence[Lookup], in_flight: int) -> list[float]:
        self._poll = max(POLL, in_flight / POLLS_A_SECOND)
        return await closed_loop(self._ask, lookups, in_flight)

    async def _ask(self, one: Lookup) -> None:
        sent = await self._task.kiq(one.account, one.operation, one.arguments)
        result = await sent.wait_result(check_interval=self._poll)
        result.raise_for_error()


async def _never(account: str, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
    raise NotImplementedError


@contextlib.asynccontextmanager
async def client(url: str) -> AsyncGenerator[TaskiqClient]:
    broker = _broker(url)
    task = broker.register_task(_never, task_name=TASK)
    await broker.startup()
    try:
        yield TaskiqClient(task)
    finally:
        await broker.shutdown()


def serve(url: str, book: Path) -> None:
    terminal = InProcessTerminal(book)

    async def look_up(account: str, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return terminal.answer(account, operation, arguments)

    broker = _broker(url)
    broker.register_task(look_up, task_name=TASK)
    # The look-up never yields to the loop, so one runs at a time; more open tasks only let the
    # framework write results meanwhile. Parameters are what they should be: no validation.
    asyncio.run(
        taskiq_api.run_receiver_task(
            broker, run_startup=True, max_async_tasks=100, max_prefetch=100, validate_params=False
        )
    )
