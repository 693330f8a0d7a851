"""Thousands of visits to a terminal that does everything wrong at once, then balances the books.

    python3 run.py hostile --visits 10000 --seed 1

A real server, a real worker process with its terminal process, two gateways in this process. The
simulated terminal has 50 accounts on 4 servers and every hostile row of the fault model, drawn anew
several times a second. Every answer is compared with the truth. Everything talks to loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.hostile.tally import SHOWN, Tally
from tests.hostile.truth import Flaw, Oracle, make_book
from tests.hostile.weather import CALM, Weather, draw, each_once
from tests.servers import GATEWAY, TESTER, WORKER, AclServer, as_user, running_server

from mt5relay_gateway import AccountClient
from mt5relay_gateway.answers import Answer
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.envelopes import decode_sealing_key
from mt5relay_shared.errors import MT5CircuitBreakerOpen, MT5Error
from mt5relay_shared.health import Health
from mt5relay_shared.keys import Keys
from mt5relay_shared.operations import Operation
from mt5relay_shared.redis_client import connect
from mt5relay_shared.sealing import seal
from mt5relay_shared.secret import Secret
from mt5relay_worker.key_file import write_private_key
from mt5relay_worker.simulator import Book, dump_book

GATEWAYS, CALLERS = 2, 12
GRACE = 2.0  # seconds past its deadline by which a caller must have heard, as in tests/chaos
START_LIMIT = 60.0  # seconds until the worker's terminal must be attached
SLOWEST_VISIT = 0.5  # seconds a visit may take on average before the run is given up
CALM_LIMIT = 60.0  # seconds by which everybody must be served once nothing is wrong any more
WRONG_PASSWORDS = 3
SETTINGS = {
    "MT5_TERMINAL": "simulated",
    "MT5_CONNECTION_TIMEOUT": "1",
    "MT5_CONNECTION_RETRY_DELAY": "0.02",
    "MT5_CALL_LIMIT": "2.5",
    "MT5_START_LIMIT": "3",
    "MT5_IDENTITY_TIMEOUT": "0.12",
    "MT5_HYDRATION_TIMEOUT": "0.12",
    "MT5_SYNC_TIMEOUT": "0.3",
    "MT5_HEARTBEAT_INTERVAL": "0.3",
    "MT5_LEASE_TTL": "5",
    "MT5_BREAKER_PAUSE": "0.1",
    "MT5_BREAKER_LONGEST_PAUSE": "0.3",
    "MT5_LOCKOUT_COOLDOWN": "1",
    "MT5_LOCKOUT_LONGEST_COOLDOWN": "8",
    "MT5_HEALTH_CHECK_INTERVAL": "1",
    "MT5_LOG_FORMAT": "json",
    "MT5_LOG_LEVEL": "info",
}
QUESTIONS = (
    *(Operation.ACCOUNT_INFO,) * 5,
    *(Operation.POSITIONS,) * 5,
    *(Operation.ORDERS,) * 5,
    *(Operation.DEALS,) * 3,
    *(Operation.HISTORY_ORDERS,) * 2,
    Operation.TICK,
    Operation.RATES,
)
HISTORIES = (Operation.DEALS, Operation.HISTORY_ORDERS)


@dataclass(frozen=True)
class Question:
    account: AccountId
    operation: Operation
    since: datetime  # of a history, on the broker server's clock
    timeout: float  # seconds
    options: dict[str, float] = field(default_factory=dict[str, float])

    def __str__(self) -> str:
        return f"{self.operation} of {self.account}"


class Worker:
    """The worker process; started again whenever it ended, which it should not."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.starts = 0
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def keep_running(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self._close_input()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mt5relay_worker", "run", "--stop-on-eof"],
                env={**os.environ, **self._environment},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        self.starts += 1

    def stop(self) -> None:
        if self._process is None:
            return
        self._close_input()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def events(self) -> Counter[str]:
        """How often the log tells of what."""
        found: Counter[str] = Counter()
        for line in self._log.read_text("utf-8", "replace").splitlines():
            if line.startswith("{"):
                with contextlib.suppress(json.JSONDecodeError):  # cut off by a kill
                    found[str(json.loads(line).get("event"))] += 1
        return found

    def _close_input(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()


class Stall:
    """For how long, in all, this process had no turn: no answer was late because of that."""

    NAP = 0.05

    def __init__(self) -> None:
        self.seconds = 0.0

    async def run(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(self.NAP)
            self.seconds += max(0.0, time.monotonic() - before - 2 * self.NAP)


@dataclass
class Run:
    """One run: the system, the weather, the callers, and the books."""

    visits: int
    book: Book
    directory: Path
    url: str
    rng: random.Random
    has_journal: bool
    keys: Keys = field(default_factory=lambda: Keys("hostile"))
    tally: Tally = field(default_factory=Tally)
    stall: Stall = field(default_factory=Stall)
    is_over: bool = False

    def __post_init__(self) -> None:
        self.oracle = Oracle(self.book)
        self.oracle.look()
        self.accounts = [AccountId(one.login, one.server) for one in self.book.accounts]
        shut = self.accounts[len(self.accounts) // 2 :][:WRONG_PASSWORDS]
        self.shut_out = frozenset(shut)
        self.set_faults(CALM)
        dump_book(self.book, self.directory / "book.json")
        write_private_key(self.directory / "worker.key")
        self.worker = Worker(self._environment(), self.directory / "worker.log")

    def _environment(self) -> dict[str, str]:
        return {
            **SETTINGS,
            "REDIS_URL": as_user(self.url, WORKER),
            "MT5_TERMINAL_ID": self.keys.terminal,
            "MT5_SIMULATOR_BOOK": str(self.directory / "book.json"),
            "MT5_SIMULATOR_FAULTS": str(self.directory / "faults.json"),
            "MT5_SIMULATOR_DATA": str(self.directory / "data"),
            "MT5_PRIVATE_KEY_FILE": str(self.directory / "worker.key"),
            "MT5_JOURNAL": "auto" if self.has_journal else "off",
        }

    def set_faults(self, faults: dict[str, Any]) -> None:
        replacement = self.directory / "faults.new"
        replacement.write_text(json.dumps(faults))
        replacement.replace(self.directory / "faults.json")

    # The system

    async def play(self) -> Tally:
        began = time.monotonic()
        try:
            self.worker.keep_running()
            async with self._clients() as clients:
                await self._ready(clients[0])
                await self._enrol()
                async with asyncio.TaskGroup() as group:
                    ticking = group.create_task(self.stall.run())
                    storm = group.create_task(self._storm(clients[0]))
                    callers = [
                        group.create_task(self._call(clients[number % GATEWAYS], number))
                        for number in range(CALLERS)
                    ]
                    await asyncio.gather(storm, *callers)
                    await self._everybody_is_served(clients[0])
                    ticking.cancel()
                self._note_health(await clients[0].health())
        finally:
            await asyncio.to_thread(self.worker.stop)
        self._note_events(time.monotonic() - began)
        return self.tally

    @contextlib.asynccontextmanager
    async def _clients(self) -> AsyncGenerator[list[AccountClient]]:
        async with contextlib.AsyncExitStack() as stack:
            yield [
                await stack.enter_async_context(
                    AccountClient(as_user(self.url, GATEWAY), terminal=self.keys.terminal)
                )
                for _ in range(GATEWAYS)
            ]

    async def _ready(self, client: AccountClient) -> None:
        limit = time.monotonic() + START_LIMIT
        while (health := await client.health()) is None or health.state != "CONNECTED":
            if time.monotonic() > limit:
                raise TimeoutError("the worker's terminal was never attached")
            await asyncio.sleep(0.05)

    async def _enrol(self) -> None:
        redis: Any = connect(as_user(self.url, TESTER), client_name="hostile")
        try:
            key = decode_sealing_key(await redis.get(self.keys.sealing_key))
            for account, one in zip(self.accounts, self.book.accounts, strict=True):
                password = "not-" * (account in self.shut_out) + one.password
                sealed = seal(Secret(password), account, key, 0)
                await redis.hset(self.keys.accounts, str(account), sealed)
        finally:
            await redis.aclose()

    # The weather

    async def _storm(self, client: AccountClient) -> None:
        """Change the weather until there were enough visits, or they take too long."""
        give_up = time.monotonic() + 60 + self.visits * SLOWEST_VISIT
        ahead: Iterator[Weather] = iter(each_once(self.rng))
        while time.monotonic() < give_up:
            health = await client.health()
            if health is not None and health.visits >= self.visits:
                break
            weather = next(ahead, None) if self.rng.random() < 0.2 else None
            await self._blow(weather or draw(self.rng))
            self.worker.keep_running()
            self.oracle.look()
        else:
            self.tally.other.append(f"fewer than {self.visits} visits by the end of the run")
        for weather in ahead:
            await self._blow(weather)
        self.set_faults(CALM)  # or the last weather would last as long as the last question
        self.is_over = True

    async def _blow(self, weather: Weather) -> None:
        self.set_faults(weather.faults)
        self.tally.weather[weather.severe or "changed"] += 1
        await asyncio.sleep(weather.seconds)

    # The callers

    async def _call(self, client: AccountClient, number: int) -> None:
        rng = random.Random(f"{self.rng.random()}/{number}")
        while not self.is_over:
            await self._ask(client, self._question(rng))

    def _question(self, rng: random.Random) -> Question:
        options: dict[str, float] = {}
        if rng.random() < 0.1:
            options["max_age"] = 1.0
        if rng.random() < 0.3:
            options["stale_if_error"] = 600.0
        return Question(
            rng.choice(self.accounts),
            rng.choice(QUESTIONS),
            self.oracle.history_since(rng.choice((3, 10, 365))),
            rng.uniform(1.0, 8.0),
            options,
        )

    async def _ask(self, client: AccountClient, question: Question) -> bool:
        """Ask, judge, count; True for a good and fresh answer."""
        began, stalled = time.monotonic(), self.stall.seconds
        try:
            answer = await _answer(client, question)
        except MT5Error as error:
            self._note_error(question, error)
            if isinstance(error, MT5CircuitBreakerOpen):
                await asyncio.sleep(min(0.1, error.retry_after or 0.1))
            return False
        finally:
            took = time.monotonic() - began - (self.stall.seconds - stalled)
            self.tally.longest_wait = max(self.tally.longest_wait, took)
            if took > question.timeout + GRACE:
                over = took - question.timeout
                self.tally.late.append(f"{question}: {over:.2f} s after {question.timeout:.2f} s")
        return self._judge(question, answer)

    def _note_error(self, question: Question, error: MT5Error) -> None:
        is_right = error.code == "MT5_AUTH_FAILED" and question.account not in self.shut_out
        self.tally.outcomes[f"{error.code}{' (right password)' * is_right}"] += 1
        if error.code == "INTERNAL":
            self.tally.other.append(f"{question}: {error}")

    def _judge(self, question: Question, answer: Answer[Any]) -> bool:
        self.tally.outcomes["stale" if answer.stale else f"ok from {answer.source}"] += 1
        self.tally.synchronized[answer.synchronized] += 1
        if question.account in self.shut_out:
            self.tally.other.append(f"{question}: let in with a wrong password")
        account, operation = question.account, question.operation
        found = self.oracle.judge(account, operation, answer.data, question.since)
        if found is None:
            return not answer.stale
        flaw, why = found
        told = (
            f"{question}: {why} ({answer.synchronized}, {answer.source}, age {answer.age:.2f} s,"
            f" at {answer.as_of:%H:%M:%S.%f})"
        )
        if self._nothing_could_tell(question, answer, flaw):
            self.tally.unprovable.append(told)
        else:
            self.tally.flaws[flaw].append(told)
        return False

    def _nothing_could_tell(self, question: Question, answer: Answer[Any], flaw: Flaw) -> bool:
        """No journal, and no figure of the account speaks against an empty list."""
        return (
            not self.has_journal
            and flaw is Flaw.MISSING
            and answer.synchronized == "assumed"
            and question.operation is Operation.ORDERS
            and answer.data == []
            and self.oracle.is_flat_of_positions(question.account)
        )

    async def _everybody_is_served(self, client: AccountClient) -> None:
        """Once nothing is wrong any more, every account gets all of its data."""
        async with asyncio.TaskGroup() as group:
            for account in self.accounts:
                for operation in dict.fromkeys(QUESTIONS):
                    question = Question(account, operation, self.oracle.history_since(365), 20.0)
                    if account not in self.shut_out:
                        group.create_task(self._is_served(client, question))

    async def _is_served(self, client: AccountClient, question: Question) -> None:
        until = time.monotonic() + CALM_LIMIT
        while not await self._ask(client, question):
            if time.monotonic() > until:
                self.tally.other.append(f"{question}: not served after the storm")
                return
            await asyncio.sleep(0.1)

    # The books

    def _note_health(self, health: Health | None) -> None:
        if health is None:
            self.tally.other.append("no worker lives at the end")
            return
        for name in ("visits", "logins", "logins_saved", "retries", "reconnects", "stale_replies"):
            self.tally.figures[name.replace("_", " ")] = getattr(health, name)
        self.tally.figures["identity mismatches discarded"] = health.identity_mismatches
        self.tally.figures["switch p50 / p95, ms"] = (
            f"{health.switch_p50_ms} / {health.switch_p95_ms}"
        )

    def _note_events(self, seconds: float) -> None:
        events = self.worker.events()
        self.tally.figures["terminal processes started"] = events["terminal.process.started"]
        self.tally.figures["terminal processes killed"] = events["terminal.process.ended"]
        self.tally.figures["seconds"] = round(seconds)
        if self.worker.starts != 1:
            self.tally.other.append(f"the worker had to be started {self.worker.starts} times")


async def _answer(client: AccountClient, question: Question) -> Answer[Any]:
    account = question.account
    options: Any = {"timeout": question.timeout, **question.options}
    until = question.since + timedelta(days=3650)
    match question.operation:
        case Operation.POSITIONS:
            return await client.positions(account, **options)
        case Operation.ORDERS:
            return await client.orders(account, **options)
        case Operation.DEALS:
            return await client.deals(account, question.since, until, **options)
        case Operation.HISTORY_ORDERS:
            return await client.history_orders(account, question.since, until, **options)
        case Operation.TICK:
            return await client.tick(account, "EURUSD", **options)
        case Operation.RATES:
            return await client.rates(account, "EURUSD", "M1", 5, **options)
        case _:
            return await client.account_info(account, **options)


def play(visits: int, seed: int, directory: Path, server: AclServer, *, journal: str) -> Tally:
    """One run with the journal `on` or `off`; its files stay in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    run = Run(
        visits,
        make_book(),
        directory,
        server.url,
        random.Random(seed),
        has_journal=journal == "on",
        keys=Keys(f"hostile-{journal}"),
    )
    return asyncio.run(run.play())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--visits", type=int, default=10_000, help="to make with the journal on")
    parser.add_argument("--seed", type=int, default=None, help="which faults; default: at random")
    parser.add_argument("--journal", choices=("on", "off", "both"), default="both")
    parser.add_argument(
        "--keep", type=Path, default=None, help="keep files and logs in this new folder"
    )
    options = parser.parse_args()
    if not 1 <= options.visits <= 1_000_000:
        parser.error("--visits must be 1 to 1000000")
    if options.keep is not None and options.keep.exists():
        parser.error(f"--keep: {options.keep} exists; name a new folder")
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    runs = {"on": options.visits, "off": options.visits}
    if options.journal == "both":
        runs["off"] = max(1, options.visits // 5)
    violations: list[str] = []
    with (
        running_server() as server,
        tempfile.TemporaryDirectory(prefix="mt5relay-hostile-") as scratch,
    ):
        directory = options.keep or Path(scratch)
        for journal, visits in runs.items():
            if options.journal in (journal, "both"):
                say(f"hostile: {visits} visits, seed {seed}, journal {journal}")
                tally = play(visits, seed, directory / journal, server, journal=journal)
                say(f"| what | how many |\n|---|---|\n{tally.report()}")
                for one in tally.unprovable[:SHOWN]:
                    say(f"could not be told: {one}")
                for one in tally.violations()[:SHOWN]:
                    say(f"VIOLATION {one}")
                violations += tally.violations()
    return 1 if violations else 0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
