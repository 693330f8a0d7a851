"""The accounts of a demonstration: made up, or read from a file.

A book is JSON: `servers` with `name`, `company`, `utc_offset_hours`; `accounts` with `login`,
`server`, `password`, `name`, `currency`, `balance`, `leverage`, `margin_mode` (hedging or netting),
`positions` (`symbol`, `side` buy or sell, `volume` in lots) and `orders` (`symbol`, `side` such as
buy_limit, `volume`, `price`). `deploy/accounts.sample.json` is one.
"""

from __future__ import annotations

import os
import random
import secrets
from pathlib import Path
from typing import Any

import msgspec

from mt5relay_gateway.operating.enrolment import check_credentials
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.secret import Secret

SERVERS = (
    {"name": "MetaQuotes-Demo", "company": "MetaQuotes Ltd. (simulated)", "utc_offset_hours": 2},
    {"name": "Contoso-Live", "company": "Contoso Markets (simulated)", "utc_offset_hours": 3},
)
SAMPLE_LOGIN = 25115284  # the sample account of MetaQuotes' public documentation
FIRST_LOGIN = 50_100_001
MOST_ACCOUNTS = 10_000

_PRICES = {"EURUSD": 1.085, "GBPUSD": 1.265, "USDJPY": 151.2, "USDCHF": 0.905, "XAUUSD": 2350.0}
_LIMITS = {"buy_limit": 0.9, "sell_limit": 1.1}  # far from the market, so that they stay pending
_NAMES = ("Ada", "Bela", "Chidi", "Dana", "Emre", "Farah", "Goran", "Hana", "Ivo", "Jun")


class DemoAccount(msgspec.Struct, frozen=True):
    """What a demonstration reads of an account; the simulated terminal reads the rest."""

    login: int
    server: str
    password: str

    @property
    def account(self) -> AccountId:
        return AccountId(self.login, self.server)

    @property
    def secret(self) -> Secret:
        return Secret(self.password)

    def __repr__(self) -> str:
        return f"<DemoAccount {self.login}@{self.server}>"


class _Book(msgspec.Struct, frozen=True):
    accounts: tuple[DemoAccount, ...]


def read_book(path: Path) -> tuple[DemoAccount, ...]:
    """The accounts of a book.

    Raises:
        MT5ValidationError: naming the file and the field.
    """
    try:
        accounts = msgspec.json.decode(path.read_bytes(), type=_Book).accounts
    except OSError as error:
        raise MT5ValidationError(f"--accounts: {path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MT5ValidationError(f"--accounts: {path}: {error}") from None
    if not accounts:
        raise MT5ValidationError(f"--accounts: {path}: `accounts` is empty; give at least one")
    for one in accounts:
        check_credentials(one.account, one.secret)
    return accounts


def write_book(path: Path, count: int) -> None:
    """Make up a book of `count` accounts on two servers, the same but for the passwords each time.

    Raises:
        MT5ValidationError: the count is out of bounds.
    """
    if not 1 <= count <= MOST_ACCOUNTS:
        raise MT5ValidationError(f"--count: {count} is not between 1 and {MOST_ACCOUNTS}")
    book = {"servers": SERVERS, "accounts": _accounts(count, random.Random(count))}
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(book))


def _accounts(count: int, rng: random.Random) -> list[dict[str, Any]]:
    return [_account(number, rng) for number in range(count)]


def _account(number: int, rng: random.Random) -> dict[str, Any]:
    return {
        "login": FIRST_LOGIN + number if number else SAMPLE_LOGIN,
        "server": SERVERS[number % len(SERVERS)]["name"],
        "password": secrets.token_urlsafe(9),
        "name": f"{_NAMES[number % len(_NAMES)]} Example",
        "currency": "USD",
        "balance": rng.choice((1_000.0, 5_000.0, 10_000.0, 50_000.0)),
        "leverage": rng.choice((100, 200, 500)),
        "margin_mode": rng.choice(("hedging", "hedging", "netting")),
        "positions": [_position(symbol, rng) for symbol in _some_symbols(rng, 3)],
        "orders": [_order(symbol, rng) for symbol in _some_symbols(rng, 2)],
    }


def _some_symbols(rng: random.Random, most: int) -> list[str]:
    return rng.sample(list(_PRICES), rng.randint(0, most))


def _position(symbol: str, rng: random.Random) -> dict[str, Any]:
    return {"symbol": symbol, "side": rng.choice(("buy", "sell")), "volume": _volume(rng)}


def _order(symbol: str, rng: random.Random) -> dict[str, Any]:
    side, distance = rng.choice(list(_LIMITS.items()))
    price = round(_PRICES[symbol] * distance, 5 if _PRICES[symbol] < 10 else 2)
    return {"symbol": symbol, "side": side, "volume": _volume(rng), "price": price}


def _volume(rng: random.Random) -> float:
    return rng.randint(1, 5) / 100
