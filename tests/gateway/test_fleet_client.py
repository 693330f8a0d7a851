"""Several terminals behind one client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, cast

import pytest
from redis.asyncio import Redis
from tests.limits import HANG_LIMIT

from mt5relay_gateway import FleetClient
from mt5relay_gateway.cli.store import StoreServer
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import (
    AccountUnknownError,
    DeadlineExceededError,
    MT5DataError,
    MT5StateError,
    MT5ValidationError,
    NotFoundError,
    NoWorkerError,
    RedisUnavailableError,
)
from mt5relay_shared.keys import FleetKeys, Keys

if TYPE_CHECKING:
    from tests.gateway.conftest import EchoWorker

    WorkerAt = Callable[[str, Keys], AbstractAsyncContextManager[EchoWorker]]

NORTHERN, SOUTHERN = AccountId(1, "MetaQuotes-Demo"), AccountId(2, "Alpha-Demo")  # by their servers
Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


class Registry:
    """What an operator does, in the words of Redis."""

    def __init__(self, redis: Redis, keys: FleetKeys) -> None:
        self._redis: Any = redis
        self.keys = keys

    async def set(self, terminal: str, state: str) -> None:
        body = f'{{"state":"{state}","since_ms":0}}'
        await self._redis.hset(self.keys.terminals, terminal, body)
        await self._redis.incr(self.keys.version)

    async def pin(self, account: AccountId, terminal: str) -> None:
        await self._redis.hset(self.keys.pins, str(account), terminal)
        await self._redis.incr(self.keys.version)


@pytest.fixture
async def registry(redis: Redis, keys: Keys) -> Registry:
    """Two active terminals, north and south."""
    found = Registry(redis, FleetKeys(keys.terminal))
    await found.set("north", "active")
    await found.set("south", "active")
    return found


@pytest.fixture
async def north(
    server: StoreServer, registry: Registry, worker_at: WorkerAt
) -> AsyncIterator[EchoWorker]:
    async with worker_at(server.url, Keys("north", registry.keys.prefix)) as echo:
        yield echo


@pytest.fixture
async def south(
    server: StoreServer, registry: Registry, worker_at: WorkerAt
) -> AsyncIterator[EchoWorker]:
    async with worker_at(server.url, Keys("south", registry.keys.prefix)) as echo:
        yield echo


@pytest.fixture
async def fleet(
    server: StoreServer, registry: Registry, north: EchoWorker, south: EchoWorker
) -> AsyncIterator[FleetClient]:
    async with FleetClient(
        server.url, key_prefix=registry.keys.prefix, timeout=HANG_LIMIT
    ) as opened:
        yield opened


def asked(worker: EchoWorker) -> list[str]:
    return [request.account for request in worker.requests]


async def test_each_account_is_asked_at_the_terminal_of_its_server(
    fleet: FleetClient, north: EchoWorker, south: EchoWorker
) -> None:
    for account in (NORTHERN, SOUTHERN):
        assert (await fleet.account_info(account)).data.login == account.login
    neighbours = [str(AccountId(login, SOUTHERN.server)) for login in range(3, 8)]
    await asyncio.gather(*(fleet.positions(account) for account in neighbours))
    assert asked(north) == [str(NORTHERN)]
    assert sorted(asked(south)) == [str(SOUTHERN), *neighbours]
    assert await fleet.terminal_of(NORTHERN) == "north"


async def test_a_pin_is_followed_within_a_second(
    fleet: FleetClient, registry: Registry, south: EchoWorker, eventually: Eventually
) -> None:
    await fleet.positions(NORTHERN)
    await registry.pin(NORTHERN, "south")

    async def has_moved() -> bool:
        await fleet.positions(NORTHERN)
        return asked(south) == [str(NORTHERN)]

    await eventually(has_moved)


async def test_a_draining_terminal_is_sent_nothing_new_and_what_waits_is_still_answered(
    fleet: FleetClient,
    registry: Registry,
    north: EchoWorker,
    south: EchoWorker,
    eventually: Eventually,
) -> None:
    north.stay_silent()
    waiting = asyncio.create_task(fleet.account_info(NORTHERN))

    async def has_arrived() -> bool:
        return bool(north.requests)

    await eventually(has_arrived)
    await registry.set("north", "draining")

    async def has_moved() -> bool:
        return await fleet.terminal_of(NORTHERN) == "south"

    await eventually(has_moved)
    assert (await fleet.positions(NORTHERN)).account == NORTHERN
    await north.push_reply(north.requests[0])
    assert (await waiting).data.login == NORTHERN.login
    assert len(north.requests) == len(south.requests) == 1


async def test_a_terminal_without_worker_is_left_at_once_when_its_accounts_have_moved(
    fleet: FleetClient, registry: Registry, north: EchoWorker, south: EchoWorker
) -> None:
    await fleet.positions(NORTHERN)
    await registry.set("north", "draining")
    await north.release()
    assert (await fleet.positions(NORTHERN)).account == NORTHERN
    assert asked(south) == [str(NORTHERN)]


async def test_an_account_that_a_terminal_does_not_know_any_more_is_asked_where_it_is_now(
    fleet: FleetClient, registry: Registry, north: EchoWorker
) -> None:
    await fleet.positions(NORTHERN)
    await registry.pin(NORTHERN, "south")
    north.answer_with(AccountUnknownError("no credential"))
    assert (await fleet.positions(NORTHERN, request_id="mine")).request_id == "mine"


async def test_a_terminal_that_is_merely_down_keeps_its_accounts(
    fleet: FleetClient, north: EchoWorker, south: EchoWorker
) -> None:
    await north.release()
    with pytest.raises(NoWorkerError):
        await fleet.positions(NORTHERN)
    assert not south.requests


async def test_a_submitted_request_is_collected_wherever_it_went(
    fleet: FleetClient, registry: Registry, server: StoreServer
) -> None:
    ids = [await fleet.submit("positions", account) for account in (NORTHERN, SOUTHERN)]
    async with FleetClient(
        server.url, key_prefix=registry.keys.prefix, timeout=HANG_LIMIT
    ) as stranger:
        for client in (fleet, stranger):
            answers = [await client.fetch_reply(one, wait=HANG_LIMIT) for one in ids]
            assert [answer and answer.account for answer in answers] == [NORTHERN, SOUTHERN]
        assert await stranger.fetch_reply("never-asked") is None


async def test_the_error_of_a_submitted_request_is_raised_wherever_it_is(
    fleet: FleetClient, registry: Registry, server: StoreServer, south: EchoWorker
) -> None:
    south.answer_with(NotFoundError("no such symbol"))
    request_id = await fleet.submit("tick", SOUTHERN, {"symbol": "NONE"})
    async with FleetClient(
        server.url, key_prefix=registry.keys.prefix, timeout=HANG_LIMIT
    ) as stranger:
        with pytest.raises(NotFoundError):
            await stranger.fetch_reply(request_id, wait=HANG_LIMIT)


async def test_the_snapshot_is_the_newest_whichever_terminal_read_it(
    fleet: FleetClient, north: EchoWorker, south: EchoWorker
) -> None:
    assert await fleet.snapshot(NORTHERN) is None
    await south.store_snapshot(str(NORTHERN), age=600)
    older = await fleet.snapshot(NORTHERN)
    await north.store_snapshot(str(NORTHERN), age=60)
    newer = await fleet.snapshot(NORTHERN)
    assert older is not None
    assert newer is not None
    assert older.age > 500 > newer.age


HEALTH = {
    "state": "CONNECTED",
    "state_since_ms": "0",
    "breaker": "CLOSED",
    "fence": "1",
    "started_at_ms": "0",
    "heartbeat_at_ms": "0",
    "version": "0",
    "pool_limit": "20",
}


async def test_health_is_the_worst_of_the_active_terminals_and_can_be_had_of_each(
    fleet: FleetClient,
    registry: Registry,
    north: EchoWorker,
    south: EchoWorker,
    eventually: Eventually,
) -> None:
    await north.say_health(**HEALTH, worker_id="n", status="ok")
    assert await fleet.health() is None
    await south.say_health(**HEALTH, worker_id="s", status="degraded")
    worst = await fleet.health()
    assert worst is not None
    assert worst.worker_id == "s"
    each = await fleet.healths()
    assert {name: one and one.worker_id for name, one in each.items()} == {
        "north": "n",
        "south": "s",
    }
    await registry.set("south", "draining")

    async def south_is_of_no_account() -> bool:
        found = await fleet.health()
        return found is not None and found.worker_id == "n"

    await eventually(south_is_of_no_account)


async def test_terminals_may_be_registered_after_the_client_was_opened(
    server: StoreServer, redis: Redis, keys: Keys, worker_at: WorkerAt, eventually: Eventually
) -> None:
    prefix = keys.terminal
    async with (
        FleetClient(server.url, key_prefix=prefix, timeout=HANG_LIMIT) as client,
        worker_at(server.url, Keys("north", prefix)),
    ):
        with pytest.raises(NoWorkerError, match="terminals add"):
            await client.positions(NORTHERN)
        assert await client.health() is None
        assert await client.snapshot(NORTHERN) is None
        await Registry(redis, FleetKeys(prefix)).set("north", "active")

        async def is_registered() -> bool:
            return bool(await client.healths())

        await eventually(is_registered)
        assert (await client.positions(NORTHERN)).account == NORTHERN


async def test_a_registry_that_cannot_be_read_changes_nothing_for_who_knows_the_way(
    fleet: FleetClient, registry: Registry, north: EchoWorker, eventually: Eventually
) -> None:
    await fleet.positions(NORTHERN)
    await registry.set("north", "nonsense")

    async def has_looked() -> bool:
        await fleet.positions(NORTHERN)
        return "out of reach" in repr(fleet)

    await eventually(has_looked)
    await fleet.positions(NORTHERN)
    await registry.set("north", "active")

    async def reads_it_again() -> bool:
        await fleet.positions(NORTHERN)
        return "out of reach" not in repr(fleet)

    await eventually(reads_it_again)


async def test_a_registry_that_cannot_be_read_at_the_start_is_an_error(
    server: StoreServer, registry: Registry
) -> None:
    await registry.set("north", "nonsense")
    with pytest.raises(MT5DataError, match="north"):
        async with FleetClient(server.url, key_prefix=registry.keys.prefix, timeout=HANG_LIMIT):
            pass


async def test_who_asks_together_shares_one_connection_to_a_terminal(
    fleet: FleetClient, redis: Redis
) -> None:
    await asyncio.gather(*(fleet.positions(NORTHERN) for _ in range(50)))
    clients = cast(list[dict[str, str]], await cast(Any, redis).client_list())
    name = repr(fleet).split()[1]
    assert len([one for one in clients if name in one["name"]]) == 3  # registry, commands, replies


async def test_the_time_is_bounded_over_all_terminals_asked(
    fleet: FleetClient, north: EchoWorker
) -> None:
    await fleet.positions(NORTHERN)
    north.stay_silent()
    with pytest.raises(DeadlineExceededError):
        await fleet.positions(NORTHERN, timeout=0.05)


async def test_a_client_that_is_not_open_says_so(server: StoreServer, registry: Registry) -> None:
    client = FleetClient(server.url, key_prefix=registry.keys.prefix, timeout=HANG_LIMIT)
    with pytest.raises(MT5StateError, match="not open"):
        await client.positions(NORTHERN)
    async with client:
        with pytest.raises(MT5StateError, match="opened before"):
            await client.open()
    for use in (client.positions(NORTHERN), client.open()):
        with pytest.raises(MT5StateError):
            await use


async def test_closing_fails_who_still_waits(
    server: StoreServer, registry: Registry, north: EchoWorker, eventually: Eventually
) -> None:
    north.stay_silent()
    client = FleetClient(server.url, key_prefix=registry.keys.prefix, timeout=HANG_LIMIT)
    await client.open()
    waiting = asyncio.create_task(client.positions(NORTHERN))

    async def has_arrived() -> bool:
        return bool(north.requests)

    await eventually(has_arrived)
    await client.aclose()
    with pytest.raises(MT5StateError):
        await waiting


async def test_a_redis_that_is_not_there_is_said_to_be_so() -> None:
    with pytest.raises(RedisUnavailableError):
        await FleetClient("redis://127.0.0.1:1/0").open()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"timeout": 0}, "timeout"),
        ({"queue_limit": -1}, "queue_limit"),
        ({"name": "a b"}, "name"),
        ({"redis_url": "http://user:hush@host"}, "REDIS_URL"),
    ],
)
def test_bad_parameters_are_refused_before_anything_is_opened(
    options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(MT5ValidationError, match=complaint) as refused:
        FleetClient(**options)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
async def test_a_bad_question_is_refused_before_it_is_sent(
    fleet: FleetClient, north: EchoWorker, timeout: float
) -> None:
    with pytest.raises(MT5ValidationError, match="timeout"):
        await fleet.positions(NORTHERN, timeout=timeout)
    with pytest.raises(MT5ValidationError, match="LOGIN@SERVER"):
        await fleet.positions("nobody")
    assert not north.requests
