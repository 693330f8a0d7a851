"""A busy event loop does not lose the lease, and one that stands still is ended."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs
from tests.limits import HANG_LIMIT
from tests.servers import WORKER, AclServer, as_user

from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.keys import Keys
from mt5relay_shared.redis_client import connect
from mt5relay_shared.settings import load_settings
from mt5relay_worker.lease import Lease, LeaseLostError
from mt5relay_worker.lease_keeper import LeaseKeeper, Silence, stack_of, until_due
from mt5relay_worker.server_clock import ServerClock
from mt5relay_worker.settings import WorkerSettings

pytestmark = pytest.mark.integration

if TYPE_CHECKING:
    from tests.worker.conftest import Until

TTL = 5.0  # seconds; a machine that gives the keeper no time for three loses no lease
LONGER = 1.2 * TTL  # than a lease lasts that nothing prolongs
NEVER = 1_000.0  # a stall limit that no test reaches


@dataclass
class Exits:
    """Where a process would end, it is noted."""

    statuses: list[int] = field(default_factory=list[int])

    def __call__(self, status: int) -> None:
        self.statuses.append(status)


@dataclass
class Kept:
    """A lease that is held, and what keeps it."""

    url: str
    keys: Keys
    redis: Any  # redis-py types its answers for every protocol at once
    lease: Lease
    exits: Exits = field(default_factory=Exits)

    @property
    def client_name(self) -> str:
        return f"keeper-of-{self.keys.terminal}"

    def connect(self) -> Redis:
        return connect(as_user(self.url, WORKER), client_name=self.client_name)

    def keeper(self, stall_limit: float = NEVER) -> LeaseKeeper:
        return LeaseKeeper(
            self.lease, self.connect, stall_limit=stall_limit, end_process=self.exits
        )

    @asynccontextmanager
    async def keeping(self, stall_limit: float = NEVER) -> AsyncGenerator[LeaseKeeper]:
        keeper = self.keeper(stall_limit)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keeper.run)
            await anyio.lowlevel.checkpoint()
            yield keeper
            tasks.cancel_scope.cancel()

    async def is_held(self) -> bool:
        return bool(await self.redis.get(self.keys.lease) == self.lease.value.encode())

    async def has_connected(self) -> bool:
        clients = await self.redis.client_list()
        return any(one["name"] == self.client_name for one in clients)

    async def has_no_connection(self) -> bool:
        return not await self.has_connected()


@pytest.fixture
async def kept(server: AclServer, redis: Redis, keys: Keys) -> Kept:
    return await held_on(server, redis, keys)


async def held_on(server: AclServer, redis: Redis, keys: Keys, ttl: float = TTL) -> Kept:
    lease = Lease(redis, keys, ServerClock(), worker_id="worker", ttl=ttl)
    await lease.acquire(lambda: False)
    return Kept(server.url, keys, redis, lease)


def block_the_loop(seconds: float) -> None:
    """Hold up the event loop, and leave the interpreter free."""
    time.sleep(seconds)


def stand_still_until_ended(exits: Exits) -> None:
    """Hold up the event loop for good: until the process would have been ended."""
    give_up = time.monotonic() + HANG_LIMIT
    while not exits.statuses and time.monotonic() < give_up:
        time.sleep(0.02)


async def has_no_keeper() -> bool:
    return "lease-keeper" not in {thread.name for thread in threading.enumerate()}


# When it is due


@pytest.mark.parametrize(
    ("trust_left", "seconds"), [(9.0, 3.0), (7.0, 1.0), (6.0, 0.0), (2.0, 0.0), (-1.0, 0.0)]
)
def test_a_lease_wants_to_be_prolonged_once_a_third_of_its_time_has_gone_by(
    trust_left: float, seconds: float
) -> None:
    assert until_due(trust_left, ttl=9.0) == seconds


# Keeping it


async def test_a_lease_outlives_a_loop_that_is_busy_for_longer(kept: Kept) -> None:
    async with kept.keeping():
        block_the_loop(LONGER)
        assert kept.lease.trust_left > 0
        assert await kept.is_held()


async def test_nobody_else_gets_the_lease_meanwhile(kept: Kept) -> None:
    rival = Lease(kept.redis, kept.keys, ServerClock(), worker_id="rival", ttl=TTL)
    async with kept.keeping():
        block_the_loop(LONGER)
        with anyio.move_on_after(0.2):
            await rival.acquire(lambda: False)
    assert rival.value == ""


async def test_it_speaks_for_the_lease_alone(kept: Kept) -> None:
    """Health and events are the heartbeat's to tell: the keeper knows nothing of them."""
    async with kept.keeping():
        block_the_loop(LONGER)
    assert await kept.is_held()
    assert not await kept.redis.exists(kept.keys.health, kept.keys.events)


async def test_a_lease_that_heartbeats_prolong_is_left_to_them(
    server: AclServer, redis: Redis, keys: Keys
) -> None:
    kept = await held_on(server, redis, keys, ttl=12.0)
    async with kept.keeping():
        for _ in range(45):  # longer than a third of the lease, after which the keeper prolongs it
            await kept.lease.heartbeat({}, 60.0, [])
            await anyio.sleep(0.1)
        assert not await kept.has_connected()


