"""What a client does when the time of its caller is over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from tests.patient_loop import let_time_pass, patient_backend

from mt5relay_gateway import AccountClient, DeadlineExceededError

if TYPE_CHECKING:
    from tests.gateway.conftest import EchoWorker

ACCOUNT = "25115284@MetaQuotes-Demo"
Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]
Arrived = Callable[[], Awaitable[None]]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return patient_backend()


@pytest.fixture
def arrived(worker: EchoWorker, eventually: Eventually) -> Arrived:
    """Wait until the worker has the request."""

    async def has_arrived() -> bool:
        return bool(worker.requests)

    return lambda: eventually(has_arrived)


async def test_an_unanswered_request_ends_at_its_deadline(
    client: AccountClient, worker: EchoWorker, arrived: Arrived
) -> None:
    worker.stay_silent()
    asking = asyncio.create_task(client.positions(ACCOUNT, timeout=2.5))
    await arrived()
    assert not asking.done()
    let_time_pass(2.5)
    with pytest.raises(DeadlineExceededError, match=r"no answer within 2\.5 s"):
        await asking


async def test_a_stored_reply_is_found_at_the_deadline_although_nobody_told(
    client: AccountClient, worker: EchoWorker, arrived: Arrived
) -> None:
    worker.stay_silent()
    asking = asyncio.create_task(client.positions(ACCOUNT, timeout=2.5))
    await arrived()
    await worker.store_reply(worker.ok(worker.requests[0]))
    let_time_pass(2.5)
    assert (await asking).data[0].ticket == 25115284


async def test_an_expired_wait_gets_an_old_snapshot_where_the_caller_allows(
    client: AccountClient, worker: EchoWorker, arrived: Arrived
) -> None:
    await worker.store_snapshot(ACCOUNT, age=100)
    worker.stay_silent()
    asking = asyncio.create_task(client.positions(ACCOUNT, stale_if_error=3600, timeout=2.5))
    await arrived()
    let_time_pass(2.5)
    answer = await asking
    assert (answer.stale, answer.reason) == (True, "DEADLINE_EXCEEDED")
