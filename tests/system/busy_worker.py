"""A worker whose event loop can be held up: started by `test_busy_loop.py`, as a process.

It is the worker's own command but for its terminal, and works with the same settings. Its one
argument is a file: when that appears, with a number in it, the loop is held up for so many seconds
at the next visit.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from mt5relay_shared.log_output import configure_logs
from mt5relay_shared.settings import load_settings_or_exit
from mt5relay_worker.cli import EXIT_LEASE_LOST
from mt5relay_worker.lease import LeaseLostError
from mt5relay_worker.lease_keeper import LeaseKeeper
from mt5relay_worker.settings import WorkerSettings
from mt5relay_worker.signals import stop_on_end_of_input
from mt5relay_worker.terminal.process import TerminalProcess
from mt5relay_worker.terminal.protocol import Answer, Command, Visit
from mt5relay_worker.worker import Worker


class BusyTerminal(TerminalProcess):
    """A real terminal process; asking it takes the whole event loop when the file says so."""

    def __init__(self, told: Path, settings: WorkerSettings) -> None:
        super().__init__(settings.terminal_options, start_limit=settings.start_limit)
        self._told = told

    async def ask(self, command: Command, limit: float) -> Answer:
        if isinstance(command, Visit) and self._told.exists():
            self._hold_up_the_loop("PlantedSecret-local")  # of tests/leaks
        return await super().ask(command, limit)

    def _hold_up_the_loop(self, password: str) -> None:
        seconds = float(self._told.read_text())
        self._told.unlink()  # which says that it has begun
        time.sleep(seconds)
        assert password


async def main(told: Path) -> None:
    settings = load_settings_or_exit(WorkerSettings)
    configure_logs(settings.log_format, settings.log_level)
    terminal = BusyTerminal(told, settings)
    worker = Worker(settings, terminal, keeper=LeaseKeeper)
    stop_on_end_of_input(worker.stop)
    await worker.run()


if __name__ == "__main__":
    try:
        asyncio.run(main(Path(sys.argv[1])))
    except LeaseLostError:
        sys.exit(EXIT_LEASE_LOST)
