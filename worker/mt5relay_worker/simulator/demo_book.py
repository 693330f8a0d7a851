"""A book for demonstrations and tests, made up from a seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

from mt5relay_worker.simulator.book import (
    DEFAULT_SYMBOLS,
    Account,
    Book,
    Order,
    PendingSide,
    Position,
    Server,
    Symbol,
)

FIRST_LOGIN = 10_000_001
DEMO_SERVERS = ("MetaQuotes-Demo", "Example-Live")

_BALANCES = (1_000.0, 2_500.0, 5_000.0, 10_000.0, 25_000.0, 50_000.0)
_LEVERAGES = (50, 100, 200, 500)
_DISTANCES: tuple[tuple[PendingSide, float], ...] = (
    ("buy_limit", 0.85),
    ("sell_limit", 1.15),
    ("buy_stop", 1.15),
    ("sell_stop", 0.85),
)


def generate_book(accounts: int = 25, servers: Sequence[str] = DEMO_SERVERS, seed: int = 0) -> Book:
    """Make up a book: the same arguments give the same book.

    Accounts take turns on the servers; logins count up from 10000001. Passwords are invented,
    unique, and recognizable as such.

    Raises:
        ValueError: no server, or a negative number of accounts.
    """
    if not servers or accounts < 0:
        raise ValueError("a book needs at least one server and 0 or more accounts")
    rng = random.Random(seed)
    return Book(
        servers=tuple(Server(name, f"{name.split('-')[0]} (simulated)") for name in servers),
        accounts=tuple(
            _account(rng, FIRST_LOGIN + number, servers[number % len(servers)])
            for number in range(accounts)
        ),
    )


def _account(rng: random.Random, login: int, server: str) -> Account:
    balance = rng.choice(_BALANCES)
    mode: Literal["hedging", "netting"] = "netting" if rng.random() < 0.2 else "hedging"
    held = rng.sample(DEFAULT_SYMBOLS, rng.randint(0, 4))
    return Account(
        login=login,
        server=server,
        password=f"invented-{rng.randrange(16**6):06x}-{login}",
        investor_password=f"readonly-{rng.randrange(16**6):06x}-{login}",
        name=f"Demo Trader {login % 10_000}",
        balance=balance,
        leverage=rng.choice(_LEVERAGES),
        margin_mode=mode,
        positions=tuple(_position(rng, symbol, balance) for symbol in held),
        orders=tuple(
            _order(rng, symbol, balance)
            for symbol in rng.sample(DEFAULT_SYMBOLS, rng.randint(0, 2))
        ),
    )


def _position(rng: random.Random, symbol: Symbol, balance: float) -> Position:
    return Position(
        symbol=symbol.name,
        side=rng.choice(("buy", "sell")),
        volume=_volume(rng, balance),
        magic=rng.choice((0, 0, 20_250)),
    )


def _order(rng: random.Random, symbol: Symbol, balance: float) -> Order:
    side, distance = rng.choice(_DISTANCES)
    price = round(symbol.price * distance, symbol.digits)
    return Order(symbol=symbol.name, side=side, volume=_volume(rng, balance), price=price)


def _volume(rng: random.Random, balance: float) -> float:
    """Lots small enough that a few positions neither use up nor sink the account."""
    return round(max(1, rng.randint(1, 3) * balance / 5_000) * 0.01, 2)
