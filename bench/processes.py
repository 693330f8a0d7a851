"""Starting and ending the processes of a contestant."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.meters import psutil
from bench.orders import Order, Outcome
from bench.redis_link import redis_at
from bench.world import account, password, write_book

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.envelopes import decode_sealing_key
from mt5relay_shared.keys import Keys
from mt5relay_shared.sealing import seal
from mt5relay_shared.secret import Secret

ROOT = Path(__file__).resolve().parent.parent
START_LIMIT = 30.0  # seconds
STOP_LIMIT = 10.0
ENROLLED_AT_ONCE = 1_000
KEYS = Keys("main")


class BenchError(RuntimeError):
    """A contestant did not start, or ended in the midst of a measurement."""


@dataclass(frozen=True, slots=True)
class Running:
    """A contestant's worker side; `pids` by role."""

    pids: Mapping[str, int]


def environment(**settings: str) -> dict[str, str]:
    """This process's own, without settings of somebody's terminal, and with this checkout first."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("MT5_")}
    rooms = [str(ROOT / room) for room in ("", "gateway", "worker", "shared")]
    return {**kept, "PYTHONPATH": os.pathsep.join(rooms), **settings}


@contextlib.contextmanager
def child(
    command: Sequence[str], directory: Path, **settings: str
) -> Generator[subprocess.Popen[str]]:
    """A process with pipes and a log in `directory`; ended by its id."""
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=directory,  # where no `.env` is
            env=environment(**settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    process.terminate()
    try:
        process.wait(STOP_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_LIMIT)


@contextlib.contextmanager
def workspace(accounts: int | None = None) -> Generator[Path]:
    """A directory with a book and a key for one contestant."""
    with tempfile.TemporaryDirectory(prefix="mt5relay-bench-") as name:
        directory = Path(name)
        write_book(directory / "book.json", *([] if accounts is None else [accounts]))
        yield directory


@contextlib.contextmanager
def peer_worker(name: str, python: Path, url: str, directory: Path) -> Generator[Running]:
    command = [str(python), "-m", "bench.serve", name, url, str(directory / "book.json")]
    with child(command, directory) as process:
        yield Running({"worker": process.pid})


@contextlib.contextmanager
def relay_worker(url: str, directory: Path, **settings: str) -> Generator[Running]:
    """A worker with its terminal process, attached to the simulated terminal."""
    key = directory / "worker.key"
    if not key.exists():
        keygen = [sys.executable, "-m", "mt5relay_worker", "keygen", "--out", str(key)]
        subprocess.run(keygen, env=environment(), check=True, stdout=subprocess.DEVNULL)
    chosen = {
        "REDIS_URL": url,
        "MT5_TERMINAL": "simulated",
        "MT5_SIMULATOR_BOOK": str(directory / "book.json"),
        "MT5_SIMULATOR_SPEED": "0",
        "MT5_SIMULATOR_DATA": str(directory / "terminal"),  # with a journal, as the real one has
        "MT5_PRIVATE_KEY_FILE": str(key),
        "MT5_MAX_TIMEOUT": "3600",
        "MT5_LOG_LEVEL": "warning",  # as the peers
        **settings,
    }
    command = [sys.executable, "-m", "mt5relay_worker", "run", "--stop-on-eof"]
    with child(command, directory, **chosen) as process, redis_at(url) as redis:
        wait_until(
            lambda: redis.hget(KEYS.health, "state") == b"CONNECTED",
            process,
            directory,
        )
        (terminal,) = psutil.Process(process.pid).children()
        yield Running({"worker": process.pid, "terminal": terminal.pid})


def enrol(url: str, accounts: int) -> None:
    """Seal the password of each of the book's first accounts for the worker that runs."""
    with redis_at(url) as redis:
        key = decode_sealing_key(redis.get(KEYS.sealing_key))
        for first in range(0, accounts, ENROLLED_AT_ONCE):
            envelopes: dict[str, bytes] = {}
            for number in range(first, min(accounts, first + ENROLLED_AT_ONCE)):
                who = AccountId.parse(account(number))
                envelopes[str(who)] = seal(Secret(password(who.login)), who, key, 0)
            redis.hset(KEYS.accounts, mapping=envelopes)


def wait_until(
    holds: Callable[[], object],
    process: subprocess.Popen[str],
    directory: Path,
    limit: float = START_LIMIT,
) -> None:
    """Poll a condition.

    Raises:
        BenchError: it did not hold in time, or the process ended first; with the end of its log.
    """
    give_up = time.monotonic() + limit
    while not holds():
        if process.poll() is not None or time.monotonic() > give_up:
            raise BenchError(f"status {process.poll()}: {log_end(directory)}")
        time.sleep(0.02)


def log_end(directory: Path) -> str:
    return (directory / "log").read_text("utf-8", "replace")[-2000:]


class ClientProcess:
    """A gateway process that waits for orders."""

    def __init__(self, process: subprocess.Popen[str], directory: Path) -> None:
        self._process = process
        self._directory = directory
        self.versions: dict[str, str] = json.loads(self._line())["versions"]

    @property
    def pid(self) -> int:
        return self._process.pid

    def give(self, order: Order) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it was started with a pipe
        self._process.stdin.write(json.dumps(asdict(order)) + "\n")
        self._process.stdin.flush()

    def outcome(self) -> Outcome:
        """Wait for what became of the order; its own limit bounds this."""
        return Outcome(**json.loads(self._line()))

    def _line(self) -> str:
        assert self._process.stdout is not None  # noqa: S101 - it was started with a pipe
        line = self._process.stdout.readline()
        if not line:
            raise BenchError(f"a client ended: {log_end(self._directory)}")
        return line


@contextlib.contextmanager
def client_process(name: str, python: Path, url: str, directory: Path) -> Generator[ClientProcess]:
    command = [str(python), "-m", "bench.client", name, url]
    with child(command, directory) as process:
        yield ClientProcess(process, directory)
