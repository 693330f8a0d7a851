"""What a user sees when processes die, freeze, or stop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from tests.limits import HANG_LIMIT
from tests.system.conftest import BRIEF_LEASE, until

from mt5relay_shared.errors import (
    MT5CircuitBreakerOpen,
    MT5Error,
)
from mt5relay_shared.keys import Keys

if TYPE_CHECKING:
    from tests.system.conftest import System

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals"),
]


async def test_requests_that_wait_when_the_worker_is_killed_are_all_answered_once(
    system: System,
) -> None:
    worker = await system.start(**BRIEF_LEASE)
    system.set_faults(scale=0.02)
    stream = system.keys.replies("counter")
    await system.redis.xadd(stream, {"hello": "1"})
    ids = [f"survivor-{number}" for number in range(200)]
    async with system.redis.pipeline(transaction=False) as pipeline:
        for number, request_id in enumerate(ids):
            body = {
                "id": request_id,
                "account": str(system.accounts[number % len(system.accounts)]),
                "operation": "tick" if number % 2 else "positions",
                "arguments": {"symbol": "EURUSD"} if number % 2 else {},
                "timeout_ms": 60_000,
                "reply_to": "counter",
            }
            pipeline.xadd(system.keys.requests, {"request": json.dumps(body)})
        await pipeline.execute()
    worker.process.kill()
    worker.wait()
    system.start_worker()
    async with system.client() as client:
        answers = await asyncio.gather(*(client.fetch_reply(name, wait=HANG_LIMIT) for name in ids))
    assert all(answer is not None for answer in answers)
    pushed = [
        field.decode()
        for _, fields in await system.redis.xrange(stream)
        for field in fields
        if field != b"hello"
    ]
    assert sorted(pushed) == sorted(ids)
    assert await system.redis.xlen(system.keys.requests) == 0
    pending = await system.redis.xpending(system.keys.requests, "worker")
    assert pending["pending"] == 0


async def test_a_killed_terminal_process_is_replaced_and_the_request_still_answered(
    system: System,
) -> None:
    worker = await system.start()
    system.set_faults(scale=1.0)  # a login takes long enough to be interrupted
    async with system.client(timeout=HANG_LIMIT) as client:
        asked = asyncio.create_task(client.account_info(system.accounts[0]))
        await system.until_health(detail=b"switching")
        os.kill(worker.terminal_pid(), signal.SIGKILL)
        system.set_faults()
        assert (await asked).data.login == system.accounts[0].login
        assert (await client.positions(system.accounts[1])).source == "terminal"


async def test_a_call_that_never_returns_is_ended_by_killing_its_process(system: System) -> None:
    await system.start(MT5_CALL_LIMIT="2", MT5_CONNECTION_TIMEOUT="1")
    system.set_faults(calls_that_hang=["login"])
    async with system.client(timeout=HANG_LIMIT) as client:
        asked = asyncio.create_task(client.account_info(system.accounts[0]))
        await system.until_health(state=b"RECONNECTING")
        system.set_faults()
        assert (await asked).data.login == system.accounts[0].login


async def test_a_broker_outage_opens_the_breaker_and_it_comes_back_by_itself(
    system: System,
) -> None:
    await system.start(MT5_BREAKER_PAUSE="6", MT5_BREAKER_LONGEST_PAUSE="6")
    account, never_read = system.accounts[0], system.accounts[1]
    async with system.client(timeout=HANG_LIMIT) as client:
        fresh = await client.account_info(account)
        system.set_faults(broker_link_lost=True)
        with pytest.raises(MT5Error) as lost:
            await client.account_info(never_read)
        assert lost.value.code == "BROKER_UNAVAILABLE"
        down = await system.until_health(state=b"ERROR", breaker=b"OPEN", status=b"down")
        assert down[b"retries"] == b"4"  # three, and one login of the account that had worked
        with pytest.raises(MT5CircuitBreakerOpen) as refused:
            await client.account_info(never_read)
        assert 0 < (refused.value.retry_after or 0) <= 6
        stale = await client.account_info(account, stale_if_error=60)
        assert (stale.stale, stale.source, stale.reason) == (True, "snapshot", "CIRCUIT_OPEN")
        assert stale.data.balance == fresh.data.balance
        system.set_faults()
        await system.until_health(state=b"CONNECTED", breaker=b"CLOSED", status=b"ok")
        assert (await client.account_info(never_read)).source == "terminal"
    states = [event["to"] for event in await system.events() if event["kind"] == "state"]
    breaker = [event["to"] for event in await system.events() if event["kind"] == "breaker"]
    assert states[:3] == ["CONNECTED", "RECONNECTING", "ERROR"]
    assert states[-1] == "CONNECTED"
    assert breaker[0] == "OPEN"
    assert breaker[-2:] == ["HALF_OPEN", "CLOSED"]


async def test_a_worker_that_is_asked_to_stop_leaves_the_rest_to_the_next(system: System) -> None:
    worker = await system.start()
    system.set_faults(scale=0.05)
    async with system.client(timeout=HANG_LIMIT) as client:
        asked = [asyncio.create_task(client.positions(account)) for account in system.accounts]
        await system.until_health(detail=b"switching")
        worker.process.send_signal(signal.SIGTERM)
        assert worker.wait() == 0
        assert await system.redis.exists(system.keys.lease, system.keys.health) == 0
        system.start_worker()
        answers = await asyncio.gather(*asked)
    assert [answer.account for answer in answers] == system.accounts


async def test_a_worker_stops_when_its_standard_input_ends(system: System) -> None:
    worker = await system.start()
    worker.close_input()
    assert worker.wait() == 0


async def test_a_frozen_worker_that_wakes_after_take_over_changes_nothing_and_exits(
    system: System,
) -> None:
    frozen = await system.start(**BRIEF_LEASE)
    second = system.start_worker()
    frozen.process.send_signal(signal.SIGSTOP)
    await system.until_health(fence=b"2", state=b"CONNECTED")
    async with system.client() as client:
        assert (await client.account_info(system.accounts[0])).source == "terminal"
        frozen.process.send_signal(signal.SIGCONT)
        assert frozen.wait() == 75
        assert (await client.account_info(system.accounts[1])).source == "terminal"
    health = await system.health()
    assert health[b"fence"] == b"2"
    assert second.process.poll() is None


async def test_no_process_outlives_a_killed_worker(system: System) -> None:
    worker = await system.start()
    terminal = worker.terminal_pid()
    worker.process.kill()
    worker.wait()

    async def has_ended() -> bool:
        return not _runs(terminal)

    await until(has_ended, lambda: "the terminal process is still there")


async def test_a_worker_with_another_id_for_the_same_terminal_is_refused_by_the_host(
    system: System, keys: Keys
) -> None:
    path = str(system.directory / "terminal64.exe")
    await system.start(MT5_TERMINAL_PATH=path)
    other = Keys(f"{keys.terminal}-other")
    system.start_worker(MT5_TERMINAL_PATH=path, MT5_TERMINAL_ID=other.terminal)
    health: dict[bytes, bytes] = {}

    async def has_failed() -> bool:
        nonlocal health
        health = await system.redis.hgetall(other.health)
        return health.get(b"state") == b"ERROR"

    await until(has_failed, system.tail)
    assert b"one worker per terminal" in health[b"last_error_text"]
    async with system.client() as client:
        assert (await client.account_info(system.accounts[0])).source == "terminal"


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
