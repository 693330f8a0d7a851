"""How tests run the operator's command: in this process, or as one of its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mt5relay_gateway.cli.app import run

LIMIT = 60.0  # seconds


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        return msgspec.json.decode(self.out)

    def json_lines(self) -> list[Any]:
        return [msgspec.json.decode(line) for line in self.out.splitlines()]


def only_these(
    settings: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, directory: Path
) -> dict[str, str]:
    """Make these the settings of this process; returns the environment of one that has them too."""
    for name in [name for name in os.environ if name.startswith("MT5_")]:
        monkeypatch.delenv(name)
    for name, text in settings.items():
        monkeypatch.setenv(name, text)
    source_roots = os.environ.get("PYTHONPATH", "")
    absolute = os.pathsep.join(map(os.path.abspath, filter(None, source_roots.split(os.pathsep))))
    monkeypatch.setenv("PYTHONPATH", absolute)
    monkeypatch.chdir(directory)  # a developer's .env must not decide what a test finds
    return dict(os.environ)


async def run_here(capsys: pytest.CaptureFixture[str], *words: str) -> Ended:
    """Beside the test's own event loop."""
    capsys.readouterr()
    status = await asyncio.to_thread(run, words)
    printed = capsys.readouterr()
    return Ended(status, printed.out, printed.err)


async def run_apart(environment: Mapping[str, str], *words: str, text: str = "") -> Ended:
    """As a process of its own, with a text as standard input."""
    ended = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "mt5relay_gateway.cli", *words],
        env=environment,
        input=text,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@dataclass(frozen=True)
class AsUser:
    """Runs a command as one of the users of Redis; as a process where it is given a text."""

    url_of: Callable[[str], str]
    environment: Mapping[str, str]
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    async def __call__(self, user: str, *words: str, text: str | None = None, **more: str) -> Ended:
        settings = {"REDIS_URL": self.url_of(user), **more}
        if text is not None:
            return await run_apart({**self.environment, **settings}, *words, text=text)
        for name, value in settings.items():
            self.monkeypatch.setenv(name, value)
        return await run_here(self.capsys, *words)
