"""Probes of a simulated terminal in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

from mt5relay_worker.probe.messages import Credential, Event, Plan
from mt5relay_worker.probe.prober import Prober
from mt5relay_worker.probe.report import Collection, Host, Planned, Report
from mt5relay_worker.simulator import Book, Faults, SimulatedMetaTrader5
from mt5relay_worker.simulator.book import Account, Order, Position, Server
from mt5relay_worker.terminal.journal import Journal

EventT = TypeVar("EventT")
BEGAN = 1_750_000_000.0
PLAN: dict[str, Any] = {
    "logins": 9,
    "pause": 5.0,
    "watch": 2.0,
    "time_limit": 100_000.0,
    "attaches": 5,
}


class VirtualTime:
    """A clock that only moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = BEGAN

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass(frozen=True)
class Probed:
    """What a probe told, and what was made of it."""

    events: list[Event]
    report: Report

    def of(self, kind: type[EventT]) -> list[EventT]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def book() -> Book:
    """Two accounts on one server and one on another; all have something open."""
    held: dict[str, Any] = {"positions": (Position("EURUSD", "buy", 0.1),), "balance": 43_210.5}
    return Book(
        servers=(Server("MetaQuotes-Demo"), Server("Example-Live", utc_offset_hours=2)),
        accounts=(
            Account(25115284, "MetaQuotes-Demo", "planted-1", name="Ada Planted", **held),
            Account(25115285, "MetaQuotes-Demo", "planted-2", name="Bela Planted", **held),
            Account(
                50100002,
                "Example-Live",
                "planted-3",
                orders=(Order("EURUSD", "buy_limit", 0.1, 0.9),),
            ),
        ),
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The simulated terminal's data folder."""
    return tmp_path / "data"


@pytest.fixture
def probe(book: Book, data: Path) -> Callable[..., Probed]:
    """Probe a terminal with these faults; a `password` replaces those of accounts by number."""

    def run(
        faults: Faults | None = None,
        *,
        seed: int = 0,
        has_journal: bool = True,
        passwords: dict[int, str] | None = None,
        path: str | None = None,
        binding: type[SimulatedMetaTrader5] = SimulatedMetaTrader5,
        **planned: Any,
    ) -> Probed:
        time = VirtualTime()
        mt5 = binding(
            book,
            faults=faults,
            data_folder=data if has_journal else None,
            seed=seed,
            clock=time.time,
            sleep=time.sleep,
        )
        credentials = [
            Credential(one.login, one.server, (passwords or {}).get(number, one.password))
            for number, one in enumerate(book.accounts)
        ]
        plan = Plan(credentials=credentials, **{**PLAN, **planned})
        local = lambda: datetime.fromtimestamp(time.now)  # noqa: E731, DTZ006 - as journals are
        journal = Journal(data / "logs", now=local) if has_journal else None
        events: list[Event] = []
        Prober(
            mt5,
            plan,
            events.append,
            path=path,
            find_journal=lambda _: journal,
            clock=time.time,
            sleep=time.sleep,
            wall_clock=time.time,
        ).run()
        return Probed(events, report_of(events, plan))

    return run


def report_of(events: list[Event], plan: Plan) -> Report:
    host = Host(binding="simulated", system="Test 1", python="3", mt5relay="0")
    planned = Planned(
        logins=plan.logins,
        pause=plan.pause,
        watch=plan.watch,
        time_limit=plan.time_limit,
        poll=plan.poll,
    )
    collection = Collection([one.account for one in plan.credentials], host, planned)
    for event in events:
        collection.add(event)
    return collection.report("2026-01-01T00:00:00+00:00")
