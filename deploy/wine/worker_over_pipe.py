"""The worker with the unmodified MetaTrader5 package, on a terminal that does everything wrong.

    bash deploy/wine/setup.sh DIR
    python3 -m pip wheel --no-deps -w DIR/whl . && DIR/winpip DIR/whl/mt5relay-*.whl
    python -m deploy.wine.worker_over_pipe DIR [--lookups 5000] [--seed S]

In the root of the checkout, in the test environment, with a Redis or Valkey server program. Under
Wine: the worker, its terminal process with the real package, and the simulator behind the
terminal's pipe. Outside: the server on loopback, two gateways, and the truth with which
every answer is compared (tests/hostile says how). Ends with figures, and with exit status 0
only when no answer was another account's, falsely empty, impossible or past its deadline.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.hostile import hostile
from tests.hostile.tally import SHOWN
from tests.hostile.truth import make_book
from tests.hostile.weather import CALM, draw, each_once
from tests.servers import WORKER, as_user, running_server

from mt5relay_gateway import AccountClient
from mt5relay_shared.keys import Keys

ACCOUNTS, LANES = 21, 5
PROGRAM = r"C:\mt5relay-simulated\terminal64.exe"
HANGING = ("account_info", "positions_get", "login", "history_deals_get")
SILENCE_LIMIT, FRESH_ANSWERS = 60.0, 20  # seconds; look-ups
SLOWEST_LOOKUP = 0.5  # seconds a look-up may take on average before the run is given up
SETTINGS = {
    "MT5_TERMINAL": "metatrader5",
    "MT5_TERMINAL_PATH": PROGRAM,
    # A process takes seconds to start under Wine, and the package asks every 100 ms how a login is.
    "MT5_CONNECTION_TIMEOUT": "2",
    "MT5_CALL_LIMIT": "4",
    "MT5_START_LIMIT": "30",
}


class WindowsWorker(hostile.Worker):
    """The worker on the Python under Wine."""

    def __init__(self, environment: dict[str, str], log: Path, rig: Path) -> None:
        super().__init__(environment, log)
        self._rig = rig

    def keep_running(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self._close_input()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [self._rig / "winpy", "-m", "mt5relay_worker", "run", "--stop-on-eof"],
                env={**os.environ, **self._environment},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        self.starts += 1


class Run(hostile.Run):
    """A hostile run whose terminal is the real package, and which ends by its answers."""

    def __init__(self, rig: Path, lookups: int, directory: Path, url: str, seed: int) -> None:
        self._lookups = lookups
        super().__init__(
            sys.maxsize,
            make_book(ACCOUNTS),
            directory,
            url,
            random.Random(seed),
            has_journal=True,
            keys=Keys("over-the-pipe"),
        )
        self.worker = WindowsWorker(self._environment(), directory / "worker.log", rig)

    def _environment(self) -> dict[str, str]:
        simulated = ("MT5_SIMULATOR_BOOK", "MT5_SIMULATOR_FAULTS", "MT5_SIMULATOR_DATA")
        usual = super()._environment()
        return {name: value for name, value in usual.items() if name not in simulated} | {
            **SETTINGS,
            # Wine 8 lacks the keep-alive options that redis-py sets.
            "REDIS_URL": f"{as_user(self.url, WORKER)}?socket_keepalive=False",
            "MT5_PRIVATE_KEY_FILE": windows_path(self.directory / "worker.key"),
        }

    @property
    def answered(self) -> int:
        good = (self.tally.outcomes[name] for name in self.tally.outcomes if " " in name)
        return self.tally.outcomes["stale"] + sum(good)

    async def _storm(self, client: AccountClient) -> None:
        """Change the weather until enough was answered, or it takes too long."""
        give_up = time.monotonic() + 120 + self._lookups * SLOWEST_LOOKUP
        ahead = each_once(self.rng)
        while self.answered < self._lookups or ahead:
            if time.monotonic() > give_up:
                self.tally.other.append(f"only {self.answered} look-ups were answered")
                break
            is_enough = self.answered >= self._lookups
            is_severe = bool(ahead) and (is_enough or self.rng.random() < 0.2)
            await self._blow(ahead.pop() if is_severe else draw(self.rng))
            self.worker.keep_running()
            self.oracle.look()
        for function in HANGING:
            await self._fall_silent(function)
        self.set_faults(CALM)
        self.is_over = True

    async def _fall_silent(self, function: str) -> None:
        """A call that never returns: the terminal process is killed, and the next one serves."""
        self.set_faults(CALM)
        await self._until_answered(f"before {function} hangs")
        killed = self._killed()
        self.set_faults({**CALM, "calls_that_hang": [function]})
        give_up = time.monotonic() + SILENCE_LIMIT
        while self._killed() == killed:
            if time.monotonic() > give_up:
                self.tally.other.append(f"{function} hung, and nothing was killed")
                break
            await asyncio.sleep(0.1)
        self.set_faults(CALM)
        await self._until_answered(f"after {function} hung")
        self.tally.weather[f"{function} never returned"] += 1

    def _killed(self) -> int:
        return self.worker.events()["terminal.process.ended"]

    async def _until_answered(self, when: str) -> None:
        """Some fresh answers more."""
        fresh, give_up = self._fresh(), time.monotonic() + SILENCE_LIMIT
        while self._fresh() < fresh + FRESH_ANSWERS:
            if time.monotonic() > give_up:
                self.tally.other.append(f"no fresh answers {when}")
                return
            await asyncio.sleep(0.1)

    def _fresh(self) -> int:
        return self.tally.outcomes["ok from terminal"]

    async def _call(self, client: AccountClient, number: int) -> None:
        """Each caller of the usual run is several here: a visit takes longer."""
        usual = super()._call
        async with asyncio.TaskGroup() as group:
            for lane in range(LANES):
                group.create_task(usual(client, number * LANES + lane))


def windows_path(path: Path) -> str:
    return "Z:" + str(path).replace("/", "\\")


@contextmanager
def served(rig: Path, directory: Path) -> Generator[None]:
    """The simulator behind the pipe; entered once it listens."""
    files = {"--book": "book.json", "--faults": "faults.json", "--data-folder": "data"}
    options = [word for name, file in files.items() for word in (name, directory / file)]
    words = [windows_path(one) if isinstance(one, Path) else one for one in options]
    log = (directory / "simulator.log").open("wb")
    process = subprocess.Popen(  # noqa: S603 - our own program
        [rig / "winpy", "-m", "mt5relay_worker.simulator", "--serve", PROGRAM, *words],
        stdout=subprocess.PIPE,
        stderr=log,
    )
    try:
        assert process.stdout is not None  # noqa: S101 - it was started with a pipe
        if not process.stdout.readline():
            raise RuntimeError(f"the simulator does not serve; see {log.name}")
        yield
    finally:
        log.close()
        process.kill()
        process.wait(10)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rig", type=Path, help="the directory that setup.sh made")
    parser.add_argument("--lookups", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="keep files and logs in this new folder")
    options = parser.parse_args()
    with running_server() as server, tempfile.TemporaryDirectory() as made:
        directory = options.keep or Path(made)
        directory.mkdir(parents=True, exist_ok=options.keep is None)
        rig = options.rig.resolve()
        run = Run(rig, options.lookups, directory.resolve(), server.url, options.seed)
        with served(rig, directory.resolve()):
            tally = asyncio.run(run.play())
    say(f"| what | how many |\n|---|---|\n| look-ups answered | {run.answered} |")
    say(tally.report())
    violations = tally.violations()
    for one in violations[:SHOWN]:
        say(f"VIOLATION {one}")
    return 1 if violations else 0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
