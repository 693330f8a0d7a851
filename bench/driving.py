"""Keeping a number of look-ups in flight: as each is answered, the next is asked."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

from bench.world import Lookup

HandleT = TypeVar("HandleT")


class Client(Protocol):
    """A contestant's asking side."""

    async def drive(self, lookups: Sequence[Lookup], in_flight: int) -> list[float]:
        """Ask everything, `in_flight` at a time; the seconds that each took, in any order."""
        ...


class Contestant(Protocol):
    """What each module of `bench.contestants` offers."""

    def client(self, url: str) -> AbstractAsyncContextManager[Client]: ...


async def closed_loop(
    ask: Callable[[Lookup], Awaitable[object]], lookups: Sequence[Lookup], in_flight: int
) -> list[float]:
    """So many coroutines, each waiting for its own answer before it asks again."""
    todo = iter(lookups)
    took: list[float] = []

    async def keep_asking() -> None:
        for one in todo:
            began = time.perf_counter()
            await ask(one)
            took.append(time.perf_counter() - began)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(in_flight, len(lookups))):
            group.create_task(keep_asking())
    return took


def windowed(
    send: Callable[[Lookup], HandleT],
    collect: Callable[[HandleT], Any],
    lookups: Sequence[Lookup],
    in_flight: int,
) -> list[float]:
    """One thread with so many questions out, which collects the oldest and sends one more.

    For clients that block: a thread for each question would cost more than the framework does.
    """
    out: deque[tuple[float, HandleT]] = deque()
    took: list[float] = []

    def collect_oldest() -> None:
        began, handle = out.popleft()
        collect(handle)
        took.append(time.perf_counter() - began)

    for one in lookups:
        if len(out) >= in_flight:
            collect_oldest()
        out.append((time.perf_counter(), send(one)))
    while out:
        collect_oldest()
    return took
