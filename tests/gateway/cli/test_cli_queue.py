"""`mt5relay queue`."""

from __future__ import annotations

import time
from typing import Any

import pytest
from redis.asyncio import Redis

from mt5relay_shared.keys import Keys
from mt5relay_shared.messages import Request, encode


@pytest.fixture
async def line(redis: Any, keys: Keys) -> int:
    """Two accounts in the line, as a worker publishes it; returns the time of the first's turn."""
    now_ms = int(time.time() * 1000)
    await redis.hset(
        keys.queue,
        mapping={
            "2@Demo": f'{{"waiting":1,"since_ms":{now_ms - 1000},"by_ms":{now_ms + 90_000}}}',
            "1@Demo": f'{{"waiting":2,"since_ms":{now_ms - 3000},"by_ms":{now_ms + 30_000}}}',
        },
    )
    return now_ms + 30_000


async def ask(redis: Redis, keys: Keys, request_id: str, account: str, timeout_ms: int) -> None:
    request = Request(
        id=request_id,
        account=account,
        operation="positions",
        timeout_ms=timeout_ms,
        reply_to="gw-1",
    )
    await redis.xadd(keys.requests, {"request": encode(request)})


async def test_accounts_stand_in_the_order_of_their_turns(cli: Any, line: int) -> None:
    ended = await cli("queue", "--json")
    assert [one["account"] for one in ended.json_lines()] == ["1@Demo", "2@Demo"]
    assert ended.json_lines()[0]["waiting"] == 2
    assert ended.json_lines()[0]["by_ms"] == line


async def test_people_see_times_and_how_far_they_are_away(cli: Any, line: int) -> None:
    ended = await cli("queue")
    assert "(in 29." in ended.out or "(in 30." in ended.out
    assert "0 requests wait for 2 accounts" in ended.out


async def test_each_request_is_answered_by_its_turn_or_its_deadline(
    cli: Any, line: int, redis: Redis, keys: Keys
) -> None:
    await ask(redis, keys, "patient", "1@Demo", 60_000)
    await ask(redis, keys, "hurried", "1@Demo", 5_000)
    await ask(redis, keys, "unread", "3@Demo", 60_000)
    await redis.xadd(keys.requests, {"request": "{"})
    patient, hurried, unread = (await cli("queue", "--requests", "--json")).json_lines()
    assert (patient["request_id"], patient["gateway"]) == ("patient", "gw-1")
    assert patient["by_ms"] == line
    assert hurried["by_ms"] == hurried["deadline_ms"] == hurried["since_ms"] + 5_000
    assert unread["by_ms"] is None


async def test_what_is_not_shown_is_counted(cli: Any, line: int, redis: Redis, keys: Keys) -> None:
    for number in range(5):
        await ask(redis, keys, f"r{number}", "1@Demo", 60_000)
    ended = await cli("queue", "--requests", "--limit", "2")
    assert "5 requests wait for 2 accounts; 3 more are not shown, see --limit" in ended.out


async def test_an_empty_line_is_said_to_be_empty(cli: Any) -> None:
    assert (await cli("queue")).out == "0 requests wait for 0 accounts\n"


async def test_a_line_of_another_form_is_an_error(cli: Any, redis: Any, keys: Keys) -> None:
    await redis.hset(keys.queue, "1@Demo", "soon")
    ended = await cli("queue")
    assert (ended.status, "MT5_DATA_INVALID" in ended.err) == (1, True)


async def test_a_limit_below_one_is_refused(cli: Any) -> None:
    assert (await cli("queue", "--limit", "0")).err == "mt5relay: --limit: 0 is below 1\n"
