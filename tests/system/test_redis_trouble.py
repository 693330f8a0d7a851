"""What a user sees when Redis is restarted, emptied, paused, read-only, full, away, or behind.

What the server still knows is answered, everybody says meanwhile what is wrong, and all works again
by itself as soon as Redis does. A worker that could not keep its lease ends with status 75, for its
service manager to start another.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog
from redis.exceptions import OutOfMemoryError, RedisError
from structlog.testing import capture_logs
from structlog.typing import EventDict
from tests.chaos.link import Link
from tests.limits import HANG_LIMIT
from tests.servers import TESTER, AclServer, as_user, running_server
from tests.system.conftest import Supervisor, System, prepared_system, until

from mt5relay_gateway import AccountClient, Answer
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import (
    AccountUnknownError,
    DeadlineExceededError,
    MT5Error,
    NoWorkerError,
    RedisUnavailableError,
)
from mt5relay_shared.keys import WORKER_GROUP, Keys
from mt5relay_shared.redis_client import connect

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("server"),  # skips where no server can be started
]

AT_ONCE = ("--repl-diskless-sync-delay", "0")  # copying begins without waiting for more replicas
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
EXIT_LEASE_LOST = 75
LEASE_TTL = 1.5  # seconds
LONG_LEASE = {"MT5_LEASE_TTL": "30"}  # outlives the trouble, so losing it would be a defect
RECOVERY_LIMIT = HANG_LIMIT  # from the end of the trouble until a look-up works
QUICK = {"scale": 0}  # the terminal's faults
SLOW = {"scale": 0.2}  # a change of account takes about half a second
SILENT = {"calls_that_hang": ["login"]}  # nothing is answered until another worker starts
SPARE_MEMORY = 4_000_000  # bytes that are free before the server is filled
JUNK = (100_000, 2_000, 64)  # bytes; what one size leaves free the next one takes


@dataclass
class Scene:
    """A system that works, on a server of its own that is about to be in trouble."""

    server: AclServer
    system: System
    client: AccountClient
    supervisor: Supervisor
    gateway_log: list[EventDict]
    accepted: dict[str, AccountId] = field(default_factory=dict[str, AccountId])

    @property
    def account(self) -> AccountId:
        return self.system.accounts[0]

    @property
    def statuses(self) -> list[int]:
        """The exit statuses of the workers that have ended."""
        return self.supervisor.statuses

    async def start_server_again(self) -> None:
        self.server.start()
        await self.system.redis.connection_pool.disconnect()  # the test's own, dead by now

    async def accept_requests(self, count: int = 10) -> None:
        """Queue two for each of so many accounts."""
        for account in self.system.accounts[:count]:
            for operation in ("positions", "account_info"):
                request_id = await self.client.submit(operation, account, timeout=60)
                self.accepted[request_id] = account

    async def begin_lookup(
        self, account: AccountId, *, timeout: float, request_id: str = "waited-for"
    ) -> asyncio.Task[Answer[Any]]:
        """Begin to wait for an answer; the server has acknowledged the request."""
        lookup = asyncio.create_task(
            self.client.account_info(account, timeout=timeout, request_id=request_id)
        )

        async def is_acknowledged() -> bool:
            if lookup.done():
                lookup.result()  # raises what it was refused with
            return bool(await self.system.redis.exists(self.system.keys.request(request_id)))

        await until(is_acknowledged, self.system.tail)
        return lookup

    async def all_are_answered(self) -> None:
        """Each from the terminal, each with its own account, and nothing of them is left behind."""
        self.system.set_faults(**QUICK)
        for request_id, account in self.accepted.items():
            answer = await self.client.fetch_reply(request_id, wait=RECOVERY_LIMIT)
            assert answer is not None, f"{request_id} is lost\n{self.system.tail()}"
            assert (answer.source, answer.account) == ("terminal", account)

        async def is_drained() -> bool:
            keys, redis = self.system.keys, self.system.redis
            pending = (await redis.xpending(keys.requests, WORKER_GROUP))["pending"]
            return not pending and not await redis.xlen(keys.requests)

        await until(is_drained, self.system.tail)

    async def works_again(self) -> None:
        """A look-up reaches the terminal; until then callers are told to try again."""
        self.system.set_faults(**QUICK)

        async def is_answered() -> bool:
            try:
                answer = await self.client.account_info(self.account, timeout=3)
            except MT5Error as error:
                if not error.retryable:
                    raise
                return False
            assert (answer.source, answer.data.login) == ("terminal", self.account.login)
            return True

        await until(is_answered, self.system.tail, RECOVERY_LIMIT)
        await self.system.until_health(status=b"ok")
        assert set(self.statuses) <= {EXIT_LEASE_LOST}, self.system.tail()

    async def until_told(self, kind: type[MT5Error], words: str, *, timeout: float = 1.0) -> None:
        """Ask until the caller is told this; `timeout` is each question's, in seconds."""
        told = "nothing"

        async def is_told() -> bool:
            nonlocal told
            try:
                told = repr(await self.client.account_info(self.account, timeout=timeout))
            except MT5Error as error:
                told = repr(error)
                return isinstance(error, kind) and words in str(error)
            return False

        await until(is_told, lambda: f"{kind.__name__}: {words}; told {told}\n{self.system.tail()}")

    async def until_said(self, event: str, words: str = "") -> None:
        """Wait for a worker's log line of this event with these words in its reason or error."""

        async def is_said() -> bool:
            lines = self.system.logged(event)
            return any(words in line.get("reason", line.get("error", "")) for line in lines)

        await until(is_said, lambda: f"{event}: {words}\n{self.system.tail()}")

    async def until_gateway_said(self, event: str) -> None:
        async def is_said() -> bool:
            return any(line["event"] == event for line in self.gateway_log)

        await until(is_said, lambda: f"{event}: {self.gateway_log}")

    async def until_health_is_gone(self) -> None:
        """A monitor sees that there is no worker."""

        async def is_gone() -> bool:
            return not await self.system.health()

        await until(is_gone, self.system.tail)

    async def until_a_worker_ended(self) -> None:
        async def has_ended() -> bool:
            return bool(self.statuses)

        await until(has_ended, self.system.tail)
        assert self.statuses[0] == EXIT_LEASE_LOST, self.system.tail()
        await self.until_said("worker.lease_lost")

    async def enrol_again(self) -> None:
        """An operator's task after a loss of all keys."""
        await self.until_told(AccountUnknownError, "mt5relay accounts add", timeout=3)
        await self.system.until_health(state=b"CONNECTED")  # the sealing key is there by then
        await self.system.enrol(self.system.accounts)


