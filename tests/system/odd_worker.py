"""A worker whose terminal is odd for one account: `python -m tests.system.odd_worker ODDITY`.

ODDITY is a JSON file: `{"login": 7, "call": "positions_get", "how": "dies"}`. The same module is
the terminal process, when it is given `--terminal` first.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, cast

from mt5relay_shared.log_output import configure_logs
from mt5relay_shared.settings import load_settings_or_exit
from mt5relay_worker.lease_keeper import LeaseKeeper
from mt5relay_worker.settings import WorkerSettings
from mt5relay_worker.signals import stop_on_end_of_input
from mt5relay_worker.terminal.host import main as be_the_terminal
from mt5relay_worker.terminal.host import make_binding
from mt5relay_worker.terminal.metatrader5 import Binding
from mt5relay_worker.terminal.options import TerminalOptions
from mt5relay_worker.terminal.process import TerminalProcess
from mt5relay_worker.worker import Worker


class OddBinding:
    """The simulator, but for one call while one account is logged in."""

    def __init__(self, simulator: Any, oddity: dict[str, Any]) -> None:
        self._simulator = simulator
        self._oddity = oddity
        self._login = 0

    def login(self, login: int, **more: Any) -> bool:
        self._login = login
        if self._oddity["call"] == "login" and login == self._oddity["login"]:
            self._misbehave()
        return bool(self._simulator.login(login, **more))

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._simulator, name)
        if name != self._oddity["call"] or self._login != self._oddity["login"]:
            return real

        def odd(*words: Any, **more: Any) -> Any:
            found = self._misbehave()
            return real(*words, **more) if found is None else found

        return odd

    def _misbehave(self) -> Any:
        match self._oddity["how"]:
            case "dies":
                os._exit(11)
            case "hangs":
                return time.sleep(600)
            case "raises":
                raise ValueError("year 60000 is out of range")
            case "cuts a text in an emoji":
                (row,) = self._simulator.positions_get()
                return (row._replace(comment="tp \ud83d"),)
            case how:
                raise AssertionError(how)


def make(options: TerminalOptions) -> Binding:
    oddity = json.loads(Path(sys.argv[2]).read_text())
    return cast(Binding, OddBinding(make_binding(options), oddity))


async def work(oddity: str) -> None:
    settings = load_settings_or_exit(WorkerSettings)
    configure_logs(settings.log_format, settings.log_level)
    command = [sys.executable, "-m", "tests.system.odd_worker", "--terminal", oddity]
    terminal = TerminalProcess(
        settings.terminal_options, start_limit=settings.start_limit, command=command
    )
    worker = Worker(settings, terminal, keeper=LeaseKeeper)
    stop_on_end_of_input(worker.stop)
    await worker.run()


if __name__ == "__main__":
    if sys.argv[1] == "--terminal":
        be_the_terminal(make)
    else:
        asyncio.run(work(sys.argv[1]))
