"""`mt5relay dead`."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from mt5relay_shared.keys import Keys
from mt5relay_shared.messages import Request, decode_request, encode

ERROR = msgspec.json.encode({"code": "POISONED", "message": "crashed the worker 3 times"})
REQUEST = Request(
    id="01OLD", account="1@Contoso-Live", operation="positions", max_age_ms=7, reply_to="gone"
)


async def bury(redis: Redis, keys: Keys, request: bytes, error: bytes = ERROR) -> str:
    letter: dict[Any, Any] = {
        "entry": "1-1",
        "request": request,
        "error": error,
        "deliveries": "3",
    }
    entry_id = await redis.xadd(keys.dead, letter)
    assert isinstance(entry_id, bytes)
    return entry_id.decode()


async def test_letters_are_listed_newest_first(cli: Any, redis: Redis, keys: Keys) -> None:
    older = await bury(redis, keys, encode(REQUEST))
    newer = await bury(redis, keys, b"\xff{", b"no JSON")
    listed = (await cli("dead", "list", "--json")).json_lines()
    assert [one["entry_id"] for one in listed] == [newer, older]
    assert listed[0]["error"] == {"code": "", "message": "no JSON"}
    assert (listed[1]["error"]["code"], listed[1]["deliveries"]) == ("POISONED", 3)
    table = (await cli("dead", "list")).out
    assert older in table
    assert "POISONED" in table


async def test_no_letters_are_said_to_be_none(cli: Any) -> None:
    assert (await cli("dead", "list")).out == "no dead letters\n"


async def test_a_letter_is_shown_with_its_request_as_it_came(
    cli: Any, redis: Redis, keys: Keys
) -> None:
    entry_id = await bury(redis, keys, encode(REQUEST))
    shown = (await cli("dead", "show", entry_id)).json()
    assert shown["request"] == encode(REQUEST).decode()


async def test_replay_asks_again_under_a_new_id_and_drops_the_letter(
    cli: Any, worker: Any, redis: Redis, keys: Keys, wait_for: Any
) -> None:
    entry_id = await bury(redis, keys, encode(REQUEST))
    ended = await cli("dead", "replay", entry_id)
    assert ended.status == 0
    await wait_for(lambda: worker.asked)
    asked = worker.asked[0]
    assert ended.out == f"asked positions of 1@Contoso-Live again as {asked.id}\n"
    assert asked == msgspec.structs.replace(REQUEST, id=asked.id, reply_to=None)
    assert await redis.xlen(keys.dead) == 0
    await wait_for(lambda: asked.id != REQUEST.id)


@pytest.mark.parametrize(
    "request_body",
    [b"{", encode(msgspec.structs.replace(REQUEST, operation="sell"))],
    ids=["unreadable", "unknown operation"],
)
async def test_what_made_no_sense_is_not_asked_again_and_stays(
    cli: Any, worker: Any, redis: Redis, keys: Keys, request_body: bytes
) -> None:
    entry_id = await bury(redis, keys, request_body)
    ended = await cli("dead", "replay", entry_id)
    assert ended.status == 2
    assert await redis.xlen(keys.dead) == 1


async def test_a_refused_replay_leaves_the_letter(cli: Any, redis: Redis, keys: Keys) -> None:
    entry_id = await bury(redis, keys, encode(REQUEST))
    ended = await cli("dead", "replay", entry_id)
    assert ended.status == 1
    assert "NO_WORKER" in ended.err
    assert decode_request(encode(REQUEST)) == REQUEST
    assert await redis.xlen(keys.dead) == 1


async def test_drop_removes_one_letter(cli: Any, redis: Redis, keys: Keys) -> None:
    entry_id = await bury(redis, keys, encode(REQUEST))
    await bury(redis, keys, encode(REQUEST))
    assert (await cli("dead", "drop", entry_id)).status == 0
    assert await redis.xlen(keys.dead) == 1


@pytest.mark.parametrize("command", ["show", "drop", "replay"])
async def test_a_letter_that_is_not_there_is_named(cli: Any, command: str) -> None:
    ended = await cli("dead", command, "17-0")
    assert (ended.status, ended.err) == (
        1,
        "mt5relay: NOT_FOUND: no dead letter 17-0; see `mt5relay dead list`\n",
    )
    malformed = await cli("dead", command, "newest")
    assert malformed.status == 2
    assert "ENTRY_ID" in malformed.err
