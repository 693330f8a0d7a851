"""What a caller sees when Redis, a connection or the reply stream goes away in between."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from redis.asyncio import Redis
from tests.limits import HANG_LIMIT
from tests.servers import WORKER, AclServer, as_user, running_server

from mt5relay_gateway import AccountClient, NoWorkerError, RedisUnavailableError
from mt5relay_shared.keys import Keys
from mt5relay_shared.redis_client import connect

pytestmark = pytest.mark.integration

ACCOUNT = "25115284@MetaQuotes-Demo"
Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]
WorkerAt = Callable[[str, Keys], AbstractAsyncContextManager[Any]]


@pytest.fixture
def durable_server(server: AclServer) -> Iterator[AclServer]:
    """A server of the test's own, that may be killed. Where there is none, `server` skips."""
    with running_server("--appendonly", "yes", "--appendfsync", "always") as started:
        yield started


async def ask_and_wait_until_seen(
    client: AccountClient, worker: Any, eventually: Eventually
) -> asyncio.Task[Any]:
    worker.stay_silent()
    asking = asyncio.create_task(client.positions(ACCOUNT, timeout=300))

    async def seen() -> bool:
        return bool(worker.requests)

    await eventually(seen)
    return asking


async def close_connections(redis: Any, name: str) -> int:
    closed = [c["id"] for c in await redis.client_list() if name in str(c)]
    for connection_id in closed:
        await redis.client_kill_filter(_id=connection_id)
    return len(closed)


async def test_a_reply_stored_while_the_connection_was_lost_is_found(
    client: AccountClient, worker: Any, redis: Redis, eventually: Eventually
) -> None:
    asking = await ask_and_wait_until_seen(client, worker, eventually)
    await worker.store_reply(worker.ok(worker.requests[0]))
    assert await close_connections(redis, repr(client).split()[1]) == 2
    async with asyncio.timeout(HANG_LIMIT):  # long before the deadline
        assert (await asking).data[0].ticket == 25115284


async def test_a_reply_stored_while_the_reply_stream_was_gone_is_found(
    client: AccountClient, worker: Any, redis: Redis, keys: Keys, eventually: Eventually
) -> None:
    asking = await ask_and_wait_until_seen(client, worker, eventually)
    stream = keys.replies(repr(client).split()[1])
    await redis.delete(stream)
    await worker.store_reply(worker.ok(worker.requests[0]))
    async with asyncio.timeout(HANG_LIMIT):
        assert (await asking).data[0].ticket == 25115284
    assert 0 < await redis.pttl(stream) <= 60_000


async def test_a_server_that_forgot_the_scripts_is_taught_them_again(
    client: AccountClient, worker: Any, redis: Redis
) -> None:
    await redis.script_flush()
    assert (await client.positions(ACCOUNT)).data[0].ticket == 25115284


async def test_many_requests_survive_lost_connections(
    client: AccountClient, worker: Any, redis: Redis
) -> None:
    accounts = [f"{login}@S" for login in range(1, 301)]
    asking = asyncio.gather(*(client.positions(one, timeout=HANG_LIMIT) for one in accounts))
    for _ in range(3):
        await asyncio.sleep(0.01)
        await close_connections(redis, repr(client).split()[1])
    assert [answer.data[0].ticket for answer in await asking] == list(range(1, 301))
    assert len(worker.requests) == 300  # none was queued twice


async def test_a_request_made_while_redis_is_down_is_queued_when_it_is_back(
    durable_server: AclServer, keys: Keys, worker_at: WorkerAt
) -> None:
    await hold_lease(durable_server, keys)
    async with AccountClient(
        durable_server.url, terminal=keys.terminal, timeout=HANG_LIMIT
    ) as client:
        durable_server.kill()
        asking = asyncio.create_task(client.positions(ACCOUNT, timeout=HANG_LIMIT))
        await asyncio.sleep(0.1)
        durable_server.start()
        async with worker_at(durable_server.url, keys) as worker:
            assert (await asking).data[0].ticket == 25115284
        assert (
            0 < worker.requests[0].timeout_ms < HANG_LIMIT * 1000
        )  # it promises only the time left


async def test_after_an_outage_the_worker_is_given_time_to_come_back(
    durable_server: AclServer, keys: Keys, worker_at: WorkerAt
) -> None:
    async with AccountClient(
        durable_server.url, terminal=keys.terminal, timeout=HANG_LIMIT
    ) as client:
        durable_server.kill()
        asking = asyncio.create_task(client.positions(ACCOUNT, timeout=HANG_LIMIT))
        await asyncio.sleep(0.1)
        durable_server.start()  # without anybody's lease
        await asyncio.sleep(1)
        assert not asking.done()
        async with worker_at(durable_server.url, keys):
            assert (await asking).data[0].ticket == 25115284


async def test_after_an_outage_a_worker_that_stays_away_is_reported_at_the_deadline(
    durable_server: AclServer, keys: Keys
) -> None:
    async with AccountClient(
        durable_server.url, terminal=keys.terminal, timeout=HANG_LIMIT
    ) as client:
        durable_server.kill()
        asking = asyncio.create_task(client.positions(ACCOUNT, timeout=8))
        await asyncio.sleep(0.1)
        durable_server.start()
        with pytest.raises(NoWorkerError):
            await asking


async def test_a_queued_request_is_answered_although_redis_was_restarted(
    durable_server: AclServer, keys: Keys, worker_at: WorkerAt
) -> None:
    await hold_lease(durable_server, keys)
    async with AccountClient(
        durable_server.url, terminal=keys.terminal, timeout=HANG_LIMIT
    ) as client:
        asking = asyncio.create_task(client.positions(ACCOUNT, timeout=HANG_LIMIT))
        await client.submit("positions", ACCOUNT)  # they travel together: both are queued now
        durable_server.kill()
        durable_server.start()
        async with worker_at(durable_server.url, keys):
            assert (await asking).data[0].ticket == 25115284


async def test_redis_that_stays_away_is_reported_at_the_deadline(
    durable_server: AclServer, keys: Keys
) -> None:
    async with AccountClient(
        durable_server.url, terminal=keys.terminal, timeout=HANG_LIMIT
    ) as client:
        durable_server.kill()
        with pytest.raises(RedisUnavailableError):
            await client.positions(ACCOUNT, timeout=0.2, stale_if_error=3600)
        with pytest.raises(RedisUnavailableError):
            await client.submit("positions", ACCOUNT, timeout=0.1)
        with pytest.raises(RedisUnavailableError):
            await client.account_info(ACCOUNT, timeout=0.1, max_age=60)


@pytest.mark.skipif(sys.platform == "win32", reason="a process can't be halted there")
async def test_redis_that_hangs_does_not_outlast_the_callers_timeout(
    durable_server: AclServer, keys: Keys
) -> None:
    url = f"{durable_server.url}?socket_timeout={10 * HANG_LIMIT:g}"  # which must not be waited for
    async with AccountClient(url, terminal=keys.terminal, timeout=HANG_LIMIT) as client:
        os.kill(durable_server.pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(HANG_LIMIT):
                with pytest.raises(RedisUnavailableError):
                    await client.positions(ACCOUNT, timeout=0.2)
                with pytest.raises(RedisUnavailableError):
                    await client.positions(ACCOUNT, timeout=0.1, max_age=60)
        finally:
            os.kill(durable_server.pid, signal.SIGCONT)


async def hold_lease(server: AclServer, keys: Keys) -> None:
    redis = connect(as_user(server.url, WORKER), client_name="lease")
    await redis.set(keys.lease, "somebody:n:1")
    await redis.aclose()
