"""A system on the shared server, and commands, for tests of what is said when things fail."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.commands import AsUser, only_these
from tests.leaks.witness import WITNESS
from tests.servers import AclServer, as_user
from tests.system.conftest import System, prepared_system

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
    """Run `mt5relay` as a user; returns its status and what it printed."""
    settings = {"MT5_TERMINAL_ID": keys.terminal, "MT5_LOG_LEVEL": "debug"}
    environment = only_these(settings, monkeypatch, tmp_path)
    as_a_user = AsUser(partial(as_user, server.url), environment, monkeypatch, capsys)

    async def run_as(
        user: str, *words: str, text: str | None = None, **more: str
    ) -> tuple[int, str]:
        ended = await as_a_user(user, *words, text=text, **more)
        WITNESS.hear(f"output of mt5relay {words[0]}", ended.out + ended.err)
        return ended.status, ended.out + ended.err

    return run_as
