"""The whole system in real processes: a server, workers with their terminal processes, clients."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.leaks.planted import planted, planted_private_key
from tests.limits import HANG_LIMIT
from tests.servers import GATEWAY, TESTER, WORKER, AclServer, as_user, running_server, without_user

from mt5relay_gateway import AccountClient
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.envelopes import decode_sealing_key
from mt5relay_shared.keys import Keys
from mt5relay_shared.redis_client import connect
from mt5relay_shared.sealing import seal
from mt5relay_shared.secret import Secret
from mt5relay_worker.key_file import write_private_key

START_LIMIT = HANG_LIMIT  # until a started process must be useful

BRIEF_LEASE = {"MT5_LEASE_TTL": "4"}
"""For tests that wait until a lease has run out."""
FAST = {
    "MT5_CONNECTION_RETRY_DELAY": "0.1",
    "MT5_HEARTBEAT_INTERVAL": "0.2",
    "MT5_LEASE_TTL": "20",
    "MT5_BREAKER_PAUSE": "1",
    "MT5_BREAKER_LONGEST_PAUSE": "4",
    "MT5_HEALTH_CHECK_INTERVAL": "1",
    "MT5_SYNC_TIMEOUT": "1",
    "MT5_LOG_FORMAT": "json",
    "MT5_LOG_LEVEL": "debug",
}


def password_of(account: AccountId) -> str:
    return planted(f"{account.login}")


@dataclass
class WorkerProcess:
    """`mt5relay-worker run` as a user starts it."""

    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> WorkerProcess:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mt5relay_worker", "run", "--stop-on-eof"],
                env={**os.environ, **self.environment},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        return self

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of one event."""
        lines = (json.loads(line) for line in self.log.read_text().splitlines() if line[:1] == "{")
        return [line for line in lines if line.get("event") == name]

    def terminal_pid(self) -> int:
        return int(self.events("terminal.process.started")[-1]["pid"])

    def wait(self, limit: float = HANG_LIMIT) -> int:
        return self.process.wait(limit)

    def close_input(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(HANG_LIMIT)
        self.close_input()


@dataclass
class System:
    """One terminal's system on a server: workers, clients and `redis`, which may do everything.

    `url` leads to the server, for nobody in particular; workers and clients come as the users that
    they are.
    """

    url: str
    directory: Path
    keys: Keys
    redis: Any  # redis-py types its answers for every protocol at once
    accounts: list[AccountId]
    workers: list[WorkerProcess] = field(default_factory=list[WorkerProcess])

    @property
    def faults_file(self) -> Path:
        return self.directory / "faults.json"

    def set_faults(self, **faults: Any) -> None:
        """Switch faults of the simulated terminal while it runs."""
        replacement = self.directory / "faults.new"
        replacement.write_text(json.dumps({"scale": 0, **faults}))
        replacement.replace(self.faults_file)

    def settings(self, **changed: str) -> dict[str, str]:
        """A worker's environment."""
        return {
            **FAST,
            "REDIS_URL": as_user(self.url, WORKER),
            "MT5_TERMINAL_ID": self.keys.terminal,
            "MT5_KEY_PREFIX": self.keys.prefix,
            "MT5_TERMINAL": "simulated",
            "MT5_SIMULATOR_BOOK": str(self.directory / "book.json"),
            "MT5_SIMULATOR_FAULTS": str(self.faults_file),
            "MT5_PRIVATE_KEY_FILE": str(self.directory / "worker.key"),
            **changed,
        }

    def start_worker(self, **settings: str) -> WorkerProcess:
        environment = self.settings(**settings)
        worker = WorkerProcess(environment, self.directory / f"worker-{len(self.workers)}.log")
        self.workers.append(worker)
        return worker.start()

    @contextlib.asynccontextmanager
    async def supervised(self, **settings: str) -> AsyncGenerator[Supervisor]:
        """Start a worker whenever the last one has ended, as a service manager would."""
        supervisor = Supervisor(self, settings)
        async with anyio.create_task_group() as supervising:
            supervising.start_soon(supervisor.run)
            yield supervisor
            supervising.cancel_scope.cancel()

    async def start(self, **settings: str) -> WorkerProcess:
        """Start a worker, wait until its terminal is attached, and enrol every account."""
        worker = self.start_worker(**settings)
        await self.until_health(state=b"CONNECTED")
        await self.enrol(self.accounts)
        return worker

    async def enrol(self, accounts: list[AccountId], password: str | None = None) -> None:
        key = decode_sealing_key(await self.redis.get(self.keys.sealing_key))
        for account in accounts:
            secret = Secret(password or password_of(account))
            await self.redis.hset(self.keys.accounts, str(account), seal(secret, account, key, 0))

    async def health(self) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = await self.redis.hgetall(self.keys.health)
        return found

    async def until_health(self, **expected: bytes) -> dict[bytes, bytes]:
        """Wait until the health hash holds these values."""
        found: dict[bytes, bytes] = {}

        async def holds() -> bool:
            nonlocal found
            found = await self.health()
            return all(found.get(name.encode()) == value for name, value in expected.items())

        await until(holds, lambda: f"health {expected}, found {found}\n{self.tail()}")
        return found

    async def events(self) -> list[dict[str, Any]]:
        entries = await self.redis.xrange(self.keys.events)
        return [json.loads(fields[b"event"]) for _, fields in entries]

    def logged(self, name: str) -> list[dict[str, Any]]:
        """The log lines of one event, of all workers so far."""
        return [line for worker in self.workers for line in worker.events(name)]

    def tail(self) -> str:
        return "\n".join(worker.log.read_text()[-3000:] for worker in self.workers)

    def client(self, **options: Any) -> AccountClient:
        options = {"timeout": HANG_LIMIT, **options}
        return AccountClient(as_user(self.url, GATEWAY), terminal=self.keys.terminal, **options)


class Supervisor:
    """Keeps one worker running; `statuses` are the exit statuses of those that have ended."""

    def __init__(self, system: System, settings: dict[str, str]) -> None:
        self.statuses: list[int] = []
        self._system = system
        self._settings = settings
        self._may_start = asyncio.Event()
        self._may_start.set()

    async def run(self) -> None:
        while True:
            await exited(self._system.workers[-1])
            self.statuses.append(self._system.workers[-1].wait())
            await self._may_start.wait()
            self._system.start_worker(**self._settings)

    @contextlib.contextmanager
    def held(self) -> Generator[None]:
        """Start none in here, so that a test can look at what is left without a worker."""
        self._may_start.clear()
        try:
            yield
        finally:
            self._may_start.set()


async def exited(worker: WorkerProcess) -> None:
    while worker.process.poll() is None:  # noqa: ASYNC110 - another process must act
        await anyio.sleep(0.02)


async def until(
    holds: Callable[[], Any], explain: Callable[[], str], limit: float = START_LIMIT
) -> None:
    """Poll a condition, bounded."""
    give_up = time.monotonic() + limit
    while not await holds():
        if time.monotonic() > give_up:
            pytest.fail(f"never held: {explain()}")
        await anyio.sleep(0.02)


def write_book(path: Path, accounts: list[AccountId]) -> None:
    servers = sorted({account.server for account in accounts})
    book = {
        "servers": [
            {"name": name, "company": "Test Broker", "utc_offset_hours": 3} for name in servers
        ],
        "accounts": [
            {
                "login": account.login,
                "server": account.server,
                "password": password_of(account),
                "name": f"Trader {index}",
                "currency": "USD",
                "balance": 1000.0 + index,
                "leverage": 100,
                "margin_mode": "hedging",
                "positions": [{"symbol": "EURUSD", "side": "buy", "volume": 0.1}],
                "orders": [],
            }
            for index, account in enumerate(accounts)
        ],
    }
    path.write_text(json.dumps(book))


def write_planted_key(path: Path, name: str) -> None:
    """A worker's private key that is recognised wherever it turns up."""
    write_private_key(path)
    key = X25519PrivateKey.from_private_bytes(planted_private_key(name[-12:]))
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )  # into the file that has the rights


