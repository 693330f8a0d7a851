"""One account that no terminal, package or worker was prepared for costs the others nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.limits import HANG_LIMIT
from tests.system.conftest import System, WorkerProcess

from mt5relay_gateway import AccountClient, MT5Error

pytestmark = pytest.mark.integration

SETTINGS = {"MT5_CALL_LIMIT": "3", "MT5_CONNECTION_TIMEOUT": "1", "MT5_LOCKOUT_COOLDOWN": "300"}


@dataclass
class OddWorkerProcess(WorkerProcess):
    """A worker whose terminal process misbehaves for one account."""

    oddity: Path = Path()

    def start(self) -> OddWorkerProcess:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.system.odd_worker", str(self.oddity)],
                env={**os.environ, **self.environment},
                cwd=Path(__file__).parents[2],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        return self


async def start(system: System, call: str, how: str, **settings: str) -> OddWorkerProcess:
    """A worker to which the first account is odd."""
    oddity = system.directory / "oddity.json"
    oddity.write_text(json.dumps({"login": system.accounts[0].login, "call": call, "how": how}))
    environment = system.settings(**{**SETTINGS, **settings})
    log = system.directory / f"worker-{len(system.workers)}.log"
    worker = OddWorkerProcess(environment, log, oddity)
    system.workers.append(worker)
    worker.start()
    await system.until_health(state=b"CONNECTED")
    await system.enrol(system.accounts)
    return worker


async def error_of(client: AccountClient, operation: str, account: Any) -> MT5Error:
    with pytest.raises(MT5Error) as failed:
        await getattr(client, operation)(account)
    return failed.value


async def logins(system: System) -> int:
    return int((await system.health())[b"logins"])


async def test_a_text_that_was_cut_inside_an_emoji_is_repaired(system: System) -> None:
    await start(system, "positions_get", "cuts a text in an emoji")
    async with system.client(timeout=HANG_LIMIT) as client:
        (position,) = (await client.positions(system.accounts[0])).data
    assert position.comment == "tp \ufffd"


async def test_an_exception_that_nobody_foresaw_is_that_reads_error(system: System) -> None:
    await start(system, "positions_get", "raises")
    odd, healthy = system.accounts[:2]
    async with system.client(timeout=HANG_LIMIT) as client:
        error = await error_of(client, "positions", odd)
        assert (error.code, error.retryable) == ("INTERNAL", False)
        assert "positions" in error.message
        assert "ValueError" in error.message
        assert (await client.positions(healthy)).source == "terminal"
    assert (await system.health())[b"breaker"] == b"CLOSED"


@pytest.mark.parametrize("how", ["dies", "hangs"])
async def test_a_read_that_ends_the_terminal_process_is_buried_and_left_alone(
    system: System, how: str
) -> None:
    worker = await start(system, "positions_get", how)
    odd, healthy = system.accounts[:2]
    async with system.client(timeout=HANG_LIMIT) as client:
        assert (await client.positions(healthy)).source == "terminal"
        error = await error_of(client, "positions", odd)
        assert error.code == "POISONED"
        assert "positions" in error.message
        assert (await client.tick(odd, "EURUSD")).source == "terminal"  # another read
        started = len(worker.events("terminal.process.started"))
        again = await error_of(client, "positions", odd)
        assert (again.code, again.retry_after is not None) == ("POISONED", True)
        assert len(worker.events("terminal.process.started")) == started
        assert (await client.positions(healthy)).source == "terminal"
    assert await system.redis.xlen(system.keys.dead) == 1
    health = await system.health()
    assert (health[b"breaker"], health[b"state"]) == (b"CLOSED", b"CONNECTED")


async def test_a_login_that_ends_the_terminal_process_is_the_accounts_own_trouble(
    system: System,
) -> None:
    worker = await start(system, "login", "dies")
    odd, healthy = system.accounts[:2]
    async with system.client(timeout=HANG_LIMIT) as client:
        assert (await client.positions(healthy)).source == "terminal"
        assert (await error_of(client, "positions", odd)).code == "MT5_CONNECTION_LOST"
        started = len(worker.events("terminal.process.started"))
        assert (await error_of(client, "positions", odd)).retry_after is not None
        assert len(worker.events("terminal.process.started")) == started  # it cools down
        assert (await client.positions(healthy)).source == "terminal"
    assert (await system.health())[b"breaker"] == b"CLOSED"
