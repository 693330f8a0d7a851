"""How a Lua script reaches a server that may have forgotten it."""

from __future__ import annotations

import hashlib
from importlib import resources

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from mt5relay_shared import scripts
from mt5relay_shared.keys import Keys
from mt5relay_shared.scripts import ACQUIRE, Script

ALL = [found for found in vars(scripts).values() if isinstance(found, Script)]


async def acquire(redis: Redis, keys: Keys) -> list[object]:
    answer: list[object] = await ACQUIRE.run(
        redis,
        [keys.lease, keys.fence, keys.running],
        ["worker", "nonce", 5_000, keys.request(""), 5_000],
    )
    return answer


def test_every_file_is_a_script_and_every_script_a_file() -> None:
    folder = resources.files("mt5relay_shared") / "scripts"
    files = {entry.name.removesuffix(".lua") for entry in folder.iterdir()}
    assert {script.name for script in ALL} == files


@pytest.mark.parametrize("script", ALL, ids=lambda script: script.name)
def test_a_script_is_known_by_the_digest_of_its_source(script: Script) -> None:
    assert script.digest == hashlib.sha1(script.source.encode()).hexdigest()  # noqa: S324 - Redis's own
    assert "-- KEYS" in script.source
    assert "-- ARGV" in script.source
    assert "-- Answers" in script.source


@pytest.mark.parametrize("script", ALL, ids=lambda script: script.name)
async def test_the_server_gives_a_script_the_digest_we_call_it_by(
    redis: Redis, script: Script
) -> None:
    assert await redis.script_load(script.source) in (script.digest, script.digest.encode())


async def test_a_server_that_forgot_a_script_is_given_the_source_again(
    redis: Redis, keys: Keys
) -> None:
    await acquire(redis, keys)
    await redis.script_flush()
    assert (await acquire(redis, keys))[1] == b"acquired"


async def test_a_script_given_once_is_known_by_its_digest(redis: Redis, keys: Keys) -> None:
    await redis.script_flush()
    assert list(await redis.script_exists(ACQUIRE.digest)) == [False]
    await acquire(redis, keys)
    assert list(await redis.script_exists(ACQUIRE.digest)) == [True]


async def test_a_failure_inside_a_script_is_not_taken_for_a_forgotten_one(
    redis: Redis, keys: Keys
) -> None:
    await redis.hset(keys.lease, "not", "a string")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await acquire(redis, keys)
