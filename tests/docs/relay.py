"""A relay for what the documentation shows: a server, a worker on the simulator, two accounts."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from tests.limits import HANG_LIMIT
from tests.servers import GATEWAY, OPERATOR, TESTER, WORKER, AclServer, as_user, running_server

from mt5relay_shared.keys import Keys

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "deploy" / "accounts.sample.json"
ACCOUNT, PASSWORD = "25115284@MetaQuotes-Demo", "invented-1"  # of BOOK
WRONG_ACCOUNT = "50100002@Contoso-Live"  # enrolled with a password that is not its own
START_LIMIT = HANG_LIMIT


@dataclass(frozen=True)
class Relay:
    """What runs. `settings` are those of a client, which is the user `gateway`."""

    server: AclServer
    key_id: str
    log: Path

    def settings(self, user: str = GATEWAY) -> dict[str, str]:
        """An environment for a process that comes as this user."""
        kept = {name: text for name, text in os.environ.items() if name[:4] != "MT5_"}
        path = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
        url = as_user(self.server.url, user)
        return {**kept, "PATH": path, "REDIS_URL": url, "MT5_SEALING_KEY_ID": self.key_id}


@contextlib.contextmanager
def running_relay(directory: Path) -> Generator[Relay]:
    """Start one on a port of its own; everything ends afterwards."""
    with running_server() as server:
        relay = Relay(server, made_key(directory), directory / "worker.log")
        settings = {
            "MT5_TERMINAL": "simulated",
            "MT5_SIMULATOR_BOOK": str(BOOK),
            "MT5_SIMULATOR_SPEED": "20",
            "MT5_HEARTBEAT_INTERVAL": "0.3",
            "MT5_LOG_FORMAT": "json",
        }
        with relay.log.open("wb") as log:
            worker = subprocess.Popen(
                [program("mt5relay-worker"), "run", "--stop-on-eof"],
                env=relay.settings(WORKER) | settings,
                cwd=directory,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        try:
            wait_for_worker(relay)
            enrol(relay, ACCOUNT, PASSWORD)
            enrol(relay, WRONG_ACCOUNT, "wrong-password")
            yield relay
        finally:
            worker.communicate(timeout=START_LIMIT)


def program(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def made_key(directory: Path) -> str:
    """As `mt5relay-worker keygen` makes it; returns its id."""
    made = subprocess.run(
        [program("mt5relay-worker"), "keygen", "--out", "mt5relay.key"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=True,
    )
    return next(word for word in made.stdout.split() if len(word) == 32)


def wait_for_worker(relay: Relay) -> None:
    limit = time.monotonic() + START_LIMIT
    client: Any = Redis
    with client.from_url(as_user(relay.server.url, TESTER), decode_responses=True) as redis:
        while redis.hget(Keys("main").health, "state") != "CONNECTED":
            if time.monotonic() > limit:
                pytest.fail(f"no worker: {relay.log.read_text()}")
            time.sleep(0.05)


def enrol(relay: Relay, account: str, password: str) -> None:
    ended = call(relay, "accounts", "add", account, text=password, user=OPERATOR)
    assert ended.returncode == 0, ended.stderr


def call(
    relay: Relay, *words: str, text: str = "", user: str = GATEWAY
) -> subprocess.CompletedProcess[str]:
    """Run `mt5relay` as an operator does."""
    return subprocess.run(
        [program("mt5relay"), *words],
        cwd=relay.log.parent,
        env=relay.settings(user),
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
