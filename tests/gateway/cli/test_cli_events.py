"""`mt5relay events` and `mt5relay breaker`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis
from tests.limits import HANG_LIMIT

from mt5relay_gateway.cli.events import line
from mt5relay_shared.keys import Keys
from mt5relay_shared.operator import Event


async def test_the_last_events_are_shown_oldest_first(cli: Any, worker: Any) -> None:
    for number in range(5):
        await worker.record(at_ms=number, kind="worker", detail=f"number {number}")
    shown = (await cli("events", "--last", "2")).out.splitlines()
    assert [one.rpartition("  ")[2] for one in shown] == ["number 3", "number 4"]


async def test_json_leaves_out_what_does_not_apply(cli: Any, worker: Any) -> None:
    event = {"at_ms": 1, "kind": "state", "from": "CONNECTED", "to": "ERROR", "cause": "wedged"}
    await worker.record(**event)
    assert (await cli("events", "--json")).json_lines() == [event]


async def test_an_event_of_a_version_to_come_is_passed_over(
    cli: Any, worker: Any, redis: Redis, keys: Keys
) -> None:
    await redis.xadd(keys.events, {"event": b"\xff"})
    await redis.xadd(keys.events, {"something": b"else"})
    await worker.record(at_ms=1, kind="worker", detail="known")
    assert len((await cli("events")).out.splitlines()) == 1


def test_a_transition_is_one_line_with_its_cause() -> None:
    event = Event(1_750_000_000_000, "breaker", "CLOSED", "OPEN", cause="three failures")
    assert line(event) == ("2025-06-15T15:06:40.000Z  breaker  CLOSED -> OPEN  (three failures)")
    taken = Event(1_750_000_000_000, "lease", target="held")
    assert line(taken) == "2025-06-15T15:06:40.000Z  lease    held"


@pytest.mark.parametrize("command", ["reset", "probe"])
async def test_a_command_ends_when_the_worker_says_that_it_obeyed(
    cli: Any, worker: Any, command: str
) -> None:
    await worker.record(at_ms=1, kind="command", id="another", result="failed")
    ended = await cli("breaker", command)
    assert (ended.status, ended.out) == (0, f"breaker.{command}: the breaker is closed\n")
    assert [asked["command"] for asked in worker.asked] == [f"breaker.{command}"]


async def test_an_account_is_unlocked_by_its_name(cli: Any, worker: Any) -> None:
    ended = await cli("accounts", "unlock", "7@Demo")
    assert ended.status == 0
    assert ended.out.startswith("account.unlock: ")
    assert [(asked["command"], asked["account"]) for asked in worker.asked] == [
        ("account.unlock", "7@Demo")
    ]
    assert (await cli("accounts", "unlock", "Demo")).status == 2


async def test_a_command_that_failed_is_a_failure(cli: Any, worker: Any) -> None:
    worker.command_result = "failed"
    ended = await cli("breaker", "reset")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == "mt5relay: breaker.reset: the breaker is closed\n"


async def test_a_command_needs_a_worker_that_lives(cli: Any) -> None:
    ended = await cli("breaker", "probe")
    assert ended.status == 1
    assert "NO_WORKER" in ended.err


async def test_a_command_waits_no_longer_than_asked(cli: Any, redis: Redis, keys: Keys) -> None:
    await redis.set(keys.lease, "asleep")
    async with asyncio.timeout(HANG_LIMIT):
        ended = await cli("breaker", "reset", "--timeout", "0.2")
    assert ended.status == 1
    assert "did not say within 0.2 s" in ended.err
    assert (await cli("breaker", "reset", "--timeout", "0")).status == 2
