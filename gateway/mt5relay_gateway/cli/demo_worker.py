"""The worker process of a demonstration, with a simulated terminal."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mt5relay_gateway.cli.child_processes import CREATION_FLAGS, PROCESS_GROUP
from mt5relay_gateway.cli.exits import CommandError
from mt5relay_gateway.settings import GatewaySettings

KEYGEN_LIMIT = 30.0  # seconds
STOP_LIMIT = 15.0  # seconds for a graceful stop
GRACE = 5  # seconds that the worker gives the visit under way
TAIL = 20  # lines of the log shown when it dies


class _MadeKey(msgspec.Struct, frozen=True):
    key_id: str


@dataclass(frozen=True)
class WorkerFiles:
    """What the worker reads and writes, all in the demonstration's own directory but the book."""

    directory: Path
    book: Path

    @property
    def key(self) -> Path:
        return self.directory / "demo.key"

    @property
    def faults(self) -> Path:
        """Read by the simulated terminal whenever it changes; it need not be there."""
        return self.directory / "faults.json"

    @property
    def log(self) -> Path:
        return self.directory / "worker.log"


class DemoWorker:
    """A worker that runs, or ran."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self.log = log

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        """Raise when the worker has died.

        Raises:
            CommandError: with the end of its log.
        """
        status = self._process.poll()
        if status is not None:
            raise CommandError(f"the worker ended with status {status}:\n{self._log_end()}")

    def _log_end(self) -> str:
        with self.log.open(encoding="utf-8", errors="replace") as lines:
            return "".join(deque(lines, TAIL)).rstrip()

    def stop(self) -> None:
        """Close its standard input, which asks it to stop; kill it when it does not."""
        assert self._process.stdin is not None  # noqa: S101 - it was started with a pipe
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._process.kill()
            self._process.wait()


def make_key(files: WorkerFiles) -> str:
    """Make the worker's key pair and return the key's id.

    Raises:
        CommandError: with what the worker's program said.
    """
    made = subprocess.run(
        [sys.executable, "-m", "mt5relay_worker", "keygen", "--json", "--out", str(files.key)],
        cwd=files.directory,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=KEYGEN_LIMIT,
        check=False,
    )
    if made.returncode != 0:
        raise CommandError(f"no key was made: {made.stderr.decode(errors='replace').strip()}")
    return msgspec.json.decode(made.stdout, type=_MadeKey).key_id


@contextlib.contextmanager
def running_worker(
    files: WorkerFiles, settings: GatewaySettings, speed: float
) -> Generator[DemoWorker]:
    """Start a worker; stop it afterwards. It also stops when this process is killed."""
    with files.log.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mt5relay_worker", "run", "--stop-on-eof"],
            cwd=files.directory,
            env=_environment() | _worker_settings(files, settings, speed),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
            process_group=PROCESS_GROUP,
            creationflags=CREATION_FLAGS,
        )
    worker = DemoWorker(process, files.log)
    try:
        yield worker
    finally:
        worker.stop()


def _environment() -> dict[str, str]:
    """This process's environment without settings that are meant for a real terminal.

    The worker runs in a directory of its own, for the same reason: so that it reads no `.env`.
    """
    kept = {name: text for name, text in os.environ.items() if not name.upper().startswith("MT5_")}
    if path := kept.get("PYTHONPATH"):
        kept["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, path.split(os.pathsep)))
    return kept


def _worker_settings(files: WorkerFiles, settings: GatewaySettings, speed: float) -> dict[str, str]:
    return {
        "REDIS_URL": settings.redis_url.get_secret_value(),
        "MT5_ALLOW_PLAINTEXT_REDIS": str(settings.allow_plaintext_redis),
        "MT5_TERMINAL_ID": settings.terminal_id,
        "MT5_KEY_PREFIX": settings.key_prefix,
        "MT5_TERMINAL": "simulated",
        "MT5_SIMULATOR_BOOK": str(files.book.absolute()),
        "MT5_SIMULATOR_SPEED": str(speed),
        "MT5_SIMULATOR_FAULTS": str(files.faults),
        "MT5_PRIVATE_KEY_FILE": str(files.key),
        "MT5_SHUTDOWN_GRACE": str(GRACE),
        "MT5_LOG_FORMAT": "json",
    }
