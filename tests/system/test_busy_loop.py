"""What a user sees when a worker is healthy but busy, and when it stands still."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import pytest
from tests.leaks.witness import WITNESS
from tests.limits import HANG_LIMIT
from tests.system.conftest import BRIEF_LEASE, START_LIMIT, WorkerProcess, exited, until

pytestmark = pytest.mark.integration

if TYPE_CHECKING:
    from tests.system.conftest import System

LEASE_TTL = float(BRIEF_LEASE["MT5_LEASE_TTL"])
LONGER = 1.5 * LEASE_TTL
BRIEF_STALL = {**BRIEF_LEASE, "MT5_STALL_LIMIT": "5"}
EXIT_STALLED = 70
EXIT_LEASE_LOST = 75
FOR_EVER = 600.0  # seconds

posix_only = pytest.mark.skipif(
    sys.platform == "win32", reason="freezes a process, or asks whether one lives, as POSIX does"
)
pipes_fill = pytest.mark.skipif(sys.platform == "win32", reason="relies on how a POSIX pipe fills")


class BusyWorker(WorkerProcess):
    """A worker that can be told to hold up its event loop at the next visit."""

    @property
    def told(self) -> Path:
        return self.log.with_suffix(".busy")

    def command(self) -> list[str]:
        return [sys.executable, str(Path(__file__).with_name("busy_worker.py")), str(self.told)]

    def start(self) -> BusyWorker:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                env={**os.environ, **self.environment},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        return self

    def hold_up(self, seconds: float) -> None:
        prepared = self.told.with_suffix(".new")
        prepared.write_text(str(seconds))
        prepared.replace(self.told)

    async def until_held_up(self) -> None:
        async def has_begun() -> bool:
            return not self.told.exists()

        await until(has_begun, self.log.read_text)


async def start_busy_worker(system: System, **settings: str) -> BusyWorker:
    """Start a worker that can be held up, and another that waits for its lease."""
    worker = BusyWorker(system.settings(**settings), system.directory / "busy.log")
    system.workers.append(worker)
    worker.start()
    await system.until_health(state=b"CONNECTED")
    await system.enrol(system.accounts)
    standby = system.start_worker()

    async def waits() -> bool:
        return bool(standby.events("lease.waiting"))

    await until(waits, system.tail)
    return worker


async def status_of(worker: WorkerProcess) -> int:
    """Wait until a worker has ended by itself."""
    async with asyncio.timeout(START_LIMIT):
        await exited(worker)
    return worker.wait()


async def test_a_worker_that_is_busy_for_longer_than_its_lease_keeps_it_and_answers(
    system: System,
) -> None:
    worker = await start_busy_worker(system, **BRIEF_LEASE)
    async with system.client(timeout=HANG_LIMIT) as client:
        assert (await client.account_info(system.accounts[0])).source == "terminal"
        worker.hold_up(LONGER)
        asked = [asyncio.create_task(client.positions(account)) for account in system.accounts]
        await worker.until_held_up()
        mine = await system.redis.get(system.keys.lease)
        over = time.monotonic() + LONGER - 0.5
        while time.monotonic() < over:
            assert await system.redis.get(system.keys.lease) == mine, system.tail()
            await asyncio.sleep(0.05)
        answers = await asyncio.gather(*asked)
        assert [answer.source for answer in answers] == ["terminal"] * len(answers)
        health = await system.until_health(state=b"CONNECTED", fence=b"1")
    assert health[b"fenced_writes"] == b"0"
    assert worker.process.poll() is None
    assert await system.redis.get(system.keys.lease) == mine


async def test_a_worker_that_stands_still_is_ended_and_another_takes_over(system: System) -> None:
    worker = await start_busy_worker(system, **BRIEF_STALL)
    async with system.client(timeout=HANG_LIMIT) as client:
        worker.hold_up(FOR_EVER)
        asked = asyncio.create_task(client.positions(system.accounts[0]))
        await worker.until_held_up()
        assert await status_of(worker) == EXIT_STALLED
        assert (await asked).source == "terminal"
        await system.until_health(fence=b"2", state=b"CONNECTED")
    (stalled,) = worker.events("worker.stalled")
    assert stalled["stands_at"][-1].endswith(" in BusyTerminal._hold_up_the_loop")


@posix_only
async def test_the_terminal_process_of_a_worker_that_stood_still_ends_with_it(
    system: System,
) -> None:
    worker = await start_busy_worker(system, **BRIEF_STALL)
    terminal = worker.terminal_pid()
    async with system.client(timeout=HANG_LIMIT) as client:
        worker.hold_up(FOR_EVER)
        asked = asyncio.create_task(client.positions(system.accounts[0]))
        assert await status_of(worker) == EXIT_STALLED

        async def has_ended() -> bool:
            return not runs(terminal)

        await until(has_ended, system.tail)
        await asked


@posix_only
async def test_a_worker_that_was_frozen_for_long_is_not_taken_for_one_that_stands_still(
    system: System,
) -> None:
    worker = await start_busy_worker(system, **BRIEF_STALL)
    worker.process.send_signal(signal.SIGSTOP)
    await system.until_health(fence=b"2", state=b"CONNECTED")
    await asyncio.sleep(2)
    worker.process.send_signal(signal.SIGCONT)
    assert await status_of(worker) == EXIT_LEASE_LOST
    assert worker.events("worker.stalled") == []
    assert (await system.health())[b"fence"] == b"2"


# A log that nobody reads


class MutedWorker(WorkerProcess):
    """The worker's command, its log a pipe that can be stopped up, as a suspended console is."""

    source: BinaryIO
    reading: threading.Thread | None = None

    def start(self) -> MutedWorker:
        read_end, self._write_end = os.pipe()
        self.source = os.fdopen(read_end, "rb", buffering=0)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mt5relay_worker", "run", "--stop-on-eof"],
            env={**os.environ, **self.environment},
            stdin=subprocess.PIPE,
            stdout=self._write_end,
            stderr=self._write_end,
        )
        self.log.touch()
        return self

    @contextmanager
    def stopped_up(self) -> Generator[None]:
        """Fill the pipe; it is emptied at the end, and after that for as long as it is open."""
        filling = threading.Thread(target=os.write, args=(self._write_end, b"." * (1 << 20)))
        filling.start()
        try:
            yield
        finally:
            self.reading = threading.Thread(target=self._read_it_all)
            self.reading.start()
            filling.join(HANG_LIMIT)

    def _read_it_all(self) -> None:
        while said := self.source.read(1 << 16):
            WITNESS.hear_more("output of a worker", said)

    def end(self) -> None:
        super().end()
        os.close(self._write_end)
        if self.reading is not None:
            self.reading.join(HANG_LIMIT)
        self.source.close()