@contextlib.contextmanager
def gateway_log() -> Generator[list[EventDict]]:
    """What the gateways of this process say, whatever other tests made of the log."""
    before = structlog.get_config()
    structlog.reset_defaults()
    try:
        with capture_logs() as lines:
            yield lines
    finally:
        structlog.configure(**before)


@contextlib.asynccontextmanager
async def scene_at(
    server: AclServer, url: str, keys: Keys, directory: Path, **settings: str
) -> AsyncGenerator[Scene]:
    """A working system that reaches the server by `url`; `settings` are its workers'."""
    settings = {"MT5_LEASE_TTL": f"{LEASE_TTL}", **settings}
    async with prepared_system(url, keys, directory) as system:
        await system.start(**settings)
        with gateway_log() as lines:
            async with (
                system.supervised(**settings) as supervisor,
                system.client(timeout=HANG_LIMIT) as client,
            ):
                await client.account_info(system.accounts[0])
                yield Scene(server, system, client, supervisor, lines)


@contextlib.asynccontextmanager
async def scene(
    keys: Keys, directory: Path, *options: str, **settings: str
) -> AsyncGenerator[Scene]:
    """As `scene_at`, on a new server that was started with `options`."""
    with running_server(*options) as server:
        async with scene_at(server, server.url, keys, directory, **settings) as it:
            yield it


# Restarts


