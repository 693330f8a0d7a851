"""What a gateway's Redis user may write ends no worker, however odd it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.system.conftest import until

from mt5relay_shared.keys import WORKER_GROUP
from mt5relay_shared.messages import OkReply, decode_reply

pytestmark = pytest.mark.integration

if TYPE_CHECKING:
    from tests.system.conftest import System


def request(system: System, name: str) -> dict[str, str]:
    body = {"id": name, "account": str(system.accounts[0]), "operation": "orders"}
    return {"request": json.dumps(body)}


async def until_answered(system: System, *names: str) -> None:
    async def is_drained() -> bool:
        pending: Any = await system.redis.xpending(system.keys.requests, WORKER_GROUP)
        return not pending["pending"] and not await system.redis.xlen(system.keys.requests)

    await until(is_drained, system.tail)
    for name in names:
        reply = decode_reply(await system.redis.get(system.keys.reply(name)))
        assert isinstance(reply, OkReply), reply


@pytest.mark.parametrize("entry", ["99999999999999-1", "18446744073709551000-1"])
async def test_an_entry_of_a_time_to_come_is_answered_and_so_is_what_follows(
    system: System, entry: str
) -> None:
    """Whoever may add entries may choose their ids; later ones are as far ahead."""
    worker = await system.start()
    await system.redis.xadd(system.keys.requests, request(system, "ahead"), id=entry)
    await system.redis.xadd(system.keys.requests, request(system, "next"))
    await until_answered(system, "ahead", "next")
    assert worker.process.poll() is None


@pytest.mark.parametrize("name", ["lease", "fence", "events", "requests"])
async def test_a_marker_that_names_another_key_is_told_nothing(system: System, name: str) -> None:
    worker = await system.start()
    key = str(getattr(system.keys, name))
    before = await system.redis.xlen(key) if name in ("events", "requests") else None
    await system.redis.hset(system.keys.request("odd"), f"to:{key}", "1")
    await system.redis.xadd(system.keys.requests, request(system, "odd"))
    await system.redis.xadd(system.keys.requests, request(system, "next"))
    await until_answered(system, "odd", "next")
    assert worker.process.poll() is None
    if before is not None:
        assert await system.redis.xlen(key) == before


async def test_a_reply_stream_that_is_no_stream_holds_up_nobody(system: System) -> None:
    worker = await system.start()
    await system.redis.set(system.keys.replies("odd"), "no stream")
    odd = {"reply_to": "odd", **json.loads(request(system, "odd")["request"])}
    await system.redis.xadd(system.keys.requests, {"request": json.dumps(odd)})
    await system.redis.xadd(system.keys.requests, request(system, "next"))
    await until_answered(system, "odd", "next")
    assert worker.process.poll() is None


@pytest.mark.parametrize("count", ["many", "9223372036854775807"])
async def test_a_count_of_crashes_that_is_none_keeps_no_worker_from_starting(
    system: System, count: str
) -> None:
    await system.redis.set(system.keys.running, "odd other")
    await system.redis.hset(system.keys.request("odd"), "crashes", count)
    worker = await system.start()
    assert await system.redis.hget(system.keys.request("other"), "crashes") == b"1"
    await system.redis.xadd(system.keys.requests, request(system, "next"))
    await until_answered(system, "next")
    assert worker.process.poll() is None
