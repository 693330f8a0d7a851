"""Chaos on real processes: kills, freezes and cuts everything, then balances the books.

    python3 run.py chaos --minutes 2 --seed 1

Three gateways, two workers that compete for one terminal, a real server with an append-only file.
Each tick one fault, chosen by the seed. At the end: nothing lost, nothing answered twice, nobody
else's data, nothing left behind. Everything talks to loopback and is ended by its process id.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError
from tests.chaos.ledger import Ledger
from tests.chaos.link import Link
from tests.leaks.files import hear_files_in
from tests.leaks.planted import planted
from tests.leaks.witness import WITNESS
from tests.servers import (
    GATEWAY,
    TESTER,
    WORKER,
    AclServer,
    as_user,
    everybody_tells,
    running_server,
)

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.envelopes import decode_sealing_key
from mt5relay_shared.keys import WORKER_GROUP, Keys
from mt5relay_shared.redis_client import connect
from mt5relay_shared.sealing import seal
from mt5relay_shared.secret import Secret

TICK = (1.0, 3.0)  # seconds between two faults
SETTLE = 25.0  # seconds without faults at the end: longer than any deadline and any lease
CHECK_AFTER = 12.0  # seconds past a deadline by which an accepted request must have its reply
MEMORY_TOLERANCE = 0.3
ACCOUNTS = [
    AccountId(800_001 + index, ("Alpha-Demo", "Beta-Live")[index % 2]) for index in range(20)
]
DECLARED_WITHOUT_EXPIRY = {
    "requests", "accounts", "sealing-key", "fence", "events", "dead", "commands",
}  # fmt: skip


@dataclass
class Child:
    """A process of the system, restarted whenever it has ended."""

    command: list[str]
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    frozen_until: float = 0.0

    def keep_running(self) -> None:
        if self.process is not None and self.frozen_until and time.monotonic() > self.frozen_until:
            self.process.send_signal(signal.SIGCONT)
            self.frozen_until = 0.0
        if self.process is None or self.process.poll() is not None:
            self._close_input()
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    self.command,
                    env={**os.environ, **self.environment},
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                )
            self.frozen_until = 0.0

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def freeze(self, seconds: float) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGSTOP)
            self.frozen_until = time.monotonic() + seconds

    def children(self) -> list[int]:
        """The process ids of this process's own children (Linux)."""
        if self.process is None:
            return []
        listing = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        with contextlib.suppress(OSError):
            return [int(pid) for pid in listing.read_text().split()]
        return []

    def stop(self) -> None:
        """Let it finish: its standard input ends."""
        if self.process is None:
            return
        if self.frozen_until:
            self.process.send_signal(signal.SIGCONT)
        self._close_input()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()

    def _close_input(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()


@dataclass
class Gateway(Child):
    name: str = ""
    journal: Path = Path()
    link: Link | None = None
    read_to: int = 0
    cursor: str = "0"


@dataclass
class Chaos:
    """The system under test, its faults, and its books."""

    server: AclServer
    directory: Path
    rng: random.Random
    keys: Keys = field(default_factory=lambda: Keys("chaos"))
    ledger: Ledger = field(default_factory=Ledger)
    workers: list[Child] = field(default_factory=list[Child])
    worker_links: list[Link] = field(default_factory=list[Link])
    gateways: list[Gateway] = field(default_factory=list[Gateway])

    async def build(self, seed: int) -> None:
        _write_book(self.directory / "book.json")
        (self.directory / "accounts.txt").write_text("\n".join(map(str, ACCOUNTS)))
        (self.directory / "faults.json").write_text(json.dumps({"scale": 0.02}))
        key = self.directory / "worker.key"
        keygen = [sys.executable, "-m", "mt5relay_worker", "keygen", "--out", str(key)]
        await asyncio.to_thread(subprocess.run, keygen, check=True, capture_output=True)
        for number in range(2):
            link = Link(self.server.port)
            await link.open()
            self.worker_links.append(link)
            self.workers.append(self._worker(number, link.url))
        for number in range(3):
            self.gateways.append(await self._gateway(number, seed))

    def _worker(self, number: int, url: str) -> Child:
        environment = {
            "REDIS_URL": as_user(url, WORKER),
            "MT5_TERMINAL_ID": self.keys.terminal,
            "MT5_TERMINAL": "simulated",
            "MT5_SIMULATOR_BOOK": str(self.directory / "book.json"),
            "MT5_SIMULATOR_FAULTS": str(self.directory / "faults.json"),
            "MT5_PRIVATE_KEY_FILE": str(self.directory / "worker.key"),
            "MT5_HEARTBEAT_INTERVAL": "0.3",
            "MT5_LEASE_TTL": "2",
            "MT5_CONNECTION_RETRY_DELAY": "0.1",
            "MT5_BREAKER_PAUSE": "1",
            "MT5_BREAKER_LONGEST_PAUSE": "2",
            "MT5_HEALTH_CHECK_INTERVAL": "2",
            "MT5_POISON_LIMIT": "20",  # here it is the tests that kill, not the requests
            "MT5_LOG_FORMAT": "json",
        }
        command = [sys.executable, "-m", "mt5relay_worker", "run", "--stop-on-eof"]
        return Child(command, environment, self.directory / f"worker-{number}.log")

    async def _gateway(self, number: int, seed: int) -> Gateway:
        link = Link(self.server.port)
        await link.open()
        name, journal = f"gw-{number}", self.directory / f"gateway-{number}.journal"
        journal.touch()
        command = [
            *(sys.executable, "-m", "tests.chaos.gateway_process"),
            *(self.keys.terminal, name, str(journal)),
            *(str(self.directory / "accounts.txt"), str(seed * 10 + number)),
        ]
        log = self.directory / f"gateway-{number}.log"
        environment = {"REDIS_URL": as_user(link.url, GATEWAY)}
        return Gateway(command, environment, log, name=name, journal=journal, link=link)

    # The books

    async def balance(self, redis: Any) -> None:
        """Read the journals and the reply streams, and look for the replies that are due."""
        for gateway in self.gateways:
            self._read_journal(gateway)
            await self._read_replies(redis, gateway)
        await self._check_due(redis)

    def _read_journal(self, gateway: Gateway) -> None:
        with gateway.journal.open("rb") as journal:
            journal.seek(gateway.read_to)
            for raw in journal:
                if not raw.endswith(b"\n"):
                    break
                gateway.read_to += len(raw)
                line = json.loads(raw)
                getattr(self.ledger, line["kind"])(line)

    async def _read_replies(self, redis: Any, gateway: Gateway) -> None:
        stream = self.keys.replies(gateway.name)
        entries = await redis.xrange(stream, f"({gateway.cursor}" if gateway.cursor != "0" else "-")
        for entry, fields in entries:
            gateway.cursor = entry.decode()
            for request_id, body in fields.items():
                self.ledger.pushed(request_id.decode(), body)

    async def _check_due(self, redis: Any) -> None:
        now = time.time()
        for entry in self.ledger.entries.values():
            if entry.accepted and not entry.has_reply:
                stored = await redis.get(self.keys.reply(entry.request_id))
                if stored is not None:
                    entry.has_reply = True
                    entry.pushed.add(stored)
            entry.checked = entry.has_reply or now > entry.deadline + CHECK_AFTER + SETTLE

    # The faults

    def faults(self) -> dict[str, Callable[[], Awaitable[None]]]:
        return {
            "worker killed": self._kill_worker,
            "worker frozen": self._freeze_worker,
            "gateway killed": self._kill_gateway,
            "gateway frozen": self._freeze_gateway,
            "terminal process killed": self._kill_terminal,
            "server killed": self._kill_server,
            "worker's link cut": self._cut_worker_link,
            "gateway's link cut": self._cut_gateway_link,
            "worker's link refused for 1 s": self._refuse_worker_link,
            "links delayed by 100 ms": self._delay_links,
            "scripts flushed": self._flush_scripts,
        }

    async def _kill_worker(self) -> None:
        self.rng.choice(self.workers).kill()

    async def _freeze_worker(self) -> None:
        self.rng.choice(self.workers).freeze(self.rng.uniform(0.5, 4.0))

    async def _kill_gateway(self) -> None:
        self.rng.choice(self.gateways).kill()

    async def _freeze_gateway(self) -> None:
        self.rng.choice(self.gateways).freeze(self.rng.uniform(0.2, 0.8))

    async def _kill_terminal(self) -> None:
        for pid in self.rng.choice(self.workers).children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def _kill_server(self) -> None:
        await asyncio.to_thread(self.server.kill)
        await asyncio.sleep(self.rng.uniform(0.0, 1.0))
        await asyncio.to_thread(self.server.start)

    async def _cut_worker_link(self) -> None:
        self.rng.choice(self.worker_links).cut()

    async def _cut_gateway_link(self) -> None:
        if link := self.rng.choice(self.gateways).link:
            link.cut()

    async def _refuse_worker_link(self) -> None:
        link = self.rng.choice(self.worker_links)
        link.is_refusing = True
        link.cut()
        await asyncio.sleep(1.0)
        link.is_refusing = False

    async def _delay_links(self) -> None:
        links = [*self.worker_links, *(one.link for one in self.gateways if one.link)]
        for link in links:
            link.delay = 0.1
        await asyncio.sleep(1.0)
        for link in links:
            link.delay = 0.0

    async def _flush_scripts(self) -> None:
        async with _judge(self.server) as redis:
            await redis.script_flush()

    def supervise(self) -> None:
        for child in (*self.workers, *self.gateways):
            child.keep_running()

    def stop_asking(self) -> None:
        for gateway in self.gateways:
            gateway.stop()

    def end(self) -> None:
        for child in (*self.gateways, *self.workers):
            child.stop()
        for link in (*self.worker_links, *(one.link for one in self.gateways if one.link)):
            link.close()


@contextlib.asynccontextmanager
async def _judge(server: AclServer) -> AsyncGenerator[Any]:
    redis: Any = connect(as_user(server.url, TESTER), client_name="judge")
    try:
        yield redis
    finally:
        await redis.aclose()


async def run(minutes: float, seed: int, directory: Path, server: AclServer) -> Ledger:
    chaos = Chaos(server, directory, random.Random(seed))
    await chaos.build(seed)
    try:
        async with _judge(server) as redis:
            chaos.workers[0].keep_running()
            await _enrol(redis, chaos.keys)
            memory = await _storm(chaos, redis, minutes * 60)
            await asyncio.to_thread(chaos.stop_asking)
            await _settle(chaos, redis)
            await _look_for_leftovers(chaos, redis)
            used = (await redis.info("memory"))["used_memory"]
            chaos.ledger.memory_growth = used / memory - 1
            if chaos.ledger.memory_growth > MEMORY_TOLERANCE:
                chaos.ledger.left_behind.append(f"memory grew by {chaos.ledger.memory_growth:.0%}")
    finally:
        await asyncio.to_thread(chaos.end)
    return chaos.ledger


async def _enrol(redis: Any, keys: Keys) -> None:
    limit = time.monotonic() + 20
    while (published := await redis.get(keys.sealing_key)) is None:
        if time.monotonic() > limit:
            raise TimeoutError("no worker published its sealing key")
        await asyncio.sleep(0.05)
    key = decode_sealing_key(published)
    for account in ACCOUNTS:
        sealed = seal(Secret(planted(f"{account.login}")), account, key, 0)
        await redis.hset(keys.accounts, str(account), sealed)


async def _storm(chaos: Chaos, redis: Any, seconds: float) -> float:
    """Faults until the time is over; returns the server's memory after the warm-up."""
    faults = chaos.faults()
    ends, memory = time.monotonic() + seconds, 0.0
    warm = time.monotonic() + min(70.0, seconds / 2)  # replies live for about 65 s
    while time.monotonic() < ends:
        chaos.supervise()
        await _quietly(chaos.balance(redis))
        if not memory and time.monotonic() > warm:
            memory = (await redis.info("memory"))["used_memory"]
        await asyncio.sleep(chaos.rng.uniform(*TICK))
        name = chaos.rng.choice(sorted(faults))
        chaos.ledger.faults[name] += 1
        await faults[name]()
    return memory or float((await redis.info("memory"))["used_memory"])


async def _settle(chaos: Chaos, redis: Any) -> None:
    """No more faults: whatever waits is answered or expires."""
    ends = time.monotonic() + SETTLE
    while time.monotonic() < ends:
        for worker in chaos.workers:
            worker.keep_running()
        await _quietly(chaos.balance(redis))
        await asyncio.sleep(0.5)
    for entry in chaos.ledger.entries.values():
        entry.checked = True


async def _quietly(step: Awaitable[None]) -> None:
    with contextlib.suppress(RedisError):  # the server is down this moment; the next look will do
        await step


async def _look_for_leftovers(chaos: Chaos, redis: Any) -> None:
    keys, left = chaos.keys, chaos.ledger.left_behind
    if waiting := await redis.xlen(keys.requests):
        left.append(f"{waiting} entries in the request stream")
    if pending := (await redis.xpending(keys.requests, WORKER_GROUP))["pending"]:
        left.append(f"{pending} pending entries")
    async for key in redis.scan_iter(f"{keys.tag}*"):
        name = key.decode().removeprefix(f"{keys.tag}:")
        if name not in DECLARED_WITHOUT_EXPIRY and await redis.pttl(key) == -1:
            left.append(f"{name} without expiry")


def _write_book(path: Path) -> None:
    book = {
        "servers": [
            {"name": name, "company": "Test Broker", "utc_offset_hours": 3}
            for name in ("Alpha-Demo", "Beta-Live")
        ],
        "accounts": [
            {
                "login": account.login,
                "server": account.server,
                "password": planted(f"{account.login}"),
                "name": f"Trader {number}",
                "currency": "USD",
                "balance": 100_000.0,
                "leverage": 100,
                "margin_mode": "hedging",
                "positions": [{"symbol": "EURUSD", "side": "buy", "volume": number / 100}],
                "orders": [],
            }
            for number, account in enumerate(ACCOUNTS, start=1)
        ],
    }
    path.write_text(json.dumps(book))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=2.0, help="how long faults are made")
    parser.add_argument("--seed", type=int, default=None, help="which faults; default: at random")
    parser.add_argument("--keep", type=Path, default=None, help="keep logs and journals here")
    options = parser.parse_args()
    if not 0 < options.minutes <= 240:
        parser.error("--minutes must be above 0 and at most 240")
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    print(f"chaos: {options.minutes:g} minutes, seed {seed}", flush=True)
    with (
        running_server("--appendonly", "yes", "--appendfsync", "always") as server,
        tempfile.TemporaryDirectory(prefix="mt5relay-chaos-") as scratch,
    ):
        directory = options.keep or Path(scratch)
        directory.mkdir(parents=True, exist_ok=True)
        ledger = asyncio.run(run(options.minutes, seed, directory, server))
        hear_files_in(directory)
        wrong = [*map(str, everybody_tells()), *map(str, WITNESS.finds())]
    print(f"| what | how many |\n|---|---|\n{ledger.report()}")
    violations = [*ledger.violations(), *wrong]
    for violation in violations[:50]:
        print(f"VIOLATION {violation}")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
