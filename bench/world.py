"""The look-ups that every contestant answers, and the book of accounts behind them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mt5relay_worker.simulator import Book, dump_book
from mt5relay_worker.simulator.book import Account, Server, Symbol

Scenario = Literal["ticks", "switches"]

SERVER = "Bench-Demo"
FIRST_LOGIN = 10_000_001
ACCOUNTS = 1200  # above the most in flight, so that no two who wait share an account
SYMBOLS = 1536  # likewise; even, so that two gateways never ask for the same one


@dataclass(frozen=True, slots=True)
class Lookup:
    """One question to the terminal."""

    account: str
    operation: str
    arguments: dict[str, Any]

    @property
    def login(self) -> int:
        return int(self.account.partition("@")[0])


def lookup(scenario: Scenario, number: int) -> Lookup:
    """The n-th question: another symbol of one account, or one symbol of another account."""
    if scenario == "ticks":
        return Lookup(account(0), "tick", {"symbol": symbol(number % SYMBOLS)})
    return Lookup(account(number % ACCOUNTS), "tick", {"symbol": symbol(0)})


def account(number: int) -> str:
    return f"{FIRST_LOGIN + number}@{SERVER}"


def symbol(number: int) -> str:
    return f"SYM{number:04}"


def password(login: int) -> str:
    return f"invented-{login}"


def write_book(path: Path, accounts: int = ACCOUNTS) -> None:
    """Accounts without positions: valuing those would be the simulator's time, not the path's."""
    logins = range(FIRST_LOGIN, FIRST_LOGIN + accounts)
    book = Book(
        servers=(Server(SERVER),),
        accounts=tuple(Account(login, SERVER, password(login)) for login in logins),
        symbols=tuple(Symbol(symbol(n), 1.0 + n / SYMBOLS, "EUR", "USD") for n in range(SYMBOLS)),
    )
    dump_book(book, path)
