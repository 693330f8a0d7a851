"""What all tests share: event loops in real and virtual time, a real server, fresh keys."""

from __future__ import annotations

import asyncio
import itertools
import os
import selectors
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import stamina.instrumentation
import structlog
from redis.asyncio import Redis

from mt5relay_gateway.cli.store import NoStoreError, StoreServer, running_server
from mt5relay_shared.keys import Keys
from mt5relay_shared.redis_client import connect

_terminals = itertools.count(1)
stamina.instrumentation.set_on_retry_hooks([])  # as the worker's command does


class _InstantSelector:
    """Never waits: where nothing is ready, the loop's clock jumps to its next timer."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.now = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = self._real.select(0)
        if ready:
            return ready
        if timeout is None:
            return self._real.select(5) or pytest.fail("nothing will ever happen in this loop")
        self.now += max(0.0, timeout)
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose sleeps take no time and whose clock is exact."""

    def __init__(self) -> None:
        self._virtual = _InstantSelector()
        super().__init__(self._virtual)  # type: ignore[arg-type]

    def time(self) -> float:
        return self._virtual.now


@pytest.fixture(autouse=True)
def logs_that_caplog_sees() -> Iterator[None]:
    """A command run in this process configures structlog; the next test must not inherit that."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Real time. A module in virtual time overrides this with `virtual_time_backend`."""
    return ("asyncio", {})


def virtual_time_backend() -> tuple[str, dict[str, Any]]:
    return ("asyncio", {"loop_factory": VirtualTimeLoop})


@pytest.fixture(scope="session")
def server() -> Iterator[StoreServer]:
    """A real server. Where there is none the test is skipped, but never in CI."""
    try:
        with running_server() as started:
            yield started
    except NoStoreError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture
async def redis(server: StoreServer) -> AsyncIterator[Redis]:
    client = connect(server.url, client_name="test")
    yield client
    await client.aclose()


@pytest.fixture
def keys() -> Keys:
    """Keys of a terminal that no other test uses."""
    return Keys(f"test-{os.getpid()}-{next(_terminals)}")
