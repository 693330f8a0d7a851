"""The registry of terminals changes as a whole, and never behind somebody's back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import cast

import pytest
from redis.asyncio import Redis
from tests.servers import OPERATOR, AclServer, as_user

from mt5relay_shared.keys import FleetKeys, Keys
from mt5relay_shared.redis_client import connect
from mt5relay_shared.scripts import AMEND, Argument


@pytest.fixture
async def redis(server: AclServer) -> AsyncIterator[Redis]:
    """An operator's connection."""
    client = connect(as_user(server.url, OPERATOR), client_name="operator")
    yield client
    await client.aclose()


@pytest.fixture
def fleet_keys(keys: Keys) -> FleetKeys:
    return FleetKeys(keys.terminal)


async def amend(
    redis: Redis, keys: FleetKeys, version: int, *changes: Argument
) -> tuple[bytes, int]:
    answer = await AMEND.run(redis, (keys.version, keys.terminals, keys.pins), (version, *changes))
    return answer[0], answer[1]


async def stored(redis: Redis, key: str) -> dict[bytes, bytes]:
    return await cast(Awaitable[dict[bytes, bytes]], redis.hgetall(key))


async def test_terminals_and_pins_change_together(redis: Redis, fleet_keys: FleetKeys) -> None:
    _, version = await amend(redis, fleet_keys, 0, 2, "t1", "{}", 2, "t2", "{}", 3, "1@X", "t2")
    said, later = await amend(redis, fleet_keys, version, 2, "t2", "", 3, "1@X", "", 3, "2@X", "t1")
    assert said == b"ok"
    assert later > version
    assert await stored(redis, fleet_keys.terminals) == {b"t1": b"{}"}
    assert await stored(redis, fleet_keys.pins) == {b"2@X": b"t1"}
    assert await redis.get(fleet_keys.version) == str(later).encode()


async def test_a_change_of_what_somebody_else_has_changed_is_refused(
    redis: Redis, fleet_keys: FleetKeys
) -> None:
    _, version = await amend(redis, fleet_keys, 0, 2, "t1", "{}")
    assert await amend(redis, fleet_keys, 0, 2, "t9", "{}") == (b"conflict", version)
    assert await stored(redis, fleet_keys.terminals) == {b"t1": b"{}"}


async def test_a_version_is_server_time_so_that_a_registry_made_anew_repeats_none(
    redis: Redis, fleet_keys: FleetKeys
) -> None:
    seconds, microseconds = await redis.time()  # pyright: ignore[reportUnknownMemberType]
    _, version = await amend(redis, fleet_keys, 0, 2, "t1", "{}")
    assert version >= seconds * 1000 + microseconds // 1000
    await redis.set(fleet_keys.version, version + 60_000)  # a server whose clock was set back
    assert (await amend(redis, fleet_keys, version + 60_000, 2, "t1", ""))[1] == version + 60_001
