"""The worker's command, but for its terminal process: see `hostile_host.py`.

Its one argument goes to that process.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from mt5relay_shared.log_output import configure_logs
from mt5relay_shared.settings import load_settings_or_exit
from mt5relay_worker.settings import WorkerSettings
from mt5relay_worker.signals import stop_on_end_of_input
from mt5relay_worker.terminal.process import TerminalProcess
from mt5relay_worker.worker import Worker

HOST = Path(__file__).with_name("hostile_host.py")


async def main(told: str) -> None:
    settings = load_settings_or_exit(WorkerSettings)
    configure_logs(settings.log_format, settings.log_level)
    command = [sys.executable, str(HOST), told]
    terminal = TerminalProcess(
        settings.terminal_options, start_limit=settings.start_limit, command=command
    )
    worker = Worker(settings, terminal)
    stop_on_end_of_input(worker.stop)
    await worker.run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