@pytest.fixture(scope="session")
def system_server() -> Iterator[AclServer]:
    with running_server("--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@contextlib.asynccontextmanager
async def prepared_system(url: str, keys: Keys, directory: Path) -> AsyncGenerator[System]:
    """A terminal's system on the server at `url`, its files in `directory`, no worker yet."""
    accounts = [
        AccountId(700_001 + index, ("Alpha-Demo", "Beta-Live")[index % 2]) for index in range(10)
    ]
    write_book(directory / "book.json", accounts)
    write_planted_key(directory / "worker.key", keys.terminal)
    redis = connect(as_user(url, TESTER), client_name="system-test")
    system = System(without_user(url), directory, keys, redis, accounts)
    system.set_faults()
    try:
        yield system
    finally:
        for worker in system.workers:
            worker.end()
        with contextlib.suppress(OSError):
            await system.redis.aclose()  # a test may have put another in its place


@pytest.fixture
async def system_of(
    system_server: AclServer, tmp_path: Path
) -> AsyncIterator[Callable[[Keys], Awaitable[System]]]:
    """Prepare a terminal's system in a directory of its own; all know the same accounts."""
    async with contextlib.AsyncExitStack() as prepared:

        async def prepare(keys: Keys) -> System:
            directory = tmp_path / keys.terminal
            directory.mkdir()
            return await prepared.enter_async_context(
                prepared_system(system_server.url, keys, directory)
            )

        yield prepare


@pytest.fixture
async def system(system_of: Callable[[Keys], Awaitable[System]], keys: Keys) -> System:
    return await system_of(keys)
