"""A key of another type than the contract's stops nothing but what it stands for."""

from __future__ import annotations

from typing import Any

import pytest
from tests.limits import HANG_LIMIT
from tests.system.conftest import System, until

from mt5relay_gateway import MT5Error

pytestmark = pytest.mark.integration


async def as_a_list(redis: Any, key: str) -> None:
    await redis.rpush(key, "junk")


async def as_a_string(redis: Any, key: str) -> None:
    await redis.set(key, "junk")


async def test_one_key_stops_no_other_account(system: System) -> None:
    worker = await system.start()
    odd, healthy = system.accounts[:2]
    async with system.client(timeout=HANG_LIMIT) as client:
        for write in (as_a_list, as_a_string):
            await write(system.redis, system.keys.snapshot(odd))
            assert (await client.positions(odd)).account == odd
            assert (await client.account_info(odd, max_age=60)).source == "snapshot"
            for key_of in (system.keys.request, system.keys.reply):
                request_id = f"{write.__name__}-{len(key_of(''))}"
                await write(system.redis, key_of(request_id))
                with pytest.raises(MT5Error, match=r"use a new id|unreadable reply"):
                    await client.positions(odd, request_id=request_id)
            await system.redis.delete(system.keys.snapshot(odd))
            assert (await client.positions(healthy)).source == "terminal"
            assert (await client.account_info(odd)).source == "terminal"
    assert worker.process.poll() is None


async def test_a_key_that_is_replaced_while_its_request_waits_stops_no_other(
    system: System,
) -> None:
    worker = await system.start()
    odd, healthy = system.accounts[:2]
    system.set_faults(scale=0.5)
    async with system.client(timeout=HANG_LIMIT) as client:
        ids = [await client.submit("positions", odd, request_id=f"odd-{n}") for n in range(3)]
        other_id = await client.submit("positions", healthy)
        replaced = (
            system.keys.snapshot(odd),
            system.keys.request(ids[0]),
            system.keys.reply(ids[1]),
        )
        for key in replaced:
            await system.redis.delete(key)
            await as_a_list(system.redis, key)
        system.set_faults()

        async def is_drained() -> bool:
            return not await system.redis.xlen(system.keys.requests)

        await until(is_drained, system.tail)
        for one, account in (*((one, odd) for one in ids), (other_id, healthy)):
            answer = await client.fetch_reply(one)
            assert answer is not None
            assert answer.account == account
    assert worker.process.poll() is None
