"""What the terminal is spared when whoever asked has gone."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from tests.system.conftest import until

from mt5relay_shared.keys import WORKER_GROUP

pytestmark = pytest.mark.integration

if TYPE_CHECKING:
    from tests.system.conftest import System

    from mt5relay_gateway import AccountClient


def logins(system: System) -> set[str]:
    return {line["account"] for line in system.logged("connection.login")}


async def until_waiting(system: System, count: int) -> None:
    async def are_waiting() -> bool:
        pending = await system.redis.xpending(system.keys.requests, WORKER_GROUP)
        return bool(pending["pending"] >= count)

    await until(are_waiting, system.tail)


async def until_dropped(system: System, count: int) -> None:
    async def are_dropped() -> bool:
        return len(system.logged("request.dropped")) == count

    await until(are_dropped, system.tail)


async def test_no_login_is_made_for_a_look_up_that_was_cancelled(system: System) -> None:
    await system.start()
    system.set_faults(scale=0.5)
    first, cancelled, last = system.accounts[:3]
    async with system.client(timeout=60) as client:
        waiting = asyncio.create_task(client.positions(first))
        await until_waiting(system, 1)
        gone = [asyncio.create_task(client.positions(cancelled)) for _ in range(20)]
        await until_waiting(system, 21)
        for one in gone:
            one.cancel()
        await asyncio.gather(waiting, client.positions(last))
        await asked_again(client, system, str(cancelled))
    assert logins(system) == {str(first), str(last), str(cancelled)}
    assert len(system.logged("request.dropped")) == 20
    assert await system.redis.xlen(system.keys.requests) == 0


async def asked_again(client: AccountClient, system: System, account: str) -> None:
    """Until now nobody logged in to it; asked again, it is answered as ever."""
    await until_dropped(system, 20)
    assert account not in logins(system)
    assert (await client.positions(account)).source == "terminal"


async def test_no_login_is_made_for_a_gateway_that_has_closed(system: System) -> None:
    await system.start()
    system.set_faults(scale=0.5)
    first, closed = system.accounts[:2]
    async with system.client(timeout=60) as client:
        waiting = asyncio.create_task(client.positions(first))
        await until_waiting(system, 1)
        async with system.client(timeout=60) as other:
            gone = asyncio.create_task(other.positions(closed))
            await until_waiting(system, 2)
        with contextlib.suppress(Exception):
            await gone
        await waiting
        await until_dropped(system, 1)
    assert logins(system) == {str(first)}
