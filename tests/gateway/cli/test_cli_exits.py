"""What every command has in common: one line on standard error, and an exit status that tells."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from mt5relay_shared import __version__

NOWHERE = "redis://:hunter2@127.0.0.1:1/0"


@pytest.mark.parametrize(
    "command",
    [
        "ask positions 1@Contoso-Live",
        "health",
        "top --once",
        "events",
        "accounts list",
        "accounts remove 1@Contoso-Live",
        "breaker reset",
        "dead list",
    ],
)
async def test_a_redis_that_can_t_be_reached_is_status_69_for_every_command(
    cli: Any, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("REDIS_URL", NOWHERE)
    ended = await cli(*command.split())
    assert (ended.status, ended.out) == (69, "")
    assert ended.err.startswith("mt5relay: Redis did not answer: ")
    assert ended.err.count("\n") == 1
    assert "hunter2" not in ended.err


async def test_the_process_ends_with_the_same_status_and_no_traceback(program: Any) -> None:
    unreachable = await program("health", REDIS_URL=NOWHERE)
    assert unreachable.status == 69
    assert "Traceback" not in unreachable.err
    assert (await program("health")).status == 2
    assert (await program("heath")).err == (
        'mt5relay: Unknown command "heath". Did you mean "health"?'
        " Available commands: ask, health, top, queue, events, doctor, support-bundle, demo, ...\n"
    )


async def test_a_wrong_setting_is_named_with_its_remedy(
    cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MT5_QUEUE_LIMIT", "-1")
    monkeypatch.setenv("MT5_SEALING_KEY_ID", "short")
    ended = await cli("health")
    assert ended.status == 2
    assert "setting MT5_QUEUE_LIMIT: " in ended.err
    assert "0 for no limit" in ended.err
    assert "setting MT5_SEALING_KEY_ID: " in ended.err


async def test_a_url_that_can_t_be_read_is_refused_without_its_password(
    cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:hunter2@localhost:port/0")
    for command in ("health", "ask positions 1@Contoso-Live"):
        ended = await cli(*command.split())
        assert ended.status == 2
        assert "percent-encoded" in ended.err
        assert "hunter2" not in ended.err


async def test_help_and_version_are_no_failures(cli: Any) -> None:
    assert (await cli("--version")).out == f"{__version__}\n"
    for words in ((), ("--help",), ("accounts",), ("ask", "--help")):
        ended = await cli(*words)
        assert ended.status == 0
        assert "Usage: mt5relay" in ended.out


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break otherwise there")
async def test_a_reader_who_leaves_early_is_no_reason_for_a_traceback(
    environment: dict[str, str], worker: Any
) -> None:
    for number in range(2_000):
        await worker.record(at_ms=number, kind="worker", detail="x" * 100)
    process = await asyncio.to_thread(
        subprocess.Popen,
        [sys.executable, "-m", "mt5relay_gateway.cli", "events", "--last", "2000"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    await asyncio.to_thread(process.stdout.read, 1)
    process.stdout.close()
    assert await asyncio.to_thread(process.stderr.read) == b""
    process.stderr.close()
    assert await asyncio.to_thread(process.wait, 20) == 1