async def test_a_connection_that_broke_is_made_anew(
    own_server: AclServer, onlooker: Redis, keys: Keys, until: Until
) -> None:
    kept = await held_on(own_server, onlooker, keys)
    client: Any = onlooker  # redis-py types this command incompletely
    with capture_logs() as lines:
        async with kept.keeping():
            await until(kept.has_connected)
            await client.execute_command("CLIENT", "KILL", "SKIPME", "yes")
            block_the_loop(LONGER)
            assert await kept.is_held()
            await anyio.lowlevel.checkpoint()
    assert "lease.keeper.redis_unavailable" in {line["event"] for line in lines}


# Losing it


async def test_it_leaves_alone_what_another_has_taken(kept: Kept, until: Until) -> None:
    async with kept.keeping():
        await until(kept.has_connected)
        await kept.redis.set(kept.keys.lease, "heir:nonce:2", px=60_000)
        await until(kept.has_no_connection)
        with pytest.raises(LeaseLostError):
            await kept.lease.heartbeat({}, 1.0, [])
    assert await kept.redis.get(kept.keys.lease) == b"heir:nonce:2"
    assert await kept.redis.pttl(kept.keys.lease) > 50_000


# Stopping


async def test_nothing_is_prolonged_once_it_has_stopped(kept: Kept, until: Until) -> None:
    async with kept.keeping():
        await until(kept.has_connected)
    await until(has_no_keeper)
    await until(kept.has_no_connection)
    await kept.lease.release()
    await anyio.sleep(TTL / 2)
    assert not await kept.redis.exists(kept.keys.lease)


async def test_it_stops_at_once_while_redis_hangs(
    own_server: AclServer, onlooker: Redis, keys: Keys, until: Until
) -> None:
    kept = await held_on(own_server, onlooker, keys)
    kept.url += "?socket_timeout=600"  # far longer than this test waits, as is the pause
    client: Any = onlooker  # redis-py types this command incompletely
    with anyio.fail_after(HANG_LIMIT):
        async with kept.keeping():
            await until(kept.has_connected)
            await client.execute_command("CLIENT", "PAUSE", "600000", "ALL")
            await anyio.sleep(TTL / 2)  # a renewal is under way
    await until(has_no_keeper)
    own_server.kill()


async def test_a_defect_of_it_is_the_workers_to_raise(kept: Kept) -> None:
    def fails() -> Redis:
        raise ValueError("a defect")

    keeper = LeaseKeeper(kept.lease, fails, stall_limit=NEVER)
    with anyio.fail_after(HANG_LIMIT), pytest.raises(ExceptionGroup) as raised:
        await keeper.run()
    assert raised.group_contains(ValueError, match="a defect")


# A loop that stands still


async def test_a_loop_that_shows_no_life_is_ended_with_the_place_where_it_stands(
    kept: Kept, until: Until
) -> None:
    with capture_logs() as lines:
        async with kept.keeping(stall_limit=0.5):
            stand_still_until_ended(kept.exits)
    assert kept.exits.statuses == [70]
    (stalled,) = [line for line in lines if line["event"] == "worker.stalled"]
    assert stalled["silent_for"] >= 0.5
    *_, innermost = stalled["stands_at"]
    file, _, call = innermost.partition(" in ")
    assert file.startswith(__file__ + ":")
    assert call == "stand_still_until_ended"


async def test_a_loop_that_shows_life_is_left_alone(kept: Kept) -> None:
    async with kept.keeping(stall_limit=2.5) as keeper:
        for _ in range(30):
            keeper.note_life()
            await anyio.sleep(0.1)
    assert kept.exits.statuses == []


async def test_who_lost_the_lease_and_stands_still_is_ended_too(kept: Kept) -> None:
    await kept.redis.set(kept.keys.lease, "heir:nonce:2")
    async with kept.keeping(stall_limit=1.5):
        stand_still_until_ended(kept.exits)
    assert kept.exits.statuses == [70]


def test_a_stack_shows_no_variables() -> None:
    def inner(password: str) -> list[str]:
        assert password
        return stack_of(threading.get_ident())

    shown = inner("Planted-Secret")
    assert any("inner" in call for call in shown)
    assert "Planted" not in "".join(shown)


def test_a_thread_that_is_gone_has_no_stack() -> None:
    assert stack_of(0) == []


# How silence is measured


def test_silence_lasts_from_one_sign_of_life_to_the_next() -> None:
    silence = Silence(longest_step=2.0)
    assert [silence.look(signs, 1.0) for signs in (0, 0, 1, 1, 2, 2, 2)] == [1, 2, 0, 1, 0, 1, 2]


def test_who_was_frozen_together_with_the_one_it_watches_does_not_blame_it() -> None:
    silence = Silence(longest_step=2.0)
    silence.look(0, 1.0)
    assert silence.look(0, elapsed=3_600.0) == 3.0
    assert silence.look(1, 1.0) == 0.0
    assert repr(silence) == "<Silence of 0.0 s>"


# Settings


def test_the_stall_limit_is_not_below_the_lease(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Or the process would end before another worker could take over."""
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "MT5_TERMINAL": "simulated",
        "MT5_LEASE_TTL": "20",
        "MT5_STALL_LIMIT": "19",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(MT5ValidationError, match="must not be below MT5_LEASE_TTL"):
        load_settings(WorkerSettings)


async def test_its_repr_shows_what_it_keeps(kept: Kept) -> None:
    assert repr(kept.keeper()).startswith("<LeaseKeeper of <Lease worker trusted for ")
