"""A terminal for tests of delivery: answers at once, and counts what it was asked."""

from __future__ import annotations

import msgspec

from mt5relay_shared.records import Tick
from mt5relay_worker.terminal.protocol import (
    Answer,
    Command,
    Done,
    Hello,
    Initialize,
    Initialized,
    Probe,
    Probed,
    Read,
    ReadResult,
    Visit,
    Visited,
)


class InstantTerminal:
    """Implements the worker's `Terminal` without a process; data names its account."""

    def __init__(self) -> None:
        self._running = False
        self.visits: list[Visit] = []

    @property
    def is_running(self) -> bool:
        return self._running

    async def start(self) -> Hello:
        self._running = True
        return Hello("key", "public")

    async def stop(self) -> None:
        self._running = False

    async def ask(self, command: Command, limit: float) -> Answer:
        match command:
            case Initialize():
                return Initialized(5000, "5.0.6231")
            case Visit():
                self.visits.append(command)
                results = [_result(command, read) for read in command.reads]
                return Visited(command.login, command.server, True, 1.0, "assumed", results)
            case Probe():
                return Probed(True, True, 1, "Any", True, 1.0, 5000)
            case _:
                return Done()


def _result(visit: Visit, read: Read) -> ReadResult:
    match read.operation:
        case "account_info":
            data: object = {"login": visit.login, "server": visit.server}
        case "tick":
            data = Tick(visit.login, 1.1, 1.2, 0.0, 0, 0, 0, 0.0)
        case _:
            data = []
    return ReadResult("value", 0.1, msgspec.json.encode(data))