async def test_a_brief_restart_of_a_durable_server_costs_nobody_anything(
    keys: Keys, tmp_path: Path
) -> None:
    async with scene(keys, tmp_path, *DURABLE, **LONG_LEASE) as it:
        it.system.set_faults(**SLOW)
        await it.accept_requests()
        lookup = await it.begin_lookup(it.system.accounts[-1], timeout=60)
        it.server.kill()
        await it.until_told(RedisUnavailableError, "Redis did not answer", timeout=0.1)
        await it.start_server_again()
        await it.all_are_answered()
        assert (await lookup).data.login == it.system.accounts[-1].login
        await it.works_again()
        assert it.statuses == []
        await it.until_said("intake.redis_unavailable")
        await it.until_gateway_said("inbox.connection_lost")
        await it.until_gateway_said("inbox.connection_restored")


async def test_a_durable_server_that_refuses_connections_for_long_loses_nothing(
    keys: Keys, tmp_path: Path
) -> None:
    """Four lives of a lease stand for a minute, which is six of a lease as it is by default.

    By then nothing changes any more: the worker has ended, the next one asks once a second, the
    client's pauses between two tries have grown to their longest (about 3 s in all), and redis-py
    tries nothing again by itself.
    """
    async with scene(keys, tmp_path, *DURABLE) as it:
        it.system.set_faults(**SILENT)
        patient, impatient = it.system.accounts[-1], it.system.accounts[-2]
        overdue = await it.begin_lookup(impatient, timeout=2, request_id="overdue")
        acknowledged = await it.begin_lookup(patient, timeout=60)
        await it.accept_requests()
        it.server.kill()
        began = time.monotonic()
        asked_meanwhile = asyncio.create_task(it.client.account_info(patient, timeout=60))
        await it.until_told(RedisUnavailableError, "Redis did not answer")
        with pytest.raises(RedisUnavailableError):
            await it.client.health()
        with pytest.raises(MT5Error) as told:
            await overdue
        assert told.value.retryable
        await it.until_a_worker_ended()
        await it.until_said("heartbeat.redis_unavailable", "connect")
        await it.until_said("lease.waiting", "Redis")
        await asyncio.sleep(max(0.0, began + 4 * LEASE_TTL - time.monotonic()))
        assert not acknowledged.done()
        assert not asked_meanwhile.done()
        it.system.set_faults(**QUICK)
        await it.start_server_again()
        await it.all_are_answered()
        assert (await acknowledged).data.login == patient.login
        with contextlib.suppress(NoWorkerError):  # Redis may be back before the worker is
            assert (await asked_meanwhile).data.login == patient.login
        await it.works_again()
        await it.until_gateway_said("inbox.connection_lost")
        await it.until_gateway_said("inbox.connection_restored")


async def test_after_a_restart_that_lost_everything_only_the_accounts_are_missing(
    keys: Keys, tmp_path: Path
) -> None:
    async with scene(keys, tmp_path) as it:
        it.system.set_faults(**SILENT)
        lost = await it.begin_lookup(it.system.accounts[-1], timeout=4)
        await it.accept_requests()
        with it.supervisor.held():
            it.server.kill()
            await it.start_server_again()
            await it.until_a_worker_ended()
            await it.until_told(NoWorkerError, "refused")
            await it.until_health_is_gone()
            assert await it.client.health() is None
        with pytest.raises(DeadlineExceededError):
            await lost
        it.system.set_faults(**QUICK)
        await it.enrol_again()
        await it.works_again()
        assert [await it.client.fetch_reply(name) for name in it.accepted] == [None] * 20
        await it.until_gateway_said("inbox.connection_restored")


# Losses without a restart


async def test_after_a_flush_the_worker_starts_anew_and_says_so(keys: Keys, tmp_path: Path) -> None:
    async with scene(keys, tmp_path) as it:
        it.system.set_faults(**SILENT)
        lost = await it.begin_lookup(it.system.accounts[-1], timeout=2)
        await it.accept_requests()
        with it.supervisor.held():
            await it.system.redis.flushall()
            await it.until_a_worker_ended()
            await it.until_told(NoWorkerError, "refused")
            await it.until_health_is_gone()
            assert await it.client.health() is None
        with pytest.raises(DeadlineExceededError):
            await lost
        it.system.set_faults(**QUICK)
        await it.enrol_again()
        await it.works_again()
        assert await it.system.redis.xlen(it.system.keys.requests) == 0


