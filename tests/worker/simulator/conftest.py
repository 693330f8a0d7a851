"""A small book and a terminal in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mt5relay_worker.simulator import Book, Faults, SimulatedMetaTrader5
from mt5relay_worker.simulator.book import Account, Order, Position, Server

HANG_SECONDS = 3_600


class VirtualTime:
    """A clock that only moves when somebody sleeps. To sleep for an hour counts as hanging."""

    def __init__(self) -> None:
        self.now = 1_750_000_000.0

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        if seconds >= HANG_SECONDS:
            raise TimeoutError("the call would never have returned")
        self.now += seconds


@pytest.fixture
def virtual_time() -> VirtualTime:
    return VirtualTime()


@pytest.fixture
def alice() -> Account:
    """Hedging, with two positions and an order, on the first server."""
    return Account(
        login=10_000_001,
        server="MetaQuotes-Demo",
        password="invented-alice",
        investor_password="readonly-alice",
        positions=(Position("EURUSD", "buy", 0.1), Position("USDJPY", "sell", 0.2)),
        orders=(Order("EURUSD", "buy_limit", 0.1, 0.9),),
    )


@pytest.fixture
def bob() -> Account:
    """Hedging, with nothing open, on the first server."""
    return Account(login=10_000_002, server="MetaQuotes-Demo", password="invented-bob")


@pytest.fixture
def carol() -> Account:
    """Netting, in euros, on the second server."""
    return Account(
        login=10_000_003,
        server="Example-Live",
        password="invented-carol",
        currency="EUR",
        margin_mode="netting",
    )


@pytest.fixture
def book(alice: Account, bob: Account, carol: Account) -> Book:
    servers = (Server("MetaQuotes-Demo"), Server("Example-Live", utc_offset_hours=2))
    return Book(servers, (alice, bob, carol))


@pytest.fixture
def make_terminal(book: Book, virtual_time: VirtualTime) -> Callable[..., SimulatedMetaTrader5]:
    """An attached terminal without latencies but those of the faults given."""

    def make(faults: Faults | None = None, **options: Any) -> SimulatedMetaTrader5:
        mt5 = SimulatedMetaTrader5(
            book,
            faults=faults or Faults(scale=0),
            clock=virtual_time.time,
            sleep=virtual_time.sleep,
            **options,
        )
        mt5.initialize()
        return mt5

    return make


@pytest.fixture
def log_in() -> Callable[[SimulatedMetaTrader5, Account], bool]:
    def log_in_to(mt5: SimulatedMetaTrader5, account: Account) -> bool:
        return mt5.login(account.login, password=account.password, server=account.server)

    return log_in_to
