"""What a user sees when Redis is restarted, emptied, paused, read-only, full or away.

What the server still knows is answered, everybody says meanwhile what is wrong, and all works again
by itself as soon as Redis does. A worker that could not keep its lease ends with status 75, for its
service manager to start another.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.system.conftest import System, prepared_system, until

from mt5relay_gateway import AccountClient
from mt5relay_gateway.cli.store import StoreServer, running_server
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

pytestmark = pytest.mark.usefixtures("server")  # skips where there is none to be started

AT_ONCE = ("--repl-diskless-sync-delay", "0")  # copying begins without waiting for more replicas
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
WAITED_FOR = "waited-for"  # the id of a look-up
EXIT_LEASE_LOST = 75
LEASE_TTL = 1.5  # seconds, as the system's workers have it
RECOVERY_LIMIT = 15.0  # seconds from the end of the trouble until a look-up works


@dataclass
class Scene:
    """A system that works, on a server of its own that is about to be in trouble."""

    server: StoreServer
    system: System
    client: AccountClient
    statuses: list[int]
    accepted: list[str] = field(default_factory=list[str])

    @property
    def account(self) -> AccountId:
        return self.system.accounts[0]

    async def start_server_again(self) -> None:
        self.server.start()
        await self.system.redis.connection_pool.disconnect()  # the test's own, dead by now

    async def accept_requests(self, *, lookup_timeout: float = 20) -> asyncio.Task[Any]:
        """Queue two for each account on a slow terminal, and look up what one caller waits for."""
        self.system.set_faults(scale=0.03)
        for account in self.system.accounts:
            for operation in ("positions", "account_info"):
                self.accepted.append(await self.client.submit(operation, account, timeout=40))
        lookup = asyncio.create_task(
            self.client.orders(self.account, timeout=lookup_timeout, request_id=WAITED_FOR)
        )

        async def is_accepted() -> bool:
            return bool(await self.system.redis.exists(self.system.keys.request(WAITED_FOR)))

        await until(is_accepted, self.system.tail)
        return lookup

    async def all_are_answered(self, lookup: asyncio.Task[Any]) -> None:
        """Each from the terminal, and nothing of them is left behind."""
        for request_id in self.accepted:
            answer = await self.client.fetch_reply(request_id, wait=RECOVERY_LIMIT)
            assert answer is not None, self.system.tail()
            assert answer.source == "terminal"
        assert (await lookup).source == "terminal"
        pending = await self.system.redis.xpending(self.system.keys.requests, WORKER_GROUP)
        assert pending["pending"] == 0
        assert await self.system.redis.xlen(self.system.keys.requests) == 0

    async def works_again(self) -> None:
        """A look-up reaches the terminal; until then it is told that it may be tried again."""
        give_up = time.monotonic() + RECOVERY_LIMIT
        while time.monotonic() < give_up:
            with contextlib.suppress(MT5Error):
                assert (await self.client.tick(self.account, "EURUSD", timeout=3)).data.bid > 0
                break
            await asyncio.sleep(0.1)
        else:
            pytest.fail(f"it does not work again\n{self.system.tail()}")
        await self.system.until_health(status=b"ok")
        assert set(self.statuses) <= {EXIT_LEASE_LOST}, self.system.tail()

    async def refusal(self, *, timeout: float = 0.5) -> MT5Error:
        """What a caller is told who asks now."""
        with pytest.raises(MT5Error) as told:
            await self.client.account_info(self.account, timeout=timeout)
        return told.value

    async def until_said(self, event: str, words: str) -> None:
        """Wait for a worker's log line of this event with these words in its reason."""

        async def is_said() -> bool:
            return any(words in line["reason"] for line in self.system.logged(event))

        await until(is_said, lambda: f"{event}: {words}\n{self.system.tail()}")

    async def until_a_worker_ended(self) -> None:
        async def has_ended() -> bool:
            return bool(self.statuses)

        await until(has_ended, self.system.tail)

    async def enrol_again(self) -> None:
        """An operator's task after a loss of all keys."""
        await self.system.until_health(state=b"CONNECTED")
        await self.system.enrol(self.system.accounts)


@contextlib.asynccontextmanager
async def scene(keys: Keys, directory: Path, *options: str) -> AsyncGenerator[Scene]:
    with running_server(*options) as server:
        async with prepared_system(server.url, keys, directory) as system:
            await system.start()
            async with system.supervised() as statuses, system.client(timeout=20) as client:
                await client.account_info(system.accounts[0])
                yield Scene(server, system, client, statuses)


@pytest.mark.parametrize("downtime", [0.2, 2.5 * LEASE_TTL])
async def test_a_restart_of_a_durable_server_loses_nothing(
    keys: Keys, tmp_path: Path, downtime: float
) -> None:
    async with scene(keys, tmp_path, *DURABLE) as it:
        lookup = await it.accept_requests()
        it.server.kill()
        assert isinstance(await it.refusal(timeout=0.1), RedisUnavailableError)
        await asyncio.sleep(downtime)
        await it.start_server_again()
        await it.all_are_answered(lookup)
        await it.works_again()
        if downtime > LEASE_TTL:
            assert EXIT_LEASE_LOST in it.statuses
            await it.until_said("worker.lease_lost", "Redis")
            await it.until_said("lease.waiting", "Redis")