async def test_flushed_scripts_are_loaded_again_without_a_word(keys: Keys, tmp_path: Path) -> None:
    async with scene(keys, tmp_path, **LONG_LEASE) as it:
        it.system.set_faults(**SLOW)
        await it.accept_requests()
        lookup = await it.begin_lookup(it.system.accounts[-1], timeout=60)
        for _ in range(5):
            await it.system.redis.script_flush()
            await asyncio.sleep(0.1)
        await it.all_are_answered()
        assert (await lookup).data.login == it.system.accounts[-1].login
        await it.works_again()
        assert it.statuses == []
        assert not it.system.logged("heartbeat.redis_unavailable")
        assert not it.system.logged("intake.redis_unavailable")


async def test_everybody_whose_connection_is_cut_comes_back(keys: Keys, tmp_path: Path) -> None:
    async with scene(keys, tmp_path, **LONG_LEASE) as it:
        it.system.set_faults(**SLOW)
        await it.accept_requests()
        lookup = await it.begin_lookup(it.system.accounts[-1], timeout=60)
        for _ in range(5):
            await it.system.redis.execute_command("CLIENT", "KILL", "TYPE", "normal")
            await asyncio.sleep(0.1)
        await it.all_are_answered()
        assert (await lookup).data.login == it.system.accounts[-1].login
        await it.works_again()
        assert it.statuses == []
        await it.until_said("intake.redis_unavailable")
        await it.until_gateway_said("inbox.connection_lost")
        await it.until_gateway_said("inbox.connection_restored")


# Pauses


async def test_a_server_that_pauses_for_longer_than_a_lease_loses_nothing(
    keys: Keys, tmp_path: Path
) -> None:
    async with scene(keys, tmp_path) as it:
        it.system.set_faults(**SLOW)
        await it.accept_requests()
        lookup = await it.begin_lookup(it.system.accounts[-1], timeout=60)
        await it.system.redis.execute_command("CLIENT", "PAUSE", 2_500, "ALL")
        await it.until_told(RedisUnavailableError, "Redis did not answer", timeout=0.1)
        await it.until_a_worker_ended()  # at the pause's end: nobody can be told before
        await it.all_are_answered()
        assert (await lookup).data.login == it.system.accounts[-1].login
        await it.works_again()


async def test_a_server_that_holds_back_writes_as_in_a_failover_loses_nothing(
    keys: Keys, tmp_path: Path
) -> None:
    async with scene(keys, tmp_path) as it:
        it.system.set_faults(**SLOW)
        await it.accept_requests()
        lookup = await it.begin_lookup(it.system.accounts[-1], timeout=60)
        await it.system.redis.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
        with pytest.raises(MT5Error) as told:
            await it.client.account_info(it.account, timeout=0.5)
        assert told.value.retryable
        await it.until_health_is_gone()
        await until_lease_is_free(it.system.redis, keys)
        await it.system.redis.execute_command("CLIENT", "UNPAUSE")
        await it.until_a_worker_ended()
        await it.all_are_answered()
        assert (await lookup).data.login == it.system.accounts[-1].login
        await it.works_again()


async def until_lease_is_free(redis: Any, keys: Keys) -> None:
    async def is_free() -> bool:
        return not await redis.exists(keys.lease)

    await until(is_free, lambda: "the lease to run out")


# Replicas


async def test_a_server_that_becomes_a_replica_for_a_while_is_waited_for(
    keys: Keys, tmp_path: Path
) -> None:
    async with scene(keys, tmp_path, *AT_ONCE) as it:
        with running_server(*AT_ONCE) as other:
            it.system.set_faults(**SLOW)
            await it.accept_requests()
            lookup = await it.begin_lookup(it.system.accounts[-1], timeout=60)
            await make_replica(other, it.server)
            await promote(other)
            await make_replica(it.server, other)
            with pytest.raises(MT5Error) as told:  # which, depends on what its copy says of a lease
                await it.client.account_info(it.account, timeout=1)
            assert told.value.retryable
            await it.until_a_worker_ended()
            await it.until_health_is_gone()
            await it.until_said("lease.waiting", "read only")
            await promote(it.server)
            await it.all_are_answered()
            assert (await lookup).data.login == it.system.accounts[-1].login
            await it.works_again()
            await it.until_gateway_said("inbox.connection_lost")
            await it.until_gateway_said("inbox.connection_restored")


