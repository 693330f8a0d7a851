"""What a client does while one worker is followed by another."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from tests.limits import HANG_LIMIT

from mt5relay_gateway import AccountClient, NoWorkerError
from mt5relay_gateway.submitter import REPLACED_WITHIN, SEEN_TWICE_AFTER

if TYPE_CHECKING:
    from tests.gateway.conftest import EchoWorker

    from mt5relay_shared.keys import Keys

ACCOUNT = "25115284@MetaQuotes-Demo"
DEADLINE = 5 * HANG_LIMIT


async def back_after(worker: EchoWorker, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await worker.redis.set(worker.keys.lease, "echo:nonce:1", px=60_000)


@pytest.mark.parametrize("way", ["ask", "submit"])
async def test_a_worker_that_was_just_there_is_given_time_to_be_followed(
    worker: EchoWorker, client: AccountClient, way: str
) -> None:
    await client.positions(ACCOUNT)
    await worker.release()
    coming = asyncio.create_task(back_after(worker, REPLACED_WITHIN / 4))
    if way == "ask":
        assert (await client.positions(ACCOUNT)).data
    else:
        assert await client.submit("positions", ACCOUNT)
    await coming


async def test_one_that_stays_away_is_reported_long_before_the_deadline(
    worker: EchoWorker, client: AccountClient
) -> None:
    await client.positions(ACCOUNT)
    await worker.release()
    began = time.monotonic()
    with pytest.raises(NoWorkerError):
        await client.positions(ACCOUNT, timeout=DEADLINE)
    assert REPLACED_WITHIN / 4 < time.monotonic() - began < HANG_LIMIT
    began = time.monotonic()
    with pytest.raises(NoWorkerError):
        await client.positions(ACCOUNT, timeout=DEADLINE)
    assert time.monotonic() - began < HANG_LIMIT


async def test_who_asks_for_the_first_time_may_meet_a_hand_over_too(
    worker: EchoWorker, client: AccountClient
) -> None:
    await worker.release()
    coming = asyncio.create_task(back_after(worker, SEEN_TWICE_AFTER / 4))
    assert (await client.positions(ACCOUNT)).data
    await coming


async def test_a_caller_in_a_hurry_is_told_in_time(
    worker: EchoWorker, client: AccountClient, keys: Keys
) -> None:
    await client.positions(ACCOUNT)
    await worker.release()
    with pytest.raises(NoWorkerError):
        await client.positions(ACCOUNT, timeout=0.1)
    assert await worker.redis.xlen(keys.requests) == 0
