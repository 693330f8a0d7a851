"""A system on the shared server, and commands, for tests of what is said when things fail."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.leaks.witness import WITNESS
from tests.servers import AclServer, as_user
from tests.system.conftest import System, prepared_system

from mt5relay_gateway.cli.app import run
from mt5relay_shared.keys import Keys

Command = Callable[..., Any]


@pytest.fixture
async def system(server: AclServer, keys: Keys, tmp_path: Path) -> AsyncIterator[System]:
    async with prepared_system(server.url, keys, tmp_path) as prepared:
        yield prepared


@pytest.fixture
def command(
    server: AclServer,
    keys: Keys,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """Run `mt5relay` as a user, in this process; returns its status and what it printed."""
    for name in [name for name in os.environ if name.startswith("MT5_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MT5_TERMINAL_ID", keys.terminal)
    monkeypatch.setenv("MT5_LOG_LEVEL", "debug")
    monkeypatch.chdir(tmp_path)

    async def run_as(user: str, *words: str, text: str = "", **more: str) -> tuple[int, str]:
        for name, value in {"REDIS_URL": as_user(server.url, user), **more}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        capsys.readouterr()
        status = await asyncio.to_thread(run, words)
        printed = capsys.readouterr()
        WITNESS.hear(f"output of mt5relay {words[0]}", printed.out + printed.err)
        return status, printed.out + printed.err

    return run_as
