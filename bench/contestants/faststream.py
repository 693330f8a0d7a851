"""FastStream on Redis streams, with its request and reply."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

from bench.driving import closed_loop
from bench.in_process import InProcessTerminal
from bench.redis_link import redis_at
from bench.world import Lookup
from redis.exceptions import ResponseError

application: Any = importlib.import_module("faststream")
faststream_redis: Any = importlib.import_module("faststream.redis")

STREAM, GROUP = "lookups", "terminal"
LIMIT = 60.0  # seconds
CONNECTIONS = 4_096  # each request subscribes on one of its own; redis-py allows 100


class FastStreamClient:
    def __init__(self, broker: Any) -> None:
        self._broker = broker

    async def drive(self, lookups: Sequence[Lookup], in_flight: int) -> list[float]:
        return await closed_loop(self._ask, lookups, in_flight)

    async def _ask(self, one: Lookup) -> None:
        question = {
            "account": one.account,
            "operation": one.operation,
            "arguments": one.arguments,
        }
        reply = await self._broker.request(question, stream=STREAM, timeout=LIMIT)
        if "bid" not in await reply.decode():
            raise RuntimeError("not a tick")


@contextlib.asynccontextmanager
async def client(url: str) -> AsyncGenerator[FastStreamClient]:
    async with faststream_redis.RedisBroker(
        url, logger=None, max_connections=CONNECTIONS
    ) as broker:
        yield FastStreamClient(broker)


def serve(url: str, book: Path) -> None:
    terminal = InProcessTerminal(book)
    # The framework makes its group at the stream's end, and what was sent before is lost.
    with redis_at(url) as redis, contextlib.suppress(ResponseError):
        redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    broker = faststream_redis.RedisBroker(url, logger=None, apply_types=False)
    # Many entries a read; a longer wait in it costs no latency, for the server wakes it. One
    # message at a time is how a subscriber works unless told otherwise.
    stream = faststream_redis.StreamSub(
        STREAM, group=GROUP, consumer="one", max_records=100, polling_interval=1_000
    )

    async def look_up(body: Any) -> dict[str, Any]:
        asked = json.loads(body) if isinstance(body, str | bytes) else body
        return terminal.answer(asked["account"], asked["operation"], asked["arguments"])

    broker.subscriber(stream=stream)(look_up)
    asyncio.run(application.FastStream(broker, logger=None).run())
