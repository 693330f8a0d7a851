"""What a client does while one worker is followed by another."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.patient_loop import let_time_pass, patient_backend

from mt5relay_gateway import AccountClient, NoWorkerError
from mt5relay_gateway.submitter import REPLACED_WITHIN, SEEN_TWICE_AFTER

if TYPE_CHECKING:
    from tests.gateway.conftest import EchoWorker

    from mt5relay_shared.keys import Keys

ACCOUNT = "25115284@MetaQuotes-Demo"
FAR = 300.0  # seconds by the clock of the patient loop: no test takes as long
REFUSED = 0.01  # seconds within which a request has been refused once for want of a worker


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return patient_backend()


async def come_back(worker: EchoWorker) -> None:
    await asyncio.sleep(REFUSED)
    await worker.redis.set(worker.keys.lease, "echo:nonce:1", px=600_000)


@pytest.mark.parametrize("way", ["ask", "submit"])
async def test_a_worker_that_was_just_there_is_given_time_to_be_followed(
    worker: EchoWorker, client: AccountClient, way: str
) -> None:
    await client.positions(ACCOUNT, timeout=FAR)
    await worker.release()
    let_time_pass(REPLACED_WITHIN / 2)
    coming = asyncio.create_task(come_back(worker))
    if way == "ask":
        assert (await client.positions(ACCOUNT, timeout=FAR)).data
    else:
        assert await client.submit("positions", ACCOUNT, timeout=FAR)
    await coming


async def test_one_that_stays_away_is_reported_long_before_the_deadline(
    worker: EchoWorker, client: AccountClient
) -> None:
    loop = asyncio.get_running_loop()
    await client.positions(ACCOUNT, timeout=FAR)
    await worker.release()
    began = loop.time()
    asking = asyncio.create_task(client.positions(ACCOUNT, timeout=FAR))
    await asyncio.sleep(REFUSED)
    let_time_pass(REPLACED_WITHIN / 2)
    await asyncio.sleep(REFUSED)
    assert not asking.done()
    let_time_pass(REPLACED_WITHIN / 2)
    with pytest.raises(NoWorkerError):
        await asking
    asking = asyncio.create_task(client.positions(ACCOUNT, timeout=FAR))
    await asyncio.sleep(REFUSED)
    let_time_pass(SEEN_TWICE_AFTER)
    with pytest.raises(NoWorkerError):
        await asking
    assert loop.time() - began < FAR / 10


async def test_who_asks_for_the_first_time_may_meet_a_hand_over_too(
    worker: EchoWorker, client: AccountClient
) -> None:
    await worker.release()
    assert SEEN_TWICE_AFTER > REFUSED
    coming = asyncio.create_task(come_back(worker))
    assert (await client.positions(ACCOUNT, timeout=FAR)).data
    await coming


async def test_a_caller_in_a_hurry_is_told_in_time(
    worker: EchoWorker, client: AccountClient, keys: Keys
) -> None:
    await client.positions(ACCOUNT, timeout=FAR)
    await worker.release()
    with pytest.raises(NoWorkerError):
        await client.positions(ACCOUNT, timeout=0.1)
    assert await worker.redis.xlen(keys.requests) == 0
