"""Rounds of measurements: each contestant in turn, on a server of its own, the same questions."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.meters import Reading, peak_mib, read_meters
from bench.orders import Order, Outcome
from bench.processes import (
    ClientProcess,
    Running,
    client_process,
    enrol,
    peer_worker,
    relay_worker,
    workspace,
)
from bench.redis_link import redis_at
from bench.world import ACCOUNTS, Scenario

from mt5relay_gateway.cli.store import running_server

RELAY, FLOOR = "relay", "floor"
PEERS = ("arq", "taskiq", "faststream", "dramatiq", "celery")
GATEWAYS = 2
WARM_UP = 0.15  # of a cell's requests, at most
LEAST_WARM_UP, MOST_WARM_UP = 8, 300  # requests


@dataclass(frozen=True, slots=True)
class Cell:
    """One thing to measure; `in_flight` of all gateways together."""

    scenario: Scenario
    in_flight: int
    gateways: int
    requests: int

    @property
    def is_for_peers(self) -> bool:
        """Two gateways are our own question; the floor says what they could do."""
        return self.gateways == 1


FULL = (
    Cell("ticks", 1, 1, 300),
    Cell("ticks", 16, 1, 1000),
    Cell("ticks", 128, 1, 3000),
    Cell("ticks", 1024, 1, 4096),
    Cell("ticks", 16, 2, 1000),
    Cell("ticks", 128, 2, 3000),
    Cell("ticks", 1024, 2, 4096),
    Cell("switches", 128, 1, 256),
)
QUICK = (
    Cell("ticks", 1, 1, 40),
    Cell("ticks", 128, 1, 256),
    Cell("ticks", 1024, 1, 1024),
    Cell("ticks", 1024, 2, 1024),
    Cell("switches", 16, 1, 48),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement. CPU in microseconds a request by role; memory in MiB, the peak so far."""

    contestant: str
    cell: Cell
    round: int
    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: dict[str, float]
    peak_mib: dict[str, float]
    commands: float
    calls: float
    bytes_in: float
    bytes_out: float
    load: float  # of the machine before it, the benchmark's own included


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure: `pythons` by contestant, `limit` in seconds for a cell."""

    pythons: dict[str, Path]
    cells: Sequence[Cell]
    rounds: int
    limit: float


@dataclass(frozen=True, slots=True)
class Failure:
    """A contestant could not be measured; its row says so instead of a figure."""

    contestant: str
    round: int
    reason: str


def measure(plan: Plan, tell: Callable[[str], None]) -> Iterator[Sample | Failure]:
    """Interleaved, so that what else the machine does hits all alike."""
    for number in range(plan.rounds):
        for name, python in plan.pythons.items():
            tell(f"round {number + 1} of {plan.rounds}: {name}")
            try:
                yield from _turn(plan, name, python, number)
            except Exception as error:  # foreign frameworks; the others go on
                tell(f"{name}: {error}")
                yield Failure(name, number, str(error))


def _turn(plan: Plan, name: str, python: Path, number: int) -> Iterator[Sample]:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running_server())
        directory = stack.enter_context(workspace())
        worker = stack.enter_context(_worker(name, python, server.url, directory))
        clients = [
            stack.enter_context(client_process(name, python, server.url, directory))
            for _ in range(GATEWAYS if name in (RELAY, FLOOR) else 1)
        ]
        redis = stack.enter_context(redis_at(server.url))
        for cell in plan.cells:
            if not cell.is_for_peers and len(clients) < cell.gateways:
                continue
            yield _measured(
                name,
                cell,
                number,
                limit=plan.limit,
                clients=clients,
                worker=worker,
                server_pid=server.pid,
                redis=redis,
            )


@contextlib.contextmanager
def _worker(name: str, python: Path, url: str, directory: Path) -> Generator[Running]:
    if name != RELAY:
        with peer_worker(name, python, url, directory) as running:
            yield running
        return
    with relay_worker(url, directory) as running:
        enrol(url, ACCOUNTS)
        yield running


def _measured(
    name: str,
    cell: Cell,
    number: int,
    *,
    limit: float,
    clients: Sequence[ClientProcess],
    worker: Running,
    server_pid: int,
    redis: Any,
) -> Sample:
    asking = clients[: cell.gateways]
    gateways = {_gateway(index): one.pid for index, one in enumerate(asking)}
    pids = {**worker.pids, **gateways, "redis": server_pid}
    warm_up = min(MOST_WARM_UP, max(LEAST_WARM_UP, round(cell.requests * WARM_UP)))
    _ask(asking, cell, warm_up, cell.requests, limit)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    before = read_meters(pids, redis)
    outcomes = _ask(asking, cell, cell.requests, 0, limit)
    after = read_meters(pids, redis)
    peaks = {role: peak_mib(pid) for role, pid in pids.items()}
    return _sample(
        name,
        cell,
        number,
        outcomes=outcomes,
        before=before,
        after=after,
        peaks=peaks,
        load=load,
    )


def _gateway(index: int) -> str:
    return f"gateway {index + 1}"


def _ask(
    clients: Sequence[ClientProcess], cell: Cell, count: int, first: int, limit: float
) -> list[Outcome]:
    step = len(clients)
    for index, client in enumerate(clients):
        order = Order(
            scenario=cell.scenario,
            first=first + index,
            step=step,
            count=count // step,
            in_flight=cell.in_flight // step,
            limit=limit,
        )
        client.give(order)
    return [client.outcome() for client in clients]


def _sample(
    name: str,
    cell: Cell,
    number: int,
    *,
    outcomes: Sequence[Outcome],
    before: Reading,
    after: Reading,
    peaks: dict[str, float],
    load: float,
) -> Sample:
    took_us = sorted(took for one in outcomes for took in one.took_us)
    count = len(took_us)
    seconds = max(one.ended for one in outcomes) - min(one.began for one in outcomes)
    used = {role: after.cpu[role] - before.cpu[role] for role in after.cpu}
    used |= {_gateway(index): one.cpu for index, one in enumerate(outcomes)}
    cpu = {role: seconds / count * 1e6 for role, seconds in used.items()}
    return Sample(
        contestant=name,
        cell=cell,
        round=number,
        per_second=count / seconds,
        p50_ms=took_us[count // 2] / 1000,
        p99_ms=took_us[min(count - 1, count * 99 // 100)] / 1000,
        cpu_us=cpu,
        peak_mib=peaks,
        commands=(after.commands - before.commands) / count,
        calls=(after.calls - before.calls) / count,
        bytes_in=(after.bytes_in - before.bytes_in) / count,
        bytes_out=(after.bytes_out - before.bytes_out) / count,
        load=load,
    )
