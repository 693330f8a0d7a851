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
