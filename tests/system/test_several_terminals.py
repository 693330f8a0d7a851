"""Two workers with a simulated terminal each, one client, and an operator who moves accounts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING

import anyio
import pytest
from tests.leaks.witness import WITNESS
from tests.limits import HANG_LIMIT
from tests.servers import GATEWAY, OPERATOR, as_user

from mt5relay_gateway import AccountId, FleetClient
from mt5relay_shared.keys import Keys

pytestmark = pytest.mark.integration

if TYPE_CHECKING:
    from tests.system.conftest import System

ALPHA, BETA = "Alpha-Demo", "Beta-Live"  # by rendezvous hashing the second's and the first's
FOLLOW_LIMIT = HANG_LIMIT


class Operator:
    """Somebody with the command line."""

    def __init__(self, url: str, prefix: str) -> None:
        self._environment = {
            **os.environ,
            "REDIS_URL": as_user(url, OPERATOR),
            "MT5_KEY_PREFIX": prefix,
        }

    async def tries(self, *words: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "mt5relay_gateway.cli", *words]
        ended = await anyio.run_process(command, env=self._environment, check=False)
        WITNESS.hear("output of a command", ended.stdout + ended.stderr)
        return ended.returncode, (ended.stdout + ended.stderr).decode()

    async def does(self, *words: str) -> None:
        status, said = await self.tries(*words)
        assert status == 0, said

    async def keeps_trying(self, *words: str) -> None:
        async with asyncio.timeout(FOLLOW_LIMIT):
            while (await self.tries(*words))[0] != 0:  # noqa: ASYNC110 - other processes must act
                await asyncio.sleep(0.1)


class Fleet:
    """Two terminals' systems that know the same accounts."""

    def __init__(self, first: System, second: System, operator: Operator) -> None:
        self.first = first
        self.second = second
        self.operator = operator
        self.accounts = first.accounts

    def of(self, server: str) -> list[AccountId]:
        return [account for account in self.accounts if account.server == server]

    def client(self) -> FleetClient:
        return FleetClient(
            as_user(self.first.url, GATEWAY), key_prefix=self.first.keys.prefix, timeout=HANG_LIMIT
        )

    async def register(self, system: System) -> None:
        await self.operator.does("terminals", "add", system.keys.terminal)


@pytest.fixture
async def fleet(system_of: Callable[[Keys], Awaitable[System]], keys: Keys) -> Fleet:
    prefix = keys.terminal
    first, second = [await system_of(Keys(name, prefix)) for name in ("t1", "t2")]
    return Fleet(first, second, Operator(first.url, prefix))


async def logged_in_to(system: System) -> set[str]:
    """The accounts whose last read this terminal made."""
    found = [key async for key in system.redis.scan_iter(system.keys.snapshot("*"))]
    return {key.decode().rpartition(":")[2] for key in found}


async def until_served_by(client: FleetClient, account: AccountId, system: System) -> None:
    async with asyncio.timeout(FOLLOW_LIMIT):
        while await client.terminal_of(account) != system.keys.terminal:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def steady_load(client: FleetClient, accounts: list[AccountId]) -> AsyncGenerator[list[int]]:
    """Ask for every account again and again; any error fails the test. Counts the answers."""
    answers = [0]
    over = asyncio.Event()

    async def ask(account: AccountId) -> None:
        while not over.is_set():
            answer = await client.account_info(account)
            assert answer.data.login == account.login
            assert answer.source == "terminal"
            answers[0] += 1

    async with asyncio.TaskGroup() as asking:
        for account in accounts:
            asking.create_task(ask(account))
        try:
            yield answers
        finally:
            over.set()


async def test_a_second_terminal_takes_its_share_and_moves_nobody_else(fleet: Fleet) -> None:
    await fleet.first.start()
    await fleet.register(fleet.first)
    async with fleet.client() as client:
        for account in fleet.accounts:
            await client.positions(account)
        assert await logged_in_to(fleet.first) == {str(account) for account in fleet.accounts}
        await fleet.second.start()
        await fleet.register(fleet.second)
        await until_served_by(client, fleet.of(ALPHA)[0], fleet.second)
        answers = await asyncio.gather(*(client.positions(one) for one in fleet.accounts))
        assert [answer.account for answer in answers] == fleet.accounts
    assert await logged_in_to(fleet.second) == {str(account) for account in fleet.of(ALPHA)}
    await fleet.second.until_health(requests_total=str(len(fleet.of(ALPHA))).encode())
    served = str(len(fleet.accounts) + len(fleet.of(BETA))).encode()
    await fleet.first.until_health(requests_total=served)


async def test_a_drained_terminal_hands_over_under_load_and_its_death_harms_nobody(
    fleet: Fleet,
) -> None:
    worker, _ = await asyncio.gather(fleet.first.start(), fleet.second.start())
    await fleet.register(fleet.first)
    await fleet.register(fleet.second)
    async with fleet.client() as client, steady_load(client, fleet.accounts) as answers:
        await until_served_by(client, fleet.of(BETA)[0], fleet.first)
        await fleet.operator.does("terminals", "drain", "t1")
        await fleet.operator.keeps_trying("terminals", "remove", "t1")
        worker.process.kill()
        worker.wait()
        assert await fleet.first.redis.xlen(fleet.first.keys.requests) == 0
        enough = answers[0] + 20 * len(fleet.accounts)
        async with asyncio.timeout(FOLLOW_LIMIT):
            while answers[0] < enough:  # noqa: ASYNC110 - counted by tasks that know no events
                await asyncio.sleep(0.01)
    assert await logged_in_to(fleet.second) == {str(account) for account in fleet.accounts}


async def test_a_terminal_that_can_not_log_in_to_its_share_is_not_given_it(fleet: Fleet) -> None:
    await fleet.first.start()
    await fleet.register(fleet.first)
    fleet.second.start_worker()
    await fleet.second.until_health(state=b"CONNECTED")
    status, said = await fleet.operator.tries("terminals", "add", "t2")
    assert status == 1
    assert "5 account(s) would go to a terminal that can't log in to them" in said
    async with fleet.client() as client:
        assert await client.terminal_of(fleet.of(ALPHA)[0]) == "t1"
