"""A key of another type than the contract's stops nothing but what it stands for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.limits import HANG_LIMIT
from tests.system.conftest import System, until

from mt5relay_gateway import MT5Error
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.keys import Keys

pytestmark = pytest.mark.integration

Write = Callable[[Any, str], Awaitable[Any]]


async def as_a_list(redis: Any, key: str) -> None:
    await redis.rpush(key, "junk")


async def as_a_string(redis: Any, key: str) -> None:
    await redis.set(key, "junk")


KEYS_OF: dict[str, Callable[[Keys, AccountId], str]] = {
    "snapshot": lambda keys, account: keys.snapshot(account),
    "request": lambda keys, _: keys.request("asked"),
    "reply": lambda keys, _: keys.reply("asked"),
}


@pytest.mark.parametrize("kind", KEYS_OF)
@pytest.mark.parametrize("write", [as_a_list, as_a_string])
async def test_one_key_stops_no_other_account(system: System, kind: str, write: Write) -> None:
    worker = await system.start()
    odd, healthy = system.accounts[:2]
    key = KEYS_OF[kind](system.keys, odd)
    async with system.client(timeout=HANG_LIMIT) as client:
        await write(system.redis, key)
        if kind == "snapshot":
            assert (await client.positions(odd, request_id="asked")).account == odd
        else:
            with pytest.raises(MT5Error, match=r"use a new id|unreadable reply"):  # it is taken
                await client.positions(odd, request_id="asked")
        assert (await client.positions(healthy)).source == "terminal"
        assert (await client.account_info(odd)).source == "terminal"
        assert (await client.account_info(odd, max_age=60)).source == "snapshot"
    assert worker.process.poll() is None


@pytest.mark.parametrize("kind", KEYS_OF)
async def test_a_key_that_is_replaced_while_its_request_waits_stops_nobody(
    system: System, kind: str
) -> None:
    worker = await system.start()
    odd, healthy = system.accounts[:2]
    system.set_faults(scale=0.5)
    async with system.client(timeout=HANG_LIMIT) as client:
        request_id = await client.submit("positions", odd, request_id="asked")
        other_id = await client.submit("positions", healthy)
        key = KEYS_OF[kind](system.keys, odd)
        await system.redis.delete(key)
        await as_a_list(system.redis, key)
        system.set_faults()

        async def is_drained() -> bool:
            return not await system.redis.xlen(system.keys.requests)

        await until(is_drained, system.tail)
        for one, account in ((request_id, odd), (other_id, healthy)):
            answer = await client.fetch_reply(one)
            assert answer is not None
            assert answer.account == account
    assert worker.process.poll() is None
