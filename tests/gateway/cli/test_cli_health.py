"""`mt5relay health` and `mt5relay top`."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from typing import Any

import pytest
from redis.asyncio import Redis
from tests.limits import HANG_LIMIT

from mt5relay_gateway.cli.health import EXIT_STATUS
from mt5relay_gateway.cli.top import Sight, requests_per_second
from mt5relay_shared.health import Health, Status
from mt5relay_shared.keys import Keys


@pytest.mark.parametrize("status", Status)
async def test_the_exit_status_tells_a_monitor_how_the_worker_is(
    cli: Any, worker: Any, status: Status
) -> None:
    await worker.publish(status=status, last_error_text="\x1b[2J")
    ended = await cli("health")
    assert ended.status == EXIT_STATUS[status]
    assert status in ended.out
    assert "\x1b" not in ended.out


async def test_json_holds_every_field(cli: Any, worker: Any) -> None:
    ended = await cli("health", "--json")
    assert list(ended.json()) == list(Health.__struct_fields__)


async def test_no_worker_means_down(cli: Any, keys: Keys) -> None:
    ended = await cli("health")
    assert (ended.status, ended.out) == (
        2,
        f"down: no worker lives for terminal {keys.terminal}\n",
    )
    assert (await cli("health", "--json")).json()["status"] == "down"


async def test_a_hash_that_is_no_health_is_an_error(cli: Any, redis: Redis, keys: Keys) -> None:
    await redis.hset(keys.health, "status", "splendid")
    ended = await cli("health")
    assert ended.status == 1
    assert "MT5_DATA_INVALID" in ended.err


async def test_top_shows_health_and_queue(cli: Any, worker: Any, redis: Redis) -> None:
    await worker.publish(last_error_code="MT5_TIMEOUT", logins_saved=41)
    ended = await cli("top", "--once")
    assert ended.status == 0
    assert "41" in ended.out
    assert "last error: MT5_TIMEOUT" in ended.out


async def test_top_without_a_worker_says_so(cli: Any) -> None:
    assert "no worker lives" in (await cli("top", "--once")).out


async def test_top_looks_not_oftener_than_ten_times_a_second(cli: Any) -> None:
    ended = await cli("top", "--interval", "0.01")
    assert (ended.status, ended.err) == (2, "mt5relay: --interval: 0.01 s is below 0.1 s\n")


def test_the_rate_counts_what_was_answered_between_two_looks(worker_health: Any) -> None:
    before = Sight(1_000, worker_health(requests_total=10), 0, 0)
    now = Sight(3_000, worker_health(requests_total=30), 0, 0)
    assert requests_per_second(now, before) == 10.0
    assert requests_per_second(before, now) is None  # a restart counts from zero again
    assert requests_per_second(now, None) is None
    assert requests_per_second(now, Sight(1_000, None, 0, 0)) is None


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process on Windows")
@pytest.mark.parametrize("command", ["top", "events --follow"])
async def test_ctrl_c_ends_a_watching_command_quietly(
    environment: dict[str, str], worker: Any, command: str
) -> None:
    await worker.record(at_ms=1, kind="worker", detail="seen")
    process = await asyncio.to_thread(
        subprocess.Popen,
        [sys.executable, "-m", "mt5relay_gateway.cli", *command.split()],
        env={**environment, "FORCE_COLOR": "1", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    await asyncio.to_thread(process.stdout.read, 1)  # it is watching
    process.send_signal(signal.SIGINT)
    _, complaint = await asyncio.to_thread(process.communicate, timeout=HANG_LIMIT)
    assert (process.returncode, complaint) == (130, b"")
