"""One worker for a terminal: how the lease is taken, kept, lost and given back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import pytest
from redis.asyncio import Redis
from tests.limits import HANG_LIMIT
from tests.servers import AclServer

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.keys import WORKER_GROUP, Keys
from mt5relay_shared.scripts import BEGIN
from mt5relay_worker.lease import STANDBY_INTERVAL, Lease, LeaseLostError
from mt5relay_worker.server_clock import ServerClock

if TYPE_CHECKING:
    from tests.worker.conftest import Parts


class Leases(Protocol):
    def __call__(self, worker_id: str, ttl: float = 60.0) -> Lease: ...


@pytest.fixture
def leases(as_worker: Redis, keys: Keys) -> Leases:
    def make(worker_id: str, ttl: float = 60.0) -> Lease:
        return Lease(as_worker, keys, ServerClock(), worker_id=worker_id, ttl=ttl)

    return make


def never() -> bool:
    return False


async def begin(lease: Lease, keys: Keys) -> list[Any]:
    """A write as the worker makes it."""
    return await begin_with(lease, keys, "request-1")


async def begin_with(lease: Lease, keys: Keys, *ids: str) -> list[Any]:
    return await lease.write(
        BEGIN,
        [
            *(keys.running, keys.accounts, keys.requests, keys.shares),
            *(keys.request(one) for one in ids),
        ],
        [
            *(WORKER_GROUP, "1@Broker", 60_000, ""),
            *(part for one in ids for part in ("0-1", one, "")),
        ],
    )


# Taking it


async def test_a_free_lease_is_taken_at_once(leases: Leases) -> None:
    lease, began = leases("first"), anyio.current_time()
    takeover = await lease.acquire(never)
    assert takeover is not None
    assert takeover.charged == ()
    assert lease.fence == 1
    left = lease.trust_left
    assert 60 - (anyio.current_time() - began) <= left <= 60


async def test_each_takeover_has_a_higher_fence(leases: Leases) -> None:
    for expected in (1, 2, 3):
        lease = leases("worker")
        await lease.acquire(never)
        assert lease.fence == expected
        await lease.release()


async def test_a_held_lease_is_waited_for_until_it_is_given_back(leases: Leases) -> None:
    first, second = leases("first"), leases("second")
    await first.acquire(never)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(second.acquire, never)
        await anyio.sleep(0.05)
        assert second.value == ""
        await first.release()
        with anyio.fail_after(HANG_LIMIT):
            await second.acquire(never)  # asking twice is no second take-over
    assert second.fence == 2


async def test_the_lease_of_a_worker_that_died_is_taken_when_it_runs_out(leases: Leases) -> None:
    dead, heir = leases("dead", ttl=0.2), leases("heir")
    await dead.acquire(never)
    with anyio.fail_after(HANG_LIMIT):
        await heir.acquire(never)
    assert heir.fence == 2
    assert dead.trust_left <= 0


async def test_what_the_dead_worker_had_on_the_terminal_is_charged_to_it_alone(
    leases: Leases, redis: Redis, keys: Keys
) -> None:
    dead, heir = leases("dead"), leases("heir")
    await dead.acquire(never)
    await begin_with(dead, keys, "one", "two")
    await redis.pexpire(keys.lease, 1)
    with anyio.fail_after(HANG_LIMIT):
        takeover = await heir.acquire(never)
    assert takeover is not None
    assert takeover.charged == ("one", "two")
    assert await redis.hget(keys.request("one"), "crashes") == b"1"


async def test_a_worker_that_is_told_to_stop_waits_no_longer(leases: Leases) -> None:
    await leases("first").acquire(never)
    answers = iter([False, True])
    with anyio.fail_after(HANG_LIMIT):
        assert await leases("second").acquire(lambda: next(answers)) is None


async def test_who_stands_by_may_prepare_once(leases: Leases) -> None:
    first, second = leases("first"), leases("second")
    prepared: list[str] = []
    has_prepared = anyio.Event()

    async def prepare() -> None:
        prepared.append("once")
        has_prepared.set()

    await first.acquire(never, prepare)
    assert prepared == []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(second.acquire, never, prepare)
        await has_prepared.wait()
        await anyio.sleep(4 * STANDBY_INTERVAL)
        await first.release()
    assert prepared == ["once"]
    assert second.fence == 2


# Keeping it


async def test_a_heartbeat_prolongs_it_and_publishes(
    leases: Leases, redis: Redis, keys: Keys
) -> None:
    lease = leases("worker")
    await lease.acquire(never)
    await redis.pexpire(keys.lease, 5_000)
    await lease.heartbeat({"status": "ok"}, 600.0, [b'{"kind":"state"}'])
    assert await redis.pttl(keys.lease) > 5_000
    assert await redis.hgetall(keys.health) == {b"status": b"ok"}
    assert 500_000 < await redis.pttl(keys.health) <= 600_000
    entries: Any = await redis.xrange(keys.events)
    assert [fields for _, fields in entries] == [{b"event": b'{"kind":"state"}'}]


async def test_the_lease_is_trusted_from_when_the_renewal_was_sent(
    own_parts: Parts, onlooker: Redis
) -> None:
    """An answer that took long says nothing about now."""
    client: Any = onlooker  # redis-py types this command incompletely
    await client.execute_command("CLIENT", "PAUSE", "300", "ALL")
    await own_parts.lease.heartbeat({}, 6.0, [])
    assert own_parts.lease.trust_left <= own_parts.lease.ttl - 0.28


async def test_another_connection_may_prolong_it_and_publishes_nothing(
    own_parts: Parts, onlooker: Redis
) -> None:
    lease, keys = own_parts.lease, own_parts.keys
    await onlooker.pexpire(keys.lease, 30_000)
    await anyio.sleep(0.3)
    asked_at = anyio.current_time()
    await lease.prolong(onlooker)
    assert lease.trust_left >= lease.ttl - (anyio.current_time() - asked_at)
    assert await onlooker.pttl(keys.lease) > 30_000
    assert not await onlooker.exists(keys.health, keys.events)


async def test_a_prolonged_lease_is_trusted_from_when_it_was_asked_for(
    own_parts: Parts, onlooker: Redis
) -> None:
    client: Any = onlooker  # redis-py types this command incompletely
    await client.execute_command("CLIENT", "PAUSE", "300", "ALL")
    await own_parts.lease.prolong(onlooker)
    assert own_parts.lease.trust_left <= own_parts.lease.ttl - 0.28


async def test_trust_lasts_as_long_as_the_later_of_two_renewals(
    own_parts: Parts, onlooker: Redis
) -> None:
    """An answer that comes late takes nothing away from one that was asked for after it."""
    lease = own_parts.lease
    await lease.heartbeat({}, 6.0, [])
    await anyio.sleep(0.2)
    asked_at = anyio.current_time()
    await lease.prolong(onlooker)
    assert lease.trust_left >= lease.ttl - (anyio.current_time() - asked_at)
    await anyio.sleep(0.2)
    asked_at = anyio.current_time()
    await lease.heartbeat({}, 6.0, [])
    assert lease.trust_left >= lease.ttl - (anyio.current_time() - asked_at)


async def test_the_servers_time_is_learned_on_the_way(leases: Leases, redis: Redis) -> None:
    clock = ServerClock()
    lease = Lease(redis, Keys("clock-of-the-test"), clock, worker_id="worker", ttl=60.0)
    began = anyio.current_time()
    await lease.acquire(never)
    round_trip_ms = (anyio.current_time() - began) * 1000
    client: Any = redis  # redis-py types this command incompletely
    before_ms = clock.now_ms()
    seconds, micros = await client.time()
    server_ms = seconds * 1000 + micros / 1000
    assert before_ms - round_trip_ms - 2 <= server_ms <= clock.now_ms() + round_trip_ms + 2
    await lease.release()


# Losing it


async def test_who_lost_it_can_publish_nothing(leases: Leases, redis: Redis, keys: Keys) -> None:
    paused, heir = leases("paused", ttl=0.1), leases("heir")
    await paused.acquire(never)
    with anyio.fail_after(HANG_LIMIT):
        await heir.acquire(never)
    with pytest.raises(LeaseLostError):
        await paused.heartbeat({"status": "ok"}, 6.0, [b"{}"])
    assert not await redis.exists(keys.health, keys.events)


async def test_who_lost_it_prolongs_nobody_elses(leases: Leases, redis: Redis, keys: Keys) -> None:
    paused = leases("paused")
    await paused.acquire(never)
    await redis.set(keys.lease, "heir:nonce:2", px=1_000)
    with pytest.raises(LeaseLostError):
        await paused.prolong(redis)
    assert await redis.pttl(keys.lease) <= 1_000


async def test_who_lost_it_can_write_nothing_and_the_attempt_is_counted(
    leases: Leases, redis: Redis, keys: Keys
) -> None:
    paused = leases("paused")
    await paused.acquire(never)
    await redis.set(keys.lease, "heir:nonce:2")
    with pytest.raises(LeaseLostError):
        await begin(paused, keys)
    assert not await redis.exists(keys.running)
    assert paused.fenced_writes == 1


async def test_who_lost_it_gives_back_nobody_elses(
    leases: Leases, redis: Redis, keys: Keys
) -> None:
    paused = leases("paused")
    await paused.acquire(never)
    await redis.set(keys.lease, "heir:nonce:2")
    await paused.release()
    assert await redis.get(keys.lease) == b"heir:nonce:2"


async def test_a_released_lease_takes_the_health_hash_along(
    leases: Leases, redis: Redis, keys: Keys
) -> None:
    lease = leases("worker")
    await lease.acquire(never)
    await lease.heartbeat({"status": "ok"}, 6.0, [])
    await lease.release()
    assert not await redis.exists(keys.lease, keys.health)


# When Redis is away


async def test_a_write_that_got_no_answer_is_sent_again(
    own_parts: Parts, onlooker: Redis, break_connections: Callable[[], Awaitable[object]]
) -> None:
    await break_connections()
    await begin(own_parts.lease, own_parts.keys)
    assert await onlooker.get(own_parts.keys.running) == b"request-1"


async def test_a_write_is_given_up_when_the_lease_can_be_trusted_no_longer(
    own_server: AclServer, brief_parts: Parts
) -> None:
    own_server.kill()
    with anyio.fail_after(HANG_LIMIT), pytest.raises(LeaseLostError):
        await brief_parts.replies.begin(AccountId(1, "Broker"))


async def test_a_worker_that_finds_no_redis_waits_for_it(
    own_server: AclServer, keys: Keys, onlooker: Redis
) -> None:
    own_server.kill()
    lease = Lease(onlooker, keys, ServerClock(), worker_id="early", ttl=60.0)
    with anyio.fail_after(HANG_LIMIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lease.acquire, never)
            await anyio.sleep(0.1)
            own_server.start()
    assert lease.fence == 1


async def test_its_repr_shows_how_long_it_is_trusted(leases: Leases) -> None:
    lease = leases("worker")
    await lease.acquire(never)
    assert repr(lease).startswith("<Lease worker trusted for ")
