"""Whatever else is added to the stream, good requests are answered and bad ones are put aside."""

from __future__ import annotations

import json
import os
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from bench.meters import resident_mib
from tests.fuzz.mutating import hostile_json
from tests.fuzz.wire_targets import REQUESTS
from tests.system.conftest import until

from mt5relay_shared.keys import WORKER_GROUP
from mt5relay_shared.messages import MalformedRequestError, decode_reply, decode_request

pytestmark = pytest.mark.integration

if TYPE_CHECKING:
    from tests.system.conftest import System

GARBAGE = int(os.environ.get("MT5RELAY_GARBAGE", "400"))
GOOD_EVERY = 10
MEGABYTE = 1024 * 1024
LARGE = (b"x" * MEGABYTE, b"[" * MEGABYTE, b'{"id":"large","account":"%s"}' % (b"1" * MEGABYTE))
MAY_GROW_MIB = 64  # resident; a read takes in 512 entries, and some have a megabyte


async def fill(system: System, random: Random) -> tuple[list[str], list[bytes]]:
    """Garbage, with a good request now and then; returns the good ids and what can't be read."""
    good: list[str] = []
    unreadable: list[bytes] = []
    for number in range(GARBAGE):
        body = hostile_json(random, REQUESTS) if number % 50 else LARGE[number // 50 % len(LARGE)]
        await system.redis.xadd(system.keys.requests, {"request": body})
        if nobody_to_tell(body):
            unreadable.append(body)
        if number % GOOD_EVERY == 0:
            good.append(f"good-{number}")
            account = str(random.choice(system.accounts))
            fields = {"id": good[-1], "account": account, "operation": "positions"}
            request = json.dumps({**fields, "timeout_ms": 60_000})
            await system.redis.xadd(system.keys.requests, {"request": request})
    await system.redis.xadd(system.keys.requests, {"something": "else"})
    return good, [*unreadable, b""]


def nobody_to_tell(body: bytes) -> bool:
    try:
        decode_request(body)
    except MalformedRequestError as error:
        return error.addressee is None
    return False


async def until_drained(system: System) -> None:
    async def is_drained() -> bool:
        pending: Any = await system.redis.xpending(system.keys.requests, WORKER_GROUP)
        return not pending["pending"] and not await system.redis.xlen(system.keys.requests)

    await until(is_drained, system.tail, limit=90.0)


@pytest.mark.parametrize("seed", [1])
async def test_garbage_between_requests_stops_none_of_them(system: System, seed: int) -> None:
    worker = await system.start()
    await fill(system, Random(0))
    await until_drained(system)  # what is allocated once is allocated now
    await system.redis.delete(system.keys.dead)
    before = resident_mib(worker.process.pid)

    good, unreadable = await fill(system, Random(seed))
    await until_drained(system)

    for request_id in good:
        reply = decode_reply(await system.redis.get(system.keys.reply(request_id)))
        assert type(reply).__name__ == "OkReply", reply
    letters = [fields for _, fields in await system.redis.xrange(system.keys.dead)]
    assert [one[b"request"] for one in letters] == [body[:65_536] for body in unreadable]
    for letter in letters:
        cause = json.loads(letter[b"error"])
        assert cause["code"] == "VALIDATION_FAILED"
        assert 0 < len(cause["message"]) <= 1_000
    assert worker.process.poll() is None
    assert [line["event"] for line in worker.events("worker.crashed")] == []
    assert resident_mib(worker.process.pid) < before + MAY_GROW_MIB
