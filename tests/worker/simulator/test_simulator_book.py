"""A book says what it cannot accept, and never shows a password."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from mt5relay_worker.simulator import (
    Book,
    BookError,
    SimulatedMetaTrader5,
    dump_book,
    generate_book,
    load_book,
)

ACCOUNT = {"login": 10_000_001, "server": "MetaQuotes-Demo", "password": "invented-1"}


def write(path: Path, **changes: Any) -> Path:
    content = {"servers": [{"name": "MetaQuotes-Demo"}], "accounts": [ACCOUNT], **changes}
    path.write_bytes(msgspec.json.encode(content))
    return path


def test_the_shortest_account_has_login_server_and_password(tmp_path: Path) -> None:
    account = load_book(write(tmp_path / "book.json")).accounts[0]
    assert (account.balance, account.currency, account.leverage) == (10_000.0, "USD", 100)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"accounts": [{**ACCOUNT, "ballance": 1}]}, "rename it to `balance`"),
        ({"accounts": [{**ACCOUNT, "zzzzzz": 1}]}, "`zzzzzz`.*remove it"),
        ({"accounts": [{**ACCOUNT, "server": "Nowhere"}]}, "`server` names no server"),
        ({"accounts": [ACCOUNT, ACCOUNT]}, "10000001@MetaQuotes-Demo is there 2 times"),
        ({"accounts": [{**ACCOUNT, "currency": "SEK"}]}, "SEK can't be converted"),
        ({"accounts": [{"login": 1}]}, "missing required field `server`"),
        (
            {"accounts": [{**ACCOUNT, "positions": [{"symbol": "X", "side": "buy", "volume": 1}]}]},
            "`symbol` is 'X'",
        ),
        (
            {"accounts": [{**ACCOUNT, "positions": [{"symbol": "X", "side": "up", "volume": 1}]}]},
            "side",
        ),
    ],
)
def test_a_bad_field_is_named_with_a_remedy(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(BookError, match=said):
        load_book(write(tmp_path / "book.json", **changes))


def test_a_netting_account_holds_one_position_of_a_symbol(tmp_path: Path) -> None:
    held = [{"symbol": "EURUSD", "side": side, "volume": 0.1} for side in ("buy", "sell")]
    netting = {**ACCOUNT, "margin_mode": "netting", "positions": held}
    with pytest.raises(BookError, match=r"10000001@.*`positions`.* EURUSD is there 2 times"):
        load_book(write(tmp_path / "book.json", accounts=[netting]))
    load_book(write(tmp_path / "book.json", accounts=[{**netting, "margin_mode": "hedging"}]))


def test_a_book_in_another_encoding_is_a_book_error(tmp_path: Path) -> None:
    path = write(tmp_path / "book.json", accounts=[{**ACCOUNT, "name": "Jo"}])
    path.write_bytes(path.read_bytes().replace(b"Jo", "Jörg".encode("latin-1")))
    with pytest.raises(BookError, match="not UTF-8; save the file as UTF-8"):
        load_book(path)


@pytest.mark.parametrize(("currency", "digits"), [("USD", 2), ("JPY", 0), ("BTC", 8)])
def test_amounts_have_the_digits_of_their_currency(
    tmp_path: Path, currency: str, digits: int
) -> None:
    held = [{"symbol": "EURUSD", "side": "buy", "volume": 0.01}]
    bitcoin = {"name": "BTCUSD", "price": 60_000.0, "currency_base": "BTC"}
    symbols = [
        {"name": "EURUSD", "price": 1.1, "currency_base": "EUR", "currency_profit": "USD"},
        {"name": "USDJPY", "price": 150.0, "currency_base": "USD", "currency_profit": "JPY"},
        {**bitcoin, "currency_profit": "USD", "digits": 2},
    ]
    account = {**ACCOUNT, "currency": currency, "balance": 1_000.0, "positions": held}
    book = load_book(write(tmp_path / "book.json", accounts=[account], symbols=symbols))
    terminal = SimulatedMetaTrader5(book, speed=0)
    assert terminal.initialize()
    assert terminal.login(ACCOUNT["login"], password="invented-1", server="MetaQuotes-Demo")
    info = terminal.account_info()
    assert info is not None
    assert info.currency_digits == digits
    assert info.margin > 0
    for amount in (info.margin, info.equity, info.profit, info.margin_free):
        assert amount == round(amount, digits)
    assert digits < 8 or info.margin < 0.001


def test_a_book_that_is_not_there_is_a_book_error(tmp_path: Path) -> None:
    with pytest.raises(BookError, match="name a file that can be read"):
        load_book(tmp_path / "missing.json")


def test_a_book_survives_its_file(tmp_path: Path) -> None:
    book = generate_book(5, seed=3)
    dump_book(book, tmp_path / "book.json")
    assert load_book(tmp_path / "book.json") == book


def test_the_same_seed_generates_the_same_book() -> None:
    assert generate_book(10, seed=1) == generate_book(10, seed=1)
    assert generate_book(10, seed=1) != generate_book(10, seed=2)
    passwords = {account.password for account in generate_book().accounts}
    assert len(passwords) == 25


def test_no_repr_shows_a_password(book: Book) -> None:
    mt5 = SimulatedMetaTrader5(book, speed=0)
    shown = f"{book!r} {book.accounts!r} {mt5!r}"
    assert "invented" not in shown
    assert "readonly" not in shown
