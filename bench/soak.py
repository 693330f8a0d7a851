"""Whether memory stays flat: many requests at 1024 in flight, resident memory all the way."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.meters import resident_mib
from bench.orders import Order
from bench.processes import client_process, enrol, relay_worker, workspace

from mt5relay_gateway.cli.store import running_server

IN_FLIGHT = 1024
LOOKS = 20


@dataclass(frozen=True, slots=True)
class Look:
    """Resident memory in MiB by role, after so many requests."""

    requests: int
    per_second: float
    mib: dict[str, float]


def soaked(requests: int, python: Path, tell: Callable[[str], None]) -> list[Look]:
    """Ask so many and look twenty times."""
    part = max(IN_FLIGHT, requests // LOOKS)
    looks: list[Look] = []
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running_server())
        directory = stack.enter_context(workspace())
        worker = stack.enter_context(relay_worker(server.url, directory))
        enrol(server.url, 1)
        client = stack.enter_context(client_process("relay", python, server.url, directory))
        pids = {**worker.pids, "gateway": client.pid, "redis": server.pid}
        for number in range(max(1, requests // part)):
            client.give(Order("ticks", number * part, 1, part, IN_FLIGHT, limit=3_600.0))
            outcome = client.outcome()
            seconds = outcome.ended - outcome.began
            mib = {role: resident_mib(pid) for role, pid in pids.items()}
            looks.append(Look((number + 1) * part, part / seconds, mib))
            tell(f"soak: {looks[-1].requests} requests, {mib}")
    return looks