class Address(Link):
    """What clients connect to: whichever server is the master now."""

    def lead_to(self, server: AclServer) -> None:
        self._upstream_port = server.port
        self.cut()


@dataclass
class Failover:
    """A master that is about to die, and a replica that has not heard the last of it."""

    scene: Scene
    replica: AclServer
    address: Address

    async def stop_replicating(self) -> None:
        """From now on the replica misses everything; it has all that was before."""
        assert await self.scene.system.redis.wait(1, 60_000) == 1
        await promote(self.replica)

    async def happen(self) -> None:
        self.scene.server.kill()
        self.address.lead_to(self.replica)
        await self.scene.system.redis.connection_pool.disconnect()


@contextlib.asynccontextmanager
async def lagging_failover(
    keys: Keys, directory: Path, **settings: str
) -> AsyncGenerator[Failover]:
    with running_server(*AT_ONCE) as master, running_server(*AT_ONCE) as replica:
        await make_replica(replica, master)
        address = Address(master.port)
        await address.open()
        try:
            async with scene_at(master, address.url, keys, directory, **settings) as it:
                yield Failover(it, replica, address)
        finally:
            address.close()


async def test_after_a_failover_callers_of_lost_requests_hit_their_deadline_and_nothing_else(
    keys: Keys, tmp_path: Path
) -> None:
    """The promoted replica misses more than a lease's life of writes, so the lease too is gone."""
    async with lagging_failover(keys, tmp_path) as failover:
        it = failover.scene
        it.system.set_faults(**SILENT)
        await it.accept_requests(3)
        kept = await it.begin_lookup(it.system.accounts[-1], timeout=60, request_id="kept")
        await failover.stop_replicating()
        lost = {
            account: await it.begin_lookup(account, timeout=6, request_id=f"lost-{account.login}")
            for account in it.system.accounts[5:]
        }
        replica: Any = connect(as_user(failover.replica.url, TESTER), client_name="operator")
        await until_lease_is_free(replica, keys)
        names = [it.system.keys.request(f"lost-{account.login}") for account in lost]
        assert await it.system.redis.exists(*names) == len(names)
        it.system.set_faults(**SLOW)  # for the next worker's terminal; this one's still hangs
        await failover.happen()
        await it.until_a_worker_ended()
        assert await replica.exists(*names) == 0
        await replica.aclose()
        await it.all_are_answered()
        assert (await kept).data.login == it.system.accounts[-1].login
        for lookup in lost.values():
            with pytest.raises(DeadlineExceededError):
                await lookup
        await it.works_again()
        account = it.system.accounts[5]
        again = await it.client.account_info(account, request_id=f"lost-{account.login}")
        assert again.data.login == account.login


async def test_a_failover_within_a_leases_life_leaves_each_caller_a_reply_or_the_deadline(
    keys: Keys, tmp_path: Path
) -> None:
    """The worker goes on under the lease that the replica knows, with requests it does not know."""
    async with lagging_failover(keys, tmp_path, **LONG_LEASE) as failover:
        it = failover.scene
        it.system.set_faults(**SLOW)
        await it.accept_requests()
        await failover.stop_replicating()
        lookups = {
            account: await it.begin_lookup(account, timeout=8, request_id=f"late-{account.login}")
            for account in it.system.accounts
        }
        await failover.happen()
        await it.all_are_answered()
        for account, lookup in lookups.items():
            with contextlib.suppress(DeadlineExceededError):
                assert (await lookup).data.login == account.login
        await it.works_again()
        assert it.statuses == []
        await it.until_said("intake.redis_unavailable")
        await it.until_gateway_said("inbox.connection_restored")


async def make_replica(server: AclServer, of: AclServer) -> None:
    """Let a server copy another and follow it."""
    redis: Any = connect(as_user(server.url, TESTER), client_name="operator")
    await redis.execute_command("REPLICAOF", "127.0.0.1", of.port)

    async def has_copied() -> bool:
        return bool((await redis.info("replication"))["master_link_status"] == "up")

    await until(has_copied, lambda: f"{server} to follow {of}")
    await redis.aclose()


