from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
from tests.limits import HANG_LIMIT

from mt5relay_gateway import (
    BlockingAccountClient,
    MT5StateError,
    NoWorkerError,
    RedisUnavailableError,
)
from mt5relay_gateway.cli.store import StoreServer
from mt5relay_shared.keys import Keys

ACCOUNT = "25115284@MetaQuotes-Demo"
T = TypeVar("T")


async def in_client(
    server: StoreServer, keys: Keys, use: Callable[[BlockingAccountClient], T]
) -> T:
    """Use a blocking client in a thread, while the worker runs in this loop."""

    def run() -> T:
        with BlockingAccountClient(
            server.url, terminal=keys.terminal, timeout=HANG_LIMIT
        ) as client:
            return use(client)

    return await asyncio.to_thread(run)


async def test_each_operation_answers_without_an_event_loop(
    server: StoreServer, keys: Keys, worker: Any
) -> None:
    day = datetime(2026, 1, 1, tzinfo=UTC)

    def use(client: BlockingAccountClient) -> None:
        assert client.account_info(ACCOUNT).data.login == 25115284
        assert client.positions(ACCOUNT).data[0].ticket == 25115284
        assert len(client.orders(ACCOUNT).data) == 1
        assert len(client.deals(ACCOUNT, day, day).data) == 1
        assert len(client.history_orders(ACCOUNT, day, day).data) == 1
        assert client.symbol(ACCOUNT, "X").data.name == "X"
        assert client.tick(ACCOUNT, "X").data.bid == 1.1
        assert len(client.rates(ACCOUNT, "X", "M1", 2).data) == 2
        collected = client.fetch_reply(client.submit("positions", ACCOUNT), wait=HANG_LIMIT)
        assert collected is not None
        assert client.snapshot(ACCOUNT) is None
        assert client.health() is None

    await in_client(server, keys, use)


async def test_threads_share_one_client(server: StoreServer, keys: Keys, worker: Any) -> None:
    def use(client: BlockingAccountClient) -> list[int]:
        with ThreadPoolExecutor(16) as threads:
            asked = threads.map(client.positions, [f"{n}@S" for n in range(1, 101)])
            return [answer.data[0].ticket for answer in asked]

    assert await in_client(server, keys, use) == list(range(1, 101))


async def test_errors_are_those_of_the_asynchronous_client(server: StoreServer, keys: Keys) -> None:
    with pytest.raises(NoWorkerError):
        await in_client(server, keys, lambda client: client.positions(ACCOUNT))


def test_a_client_that_is_not_open_says_so() -> None:
    with pytest.raises(MT5StateError, match="not open"):
        BlockingAccountClient().positions(ACCOUNT)


def test_a_failed_opening_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    client = BlockingAccountClient("redis://127.0.0.1:1/0", name="gw")
    with pytest.raises(RedisUnavailableError):
        client.open()
    assert threading.active_count() == before
    assert repr(client) == "<Blocking <AccountClient gw of terminal main CLOSED>>"
