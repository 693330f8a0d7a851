"""What a user sees of a request that was handed to somebody else under the worker's name.

So it goes when a worker that was replaced, and does not know it yet, is handed a new request and
dies of that knowledge: the entry is pending, and its successor looked for such entries before.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.limits import HANG_LIMIT
from tests.system.conftest import until

from mt5relay_shared.keys import WORKER_CONSUMER, WORKER_GROUP

pytestmark = pytest.mark.integration

if TYPE_CHECKING:
    from tests.system.conftest import System


async def snatch(system: System, request_id: str, *, timeout_ms: int = 30_000) -> bytes:
    """Add a request and take its entry from under the worker's blocking read, in one step."""
    body = {
        "id": request_id,
        "account": str(system.accounts[0]),
        "operation": "account_info",
        "timeout_ms": timeout_ms,
    }
    requests = system.keys.requests
    async with system.redis.pipeline(transaction=True) as step:
        step.xadd(requests, {"request": json.dumps(body)})
        step.xreadgroup(WORKER_GROUP, WORKER_CONSUMER, {requests: ">"})
        added, handed_out = await step.execute()
    assert [entry for entry, _ in handed_out[requests.encode()]] == [added]
    return bytes(added)


async def until_drained(system: System) -> None:
    async def is_drained() -> bool:
        pending: Any = await system.redis.xpending(system.keys.requests, WORKER_GROUP)
        return not pending["pending"] and not await system.redis.xlen(system.keys.requests)

    await until(is_drained, system.tail)


async def test_a_request_that_a_replaced_worker_took_is_answered_by_the_one_that_works(
    system: System,
) -> None:
    await system.start()
    assert system.logged("intake.recovered")
    async with system.client() as client:
        for request_id in ("first", "second"):
            await snatch(system, request_id)
            answer = await client.fetch_reply(request_id, wait=HANG_LIMIT)
            assert answer is not None, system.tail()
            assert (answer.source, answer.data.login) == ("terminal", system.accounts[0].login)
    await until_drained(system)


async def test_a_request_that_was_taken_and_then_deleted_leaves_nothing_behind(
    system: System,
) -> None:
    await system.start()
    entry = await snatch(system, "deleted")
    assert await system.redis.xdel(system.keys.requests, entry) == 1
    await until_drained(system)


async def test_what_the_worker_itself_took_is_not_taken_twice(system: System) -> None:
    """A visit that lasts longer than two looks for strays still answers each request once."""
    await system.start()
    stream = system.keys.replies("counter")
    await system.redis.xadd(stream, {"hello": "1"})
    system.set_faults(login_same_server={"median": 4, "p95": 4.001}, scale=1)
    async with system.client(timeout=HANG_LIMIT) as client:
        for request_id in ("one", "two"):
            body = {
                "id": request_id,
                "account": str(system.accounts[0]),
                "operation": "positions",
                "timeout_ms": 60_000,
                "reply_to": "counter",
            }
            await system.redis.xadd(system.keys.requests, {"request": json.dumps(body)})
        assert await client.fetch_reply("two", wait=HANG_LIMIT) is not None, system.tail()
    await until_drained(system)
    told = [name for _, fields in await system.redis.xrange(stream) for name in fields]
    assert sorted(told) == [b"hello", b"one", b"two"]
    await system.until_health(requests_total=b"2")
