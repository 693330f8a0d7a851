"""The script that starts the worker where TERM does not reach it: in a container, under systemd."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from tests.deploy.conftest import DEPLOY, run_tool
from tests.limits import HANG_LIMIT
from tests.servers import WORKER, AclServer, as_user
from tests.system.conftest import prepared_system

from mt5relay_shared.keys import Keys
from mt5relay_shared.settings import EXIT_SETTINGS

SCRIPT = DEPLOY / "wine" / "run-worker.sh"
LIMIT = HANG_LIMIT

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.name != "posix", reason="a shell script"),
]


def environment_for(directory: Path, **settings: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if name[:4] != "MT5_"}
    run = str(directory / "run")
    return {**clean, "MT5RELAY_PYTHON": sys.executable, "MT5RELAY_RUN": run, **settings}


@pytest.mark.parametrize("script", sorted((DEPLOY / "wine").glob("*.sh")), ids=lambda one: one.name)
def test_the_shell_can_read_it(script: Path) -> None:
    ran = run_tool("bash", "-n", script)
    assert ran.returncode == 0, ran.stdout


@contextlib.asynccontextmanager
async def started(environment: dict[str, str]) -> AsyncGenerator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        SCRIPT, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_term_ends_the_worker_gracefully(
    server: AclServer, redis: Redis, keys: Keys, tmp_path: Path
) -> None:
    async with prepared_system(as_user(server.url, WORKER), keys, tmp_path) as system:
        environment = environment_for(tmp_path, **system.settings())
        async with started(environment) as process:
            await system.until_health(state=b"CONNECTED")
            assert run_tool(SCRIPT, "--is-alive", env=environment).returncode == 0
            process.send_signal(signal.SIGTERM)
            _, said = await asyncio.wait_for(process.communicate(), LIMIT)
        assert process.returncode == 0, said.decode()
        assert b"worker.stopped" in said
        assert not await redis.exists(keys.lease), "the lease was not given back"
        assert run_tool(SCRIPT, "--is-alive", env=environment).returncode != 0


async def test_the_death_of_a_worker_is_told(server: AclServer, keys: Keys, tmp_path: Path) -> None:
    async with prepared_system(as_user(server.url, WORKER), keys, tmp_path) as system:
        async with started(environment_for(tmp_path, **system.settings())) as process:
            await system.until_health(state=b"CONNECTED")
            os.kill(int((tmp_path / "run" / "pid").read_text()), signal.SIGKILL)
            await asyncio.wait_for(process.communicate(), LIMIT)
        assert process.returncode == 128 + signal.SIGKILL


def test_wrong_settings_are_told_by_their_status(tmp_path: Path) -> None:
    environment = environment_for(tmp_path, MT5_TERMINAL="nonsense")
    ran: Any = run_tool(SCRIPT, env=environment)
    assert ran.returncode == EXIT_SETTINGS, ran.stdout
    assert "MT5_TERMINAL" in ran.stdout
