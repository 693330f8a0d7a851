"""The book: which servers, accounts and symbols a simulated terminal knows. A JSON file."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Name = Annotated[str, Meta(min_length=1)]
Side = Literal["buy", "sell"]
PendingSide = Literal[
    "buy_limit", "sell_limit", "buy_stop", "sell_stop", "buy_stop_limit", "sell_stop_limit"
]


class BookError(ValueError):
    """A book can't be used; the message names the place, the field and the remedy."""


class Server(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A trade server; its wall clock is `utc_offset_hours` ahead of UTC, summer and winter."""

    name: Name
    company: str = "Simulated Broker Ltd."
    utc_offset_hours: Annotated[float, Meta(ge=-14, le=14)] = 3.0


class Position(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A position to start with. Without `price` it was opened at the market, some days ago."""

    symbol: str
    side: Side
    volume: Positive
    price: Positive | None = None
    sl: NotNegative = 0.0
    tp: NotNegative = 0.0
    magic: Annotated[int, Meta(ge=0)] = 0
    comment: Annotated[str, Meta(max_length=31)] = ""


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pending order to start with. Volume in lots."""

    symbol: str
    side: PendingSide
    volume: Positive
    price: Positive
    sl: NotNegative = 0.0
    tp: NotNegative = 0.0
    magic: Annotated[int, Meta(ge=0)] = 0
    comment: Annotated[str, Meta(max_length=31)] = ""


class Account(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A trading account. Its `repr` shows neither password."""

    login: Annotated[int, Meta(gt=0)]
    server: str
    password: Name
    investor_password: Name | None = None
    name: str = ""
    currency: str = "USD"
    balance: float = 10_000.0
    credit: float = 0.0
    leverage: Annotated[int, Meta(gt=0)] = 100
    margin_mode: Literal["hedging", "netting"] = "hedging"
    positions: tuple[Position, ...] = ()
    orders: tuple[Order, ...] = ()

    @property
    def currency_digits(self) -> int:
        """Decimals of the currency's amounts."""
        return CURRENCY_DIGITS.get(self.currency, 2)

    @property
    def key(self) -> AccountKey:
        return (self.server, self.login)

    def __repr__(self) -> str:
        return (
            f"Account(login={self.login}, server={self.server!r}, password='***', "
            f"currency={self.currency!r}, balance={self.balance}, "
            f"{len(self.positions)} positions, {len(self.orders)} orders)"
        )


AccountKey = tuple[str, int]

CURRENCY_DIGITS = {"JPY": 0, "KRW": 0, "CLP": 0, "VND": 0, "BTC": 8, "ETH": 8, "LTC": 8}
"""Of ISO 4217 and of what brokers keep accounts in; every other currency has two."""


class Symbol(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A symbol. `price` is the middle of its walk, `volatility` a year's standard deviation."""

    name: Name
    price: Positive
    currency_base: Name
    currency_profit: Name
    description: str = ""
    digits: Annotated[int, Meta(ge=0, le=8)] = 5
    contract_size: Positive = 100_000.0
    spread_points: Annotated[int, Meta(ge=0)] = 10
    volatility: Annotated[float, Meta(ge=0, le=1)] = 0.08

    @property
    def point(self) -> float:
        return round(10.0**-self.digits, self.digits)


DEFAULT_SYMBOLS = (
    Symbol("EURUSD", 1.085, "EUR", "USD", "Euro vs US Dollar"),
    Symbol("GBPUSD", 1.265, "GBP", "USD", "Pound Sterling vs US Dollar", spread_points=12),
    Symbol("AUDUSD", 0.655, "AUD", "USD", "Australian Dollar vs US Dollar", volatility=0.1),
    Symbol("USDJPY", 151.2, "USD", "JPY", "US Dollar vs Japanese Yen", digits=3),
    Symbol("USDCHF", 0.905, "USD", "CHF", "US Dollar vs Swiss Franc", spread_points=13),
    Symbol("USDCAD", 1.365, "USD", "CAD", "US Dollar vs Canadian Dollar", spread_points=14),
    Symbol("EURJPY", 164.1, "EUR", "JPY", "Euro vs Japanese Yen", digits=3, spread_points=16),
    Symbol("XAUUSD", 2350.0, "XAU", "USD", "Gold vs US Dollar", 2, 100.0, 25, 0.15),
)


class Book(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that a simulated terminal knows when it starts.

    `sessions`: when symbols are traded; on `weekdays` from Sunday to Friday, 22:00 UTC.
    """

    servers: tuple[Server, ...]
    accounts: tuple[Account, ...]
    symbols: tuple[Symbol, ...] = DEFAULT_SYMBOLS
    sessions: Literal["always", "weekdays"] = "always"

    def __repr__(self) -> str:
        return (
            f"<Book {len(self.accounts)} accounts on {len(self.servers)} servers, "
            f"{len(self.symbols)} symbols>"
        )


def load_book(path: Path | str) -> Book:
    """Read a book from a JSON file.

    Raises:
        BookError: it can't be read, or a field is unknown, missing, or has an impossible value.
    """
    try:
        book = msgspec.json.decode(Path(path).read_bytes(), type=Book)
    except OSError as error:
        raise BookError(f"book {path}: {error.strerror}; name a file that can be read") from error
    except UnicodeDecodeError as error:
        raise BookError(
            f"book {path}: byte {error.start} of a text is not UTF-8; save the file as UTF-8"
        ) from None
    except msgspec.DecodeError as error:
        raise BookError(f"book {path}: {explain(error, _KNOWN_FIELDS)}") from None
    check_book(book, str(path))
    return book


def dump_book(book: Book, path: Path | str) -> None:
    """Write a book as JSON, passwords included: keep the file as you would keep the accounts."""
    Path(path).write_bytes(msgspec.json.format(msgspec.json.encode(book), indent=2) + b"\n")


def check_book(book: Book, where: str = "book") -> None:
    """Check what holds between entries.

    Raises:
        BookError: the first contradiction found.
    """
    for problem in _contradictions(book):
        raise BookError(f"{where}: {problem}")


_KNOWN_FIELDS = frozenset(
    field
    for struct in (Book, Server, Account, Position, Order, Symbol)
    for field in struct.__struct_fields__
)


def explain(error: msgspec.DecodeError, known: Iterable[str]) -> str:
    """Turn a decoder's message into one that also says what to do."""
    unknown = re.search(r"unknown field `([^`]*)`", str(error))
    if unknown is None:
        return f"{error}; correct that value"
    close = difflib.get_close_matches(unknown[1], list(known), n=1)
    return f"{error}; {f'rename it to `{close[0]}`' if close else 'remove it'}"


def _contradictions(book: Book) -> Iterator[str]:
    yield from _repeated("server", (server.name for server in book.servers))
    yield from _repeated("symbol", (symbol.name for symbol in book.symbols))
    yield from _repeated("account", (f"{a.login}@{a.server}" for a in book.accounts))
    yield from _unconvertible(book)
    servers = {server.name for server in book.servers}
    symbols = {symbol.name for symbol in book.symbols}
    for account in book.accounts:
        who = f"account {account.login}@{account.server}"
        if account.server not in servers:
            yield f"{who}: field `server` names no server of the book; add it to `servers`"
        if account.margin_mode == "netting":
            yield from _repeated(
                f"{who}: field `positions`: a netting account holds one of a symbol;",
                (position.symbol for position in account.positions),
            )
        for symbol in _symbols_of(account):
            if symbol not in symbols:
                yield f"{who}: field `symbol` is {symbol!r}; add it to `symbols`"


def _symbols_of(account: Account) -> Iterator[str]:
    yield from (position.symbol for position in account.positions)
    yield from (order.symbol for order in account.orders)


def _repeated(what: str, names: Iterable[str]) -> Iterator[str]:
    for name, times in Counter(names).items():
        if times > 1:
            yield f"{what} {name} is there {times} times; keep one"


def _unconvertible(book: Book) -> Iterator[str]:
    """Profits are converted directly or through USD, so every currency needs a way to USD."""
    convertible = {"USD"}
    for symbol in book.symbols:
        pair = {symbol.currency_base, symbol.currency_profit}
        if "USD" in pair:
            convertible |= pair
    used = {symbol.currency_profit for symbol in book.symbols}
    for currency in sorted((used | {a.currency for a in book.accounts}) - convertible):
        yield f"currency {currency} can't be converted; add a symbol of {currency} and USD"