async def promote(server: AclServer) -> None:
    redis: Any = connect(as_user(server.url, TESTER), client_name="operator")
    await redis.execute_command("REPLICAOF", "NO", "ONE")
    await redis.aclose()


# Out of memory


@contextlib.asynccontextmanager
async def filled_with_junk(server: AclServer) -> AsyncGenerator[None]:
    """Let somebody else's data take the server's memory, and what becomes free of it, in here."""
    redis: Any = connect(as_user(server.url, TESTER), client_name="hoarder")
    used = (await redis.info("memory"))["used_memory"]
    await redis.config_set("maxmemory", used + SPARE_MEMORY)
    is_full, is_over = asyncio.Event(), asyncio.Event()
    hoarded: list[str] = []

    async def fill_up(size: int) -> None:
        with contextlib.suppress(OutOfMemoryError):
            while not is_over.is_set():
                name = f"junk-{len(hoarded)}"
                await redis.set(name, bytes(size))
                hoarded.append(name)

    async def hoard() -> None:
        while not is_over.is_set():
            for size in JUNK:
                await fill_up(size)
            is_full.set()
            await asyncio.sleep(0.01)

    hoarding = asyncio.create_task(hoard())
    await is_full.wait()
    try:
        yield
    finally:
        is_over.set()
        await hoarding
        await redis.unlink(*hoarded)
        await redis.aclose()


async def test_a_full_server_refuses_by_name_and_loses_nothing_it_has_accepted(
    keys: Keys, tmp_path: Path
) -> None:
    # Without a lease the refusal is another; so it must outlive the first question.
    async with scene(keys, tmp_path, MT5_LEASE_TTL="3") as it:
        # So slow that much is left to be written when the server is full, however long that takes.
        it.system.set_faults(scale=2.0)
        await it.accept_requests()
        lookup = await it.begin_lookup(it.system.accounts[-1], timeout=60)
        async with filled_with_junk(it.server):
            await it.until_told(RedisUnavailableError, "maxmemory")
            await it.until_a_worker_ended()
            await it.until_said("lease.waiting", "maxmemory")
            await it.until_health_is_gone()
        await it.all_are_answered()
        assert (await lookup).data.login == it.system.accounts[-1].login
        await it.works_again()


@pytest.mark.parametrize("seconds", [3.0, 8.0])
async def test_too_few_replicas_for_a_while_cost_no_worker_and_no_request(
    keys: Keys, tmp_path: Path, seconds: float
) -> None:
    """Shorter and longer than the lease lives."""
    async with scene(keys, tmp_path, MT5_LEASE_TTL="5") as it:
        admin: Any = it.system.redis
        it.system.set_faults(scale=2.0)
        lookup = await it.begin_lookup(it.system.accounts[-1], timeout=300)
        for _ in range(3):  # as often as a request may crash a worker
            await admin.config_set("min-replicas-to-write", 1)
            await asyncio.sleep(seconds)
            await admin.config_set("min-replicas-to-write", 0)
            await asyncio.sleep(1.0)
        it.system.set_faults(**QUICK)
        assert (await lookup).data.login == it.system.accounts[-1].login
        await it.works_again()
        assert not await admin.exists(keys.dead)


async def test_a_slow_script_of_another_client_costs_no_worker_and_no_request(
    keys: Keys, tmp_path: Path
) -> None:
    async with scene(keys, tmp_path, MT5_LEASE_TTL="30") as it:
        admin: Any = it.system.redis
        await admin.config_set("busy-reply-threshold", 100)
        it.system.set_faults(scale=2.0)
        lookup = await it.begin_lookup(it.system.accounts[-1], timeout=300)
        it.system.set_faults(**QUICK)
        loop = "local n = 0 while n < 3e8 do n = n + 1 end return n"
        slow: Any = connect(as_user(it.server.url, TESTER), client_name="slow")
        with contextlib.suppress(RedisError):  # it is as slow as the machine is
            await slow.execute_command("EVAL", loop, 0)
        await slow.aclose()
        assert (await lookup).data.login == it.system.accounts[-1].login
        await it.works_again()
        assert it.statuses == []
        assert not await admin.exists(keys.dead)
