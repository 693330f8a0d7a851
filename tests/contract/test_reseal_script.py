"""A credential that was sealed anew takes its place only where nobody changed it meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from mt5relay_shared.keys import Keys
from mt5relay_shared.scripts import RESEAL

LEASE = "worker:nonce:1"
ACCOUNT = "25115284@MetaQuotes-Demo"


async def reseal(redis: Redis, keys: Keys, before: str, after: str, lease: str = LEASE) -> Any:
    return await RESEAL.run(redis, [keys.lease, keys.accounts], [lease, ACCOUNT, before, after])


async def stored(redis: Redis, keys: Keys) -> bytes | None:
    return await cast(Awaitable[bytes | None], redis.hget(keys.accounts, ACCOUNT))


async def put(redis: Redis, keys: Keys, envelope: str) -> None:
    await redis.set(keys.lease, LEASE)
    await redis.hset(keys.accounts, ACCOUNT, envelope)


async def test_it_takes_the_place_of_what_it_was_made_from(redis: Redis, keys: Keys) -> None:
    await put(redis, keys, "old")
    assert await reseal(redis, keys, "old", "new") == [b"ok", 1]
    assert await stored(redis, keys) == b"new"


async def test_it_may_be_sent_again(redis: Redis, keys: Keys) -> None:
    await put(redis, keys, "old")
    await reseal(redis, keys, "old", "new")
    assert await reseal(redis, keys, "old", "new") == [b"ok", 1]


async def test_what_an_operator_enrolled_meanwhile_stays(redis: Redis, keys: Keys) -> None:
    await put(redis, keys, "enrolled anew")
    assert await reseal(redis, keys, "old", "new") == [b"ok", 0]
    assert await stored(redis, keys) == b"enrolled anew"


async def test_what_an_operator_removed_meanwhile_stays_away(redis: Redis, keys: Keys) -> None:
    await redis.set(keys.lease, LEASE)
    assert await reseal(redis, keys, "old", "new") == [b"ok", 0]
    assert await stored(redis, keys) is None


@pytest.mark.parametrize("lease", ["another:nonce:2", ""])
async def test_only_the_holder_of_the_lease_does_it(redis: Redis, keys: Keys, lease: str) -> None:
    await put(redis, keys, "old")
    assert await reseal(redis, keys, "old", "new", lease) == [b"FENCED"]
    assert await stored(redis, keys) == b"old"
