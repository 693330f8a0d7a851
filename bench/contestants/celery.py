"""Celery with Redis as broker and as result backend."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

from bench.driving import windowed
from bench.in_process import InProcessTerminal
from bench.world import Lookup

celery: Any = importlib.import_module("celery")

TASK = "look_up"
LIMIT = 60.0  # seconds


def _app(url: str) -> Any:
    app = celery.Celery("bench", broker=url, backend=url)
    app.conf.update(
        worker_prefetch_multiplier=128,  # advised for many short tasks
        worker_send_task_events=False,
        worker_disable_rate_limits=True,
        task_track_started=False,
        result_expires=60,
    )
    return app


class CeleryClient:
    def __init__(self, app: Any) -> None:
        self._app = app

    async def drive(self, lookups: Sequence[Lookup], in_flight: int) -> list[float]:
        return windowed(self._send, self._collect, lookups, in_flight)

    def _send(self, one: Lookup) -> Any:
        return self._app.send_task(TASK, (one.account, one.operation, one.arguments))

    def _collect(self, result: Any) -> None:
        result.get(timeout=LIMIT)
        result.forget()  # advised: what is not forgotten stays subscribed


@contextlib.asynccontextmanager
async def client(url: str) -> AsyncGenerator[CeleryClient]:
    with _app(url) as app:
        yield CeleryClient(app)


def serve(url: str, book: Path) -> None:
    terminal = InProcessTerminal(book)

    def look_up(account: str, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return terminal.answer(account, operation, arguments)

    app = _app(url)
    app.task(look_up, name=TASK)
    # `solo` runs tasks in the worker's own process, one at a time: no hop to a pool, and the
    # in-process terminal is kept. One worker needs neither gossip nor mingle nor heartbeats.
    app.worker_main(
        ["worker", "--pool=solo", "--concurrency=1", "--loglevel=WARNING", "--without-gossip",
         "--without-mingle", "--without-heartbeat"]
    )  # fmt: skip