async def test_after_a_restart_that_lost_everything_only_the_accounts_are_missing(
    keys: Keys, tmp_path: Path
) -> None:
    async with scene(keys, tmp_path) as it:
        lost = await it.accept_requests(lookup_timeout=4)
        it.server.kill()
        await it.start_server_again()
        assert isinstance(await it.refusal(), NoWorkerError)
        await it.until_a_worker_ended()
        await it.until_said("worker.lease_lost", "lease")
        with pytest.raises(DeadlineExceededError):
            await lost
        await it.system.until_health(state=b"CONNECTED")
        told = await it.refusal(timeout=3)
        assert isinstance(told, AccountUnknownError)
        assert "mt5relay accounts add" in str(told)
        await it.enrol_again()
        await it.works_again()


async def test_after_a_flush_the_worker_starts_anew_and_says_so(keys: Keys, tmp_path: Path) -> None:
    async with scene(keys, tmp_path) as it:
        lost = await it.accept_requests(lookup_timeout=2)
        await it.system.redis.flushall()
        assert isinstance(await it.refusal(), NoWorkerError)
        await it.until_a_worker_ended()
        await it.until_said("worker.lease_lost", "lease")
        with pytest.raises(DeadlineExceededError):
            await lost
        await it.enrol_again()
        await it.works_again()
        assert await it.system.redis.xlen(it.system.keys.requests) == 0


async def test_flushed_scripts_are_loaded_again_without_a_word(keys: Keys, tmp_path: Path) -> None:
    async with scene(keys, tmp_path) as it:
        lookup = await it.accept_requests()
        await it.system.redis.script_flush()
        await it.all_are_answered(lookup)
        await it.works_again()
        assert it.statuses == []
        assert not it.system.logged("heartbeat.redis_unavailable")


async def test_everybody_whose_connection_is_cut_comes_back(keys: Keys, tmp_path: Path) -> None:
    async with scene(keys, tmp_path) as it:
        lookup = await it.accept_requests()
        for _ in range(5):
            await it.system.redis.execute_command("CLIENT", "KILL", "TYPE", "normal")
            await asyncio.sleep(0.1)
        await it.all_are_answered(lookup)
        await it.works_again()
        assert it.statuses == []
        assert it.system.logged("intake.redis_unavailable")


async def test_a_server_that_pauses_for_longer_than_a_lease_loses_nothing(
    keys: Keys, tmp_path: Path
) -> None:
    async with scene(keys, tmp_path) as it:
        lookup = await it.accept_requests()
        await it.system.redis.execute_command("CLIENT", "PAUSE", 2000, "ALL")
        assert isinstance(await it.refusal(), MT5Error)
        await it.all_are_answered(lookup)
        await it.works_again()


async def test_a_server_that_becomes_a_replica_for_a_while_is_waited_for(
    keys: Keys, tmp_path: Path
) -> None:
    async with scene(keys, tmp_path, *AT_ONCE) as it:
        with running_server(*AT_ONCE) as other:
            lookup = await it.accept_requests()
            await make_replica(other, it.server)
            await promote(other)
            await make_replica(it.server, other)
            told = await it.refusal(timeout=0.3)
            assert isinstance(told, RedisUnavailableError)
            assert "read only" in str(told)
            await it.until_a_worker_ended()
            await it.until_said("lease.waiting", "read only")
            await promote(it.server)
            await it.all_are_answered(lookup)
            await it.works_again()


async def make_replica(server: StoreServer, of: StoreServer) -> None:
    """Let a server copy another and follow it."""
    redis: Any = connect(server.url, client_name="operator")
    await redis.execute_command("REPLICAOF", "127.0.0.1", of.port)

    async def has_copied() -> bool:
        return bool((await redis.info("replication"))["master_link_status"] == "up")

    await until(has_copied, lambda: f"{server} to follow {of}")
    await redis.aclose()


async def promote(server: StoreServer) -> None:
    redis: Any = connect(server.url, client_name="operator")
    await redis.execute_command("REPLICAOF", "NO", "ONE")
    await redis.aclose()


async def test_a_full_server_refuses_by_name_and_loses_nothing_it_has_accepted(
    keys: Keys, tmp_path: Path
) -> None:
    async with scene(keys, tmp_path) as it:
        lookup = await it.accept_requests()
        await it.system.redis.config_set("maxmemory", 1)
        told = await it.refusal()
        assert isinstance(told, RedisUnavailableError)
        assert "maxmemory" in str(told)
        await it.until_a_worker_ended()
        await it.until_said("lease.waiting", "maxmemory")
        await it.system.redis.config_set("maxmemory", 0)
        await it.all_are_answered(lookup)
        await it.works_again()
