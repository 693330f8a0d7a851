"""dramatiq with its Redis broker and result backend."""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

from bench.driving import windowed
from bench.in_process import InProcessTerminal
from bench.world import Lookup

# Before the import, which reads it: fetch many messages at once; the default is twice the threads.
os.environ["dramatiq_queue_prefetch"] = "100"  # noqa: SIM112 - its name
dramatiq: Any = importlib.import_module("dramatiq")
brokers: Any = importlib.import_module("dramatiq.brokers.redis")
results: Any = importlib.import_module("dramatiq.results")
backends: Any = importlib.import_module("dramatiq.results.backends")

TASK = "look_up"
LIMIT_MS = 60_000
POLL_MS = 1  # an idle worker's longest pause between two looks; the default is a second


def _actor(url: str, function: Any) -> tuple[Any, Any]:
    broker = brokers.RedisBroker(url=url)
    backend = backends.RedisBackend(url=url)
    broker.add_middleware(results.Results(backend=backend, result_ttl=60_000))
    dramatiq.set_broker(broker)
    return dramatiq.actor(function, actor_name=TASK, store_results=True, broker=broker), backend


class DramatiqClient:
    def __init__(self, actor: Any, backend: Any) -> None:
        self._actor = actor
        self._backend = backend

    async def drive(self, lookups: Sequence[Lookup], in_flight: int) -> list[float]:
        return windowed(self._send, self._collect, lookups, in_flight)

    def _send(self, one: Lookup) -> Any:
        return self._actor.send(one.account, one.operation, one.arguments)

    def _collect(self, message: Any) -> None:
        message.get_result(backend=self._backend, block=True, timeout=LIMIT_MS)


def _never(account: str, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
    raise NotImplementedError


@contextlib.asynccontextmanager
async def client(url: str) -> AsyncGenerator[DramatiqClient]:
    yield DramatiqClient(*_actor(url, _never))


def serve(url: str, book: Path) -> None:
    of_thread = threading.local()  # the one worker thread makes its own: calls are bound to it

    def look_up(account: str, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if not hasattr(of_thread, "terminal"):
            of_thread.terminal = InProcessTerminal(book)
        found: dict[str, Any] = of_thread.terminal.answer(account, operation, arguments)
        return found

    actor, _ = _actor(url, look_up)
    worker = dramatiq.Worker(actor.broker, worker_threads=1, worker_timeout=POLL_MS)
    worker.start()
    threading.Event().wait()