@pipes_fill
async def test_a_log_that_nobody_reads_costs_a_worker_neither_its_lease_nor_an_answer(
    system: System,
) -> None:
    worker = MutedWorker(system.settings(**BRIEF_LEASE), system.directory / "muted.log")
    system.workers.append(worker)
    worker.start()
    await system.until_health(state=b"CONNECTED")
    await system.enrol(system.accounts)
    mine = await system.redis.get(system.keys.lease)
    async with system.client(timeout=HANG_LIMIT) as client:
        with worker.stopped_up():
            asked = asyncio.create_task(client.positions(system.accounts[0]))
            await asyncio.sleep(LONGER)
            assert not await system.redis.exists(system.keys.health)  # its loop stands still
            assert await system.redis.get(system.keys.lease) == mine
        assert (await asked).source == "terminal"
    assert worker.process.poll() is None


@pipes_fill
async def test_a_worker_that_stands_still_is_ended_though_it_can_write_no_log(
    system: System,
) -> None:
    worker = MutedWorker(system.settings(**BRIEF_STALL), system.directory / "muted.log")
    system.workers.append(worker)
    worker.start()
    await system.until_health(state=b"CONNECTED")
    await system.enrol(system.accounts)
    async with system.client(timeout=HANG_LIMIT) as client:
        with worker.stopped_up():
            await client.submit("positions", system.accounts[0])
            assert await status_of(worker) == EXIT_STALLED


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
