"""In which version of the wire contract a client asks, seen against a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from mt5relay_gateway import AccountClient, MT5StateError, peer
from mt5relay_gateway.batch import CommandBatch
from mt5relay_gateway.peer import Peer
from mt5relay_shared.keys import Keys
from mt5relay_shared.redis_client import connect

if TYPE_CHECKING:
    from tests.gateway.conftest import EchoWorker

    from mt5relay_gateway.cli.store import StoreServer

ACCOUNT = "25115284@MetaQuotes-Demo"
Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


@pytest.fixture
async def batch(server: StoreServer) -> AsyncIterator[CommandBatch]:
    opened = CommandBatch(connect(server.url, client_name="peer-test"))
    yield opened
    await opened.aclose()


async def test_a_client_that_speaks_two_versions_follows_the_worker(
    worker: EchoWorker, batch: CommandBatch, keys: Keys, eventually: Eventually
) -> None:
    both = Peer(batch, keys, speaks=(1, 2))
    await worker.say_health(worker_id="w")
    assert await both.version() == 1
    await worker.say_health(wire_versions="1 2")

    async def follows() -> bool:
        return await both.version() == 2

    await eventually(follows)
    await worker.say_health(wire_versions="1")

    async def follows_back() -> bool:
        return await both.version() == 1

    await eventually(follows_back)


async def test_a_worker_that_is_upgraded_is_spoken_to_at_once(
    worker: EchoWorker, batch: CommandBatch, keys: Keys
) -> None:
    newer = Peer(batch, keys, speaks=(2,))
    await worker.say_health(worker_id="w", wire_versions="1")
    for _ in range(2):
        with pytest.raises(MT5StateError, match=r"reads 1, this client speaks 2: upgrade the work"):
            await newer.version()
    await worker.say_health(wire_versions="1 2")
    assert await newer.version() == 2


async def test_a_look_is_believed_for_a_second(
    worker: EchoWorker, batch: CommandBatch, keys: Keys
) -> None:
    asking = Peer(batch, keys, speaks=(1, 2))
    await worker.say_health(worker_id="w", wire_versions="1 2")
    assert await asking.version() == 2
    await worker.say_health(wire_versions="1")
    assert [await asking.version() for _ in range(3)] == [2, 2, 2]
    assert peer.LOOK_INTERVAL == 1.0
    assert repr(asking) == f"<Peer of terminal {keys.terminal}, version 2>"


@pytest.mark.parametrize("way", ["ask", "submit"])
async def test_a_client_refuses_to_ask_a_worker_that_would_not_understand(
    worker: EchoWorker, client: AccountClient, way: str
) -> None:
    await worker.say_health(worker_id="w", wire_versions="2 3")
    with pytest.raises(MT5StateError, match=r"reads 2 3, this client speaks 1: upgrade this cli"):
        await (client.positions(ACCOUNT) if way == "ask" else client.submit("positions", ACCOUNT))
    assert worker.requests == []
    await worker.say_health(wire_versions="1 2")
    assert (await client.positions(ACCOUNT)).data
    assert [request.v for request in worker.requests] == [1]


async def test_a_worker_of_the_first_release_is_asked_in_version_1(
    worker: EchoWorker, client: AccountClient
) -> None:
    await worker.say_health(worker_id="w", version="0.1.0")
    assert (await client.positions(ACCOUNT)).data
    assert [request.v for request in worker.requests] == [1]
