"""The journal that a simulated terminal keeps, in the format of the real one."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from mt5relay_worker.simulator import Book, Faults, SimulatedMetaTrader5
from mt5relay_worker.simulator.book import Account

MakeTerminal = Callable[..., SimulatedMetaTrader5]
LogIn = Callable[[SimulatedMetaTrader5, Account], bool]
LINE = re.compile(r"[A-Z]{2}\t[0-9]\t\d\d:\d\d:\d\d\.\d{3}\t(?:Terminal|Network)\t[^\t]+")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def written(data: Path) -> list[str]:
    """Every line of every day, as it stands in the files."""
    lines: list[str] = []
    for path in sorted((data / "logs").iterdir()):
        raw = path.read_bytes()
        assert raw.startswith(codecs.BOM_UTF16_LE)
        text = raw.removeprefix(codecs.BOM_UTF16_LE).decode("utf-16-le")
        assert text.endswith("\r\n")
        lines += text.removesuffix("\r\n").split("\r\n")
    return lines


def said_of(data: Path, account: Account) -> list[str]:
    """What was said of an account, without the details that are invented."""
    marked = f"Network\t'{account.login}': "
    found = (line.partition(marked)[2] for line in written(data) if marked in line)
    return [re.sub(r" through .*|, \d+ symbols.*", "", words) for words in found]


def test_a_login_is_told_step_by_step(
    make_terminal: MakeTerminal, log_in: LogIn, alice: Account, data: Path
) -> None:
    mt5 = make_terminal(data_folder=data)
    log_in(mt5, alice)
    assert said_of(data, alice) == [
        "authorized on MetaQuotes-Demo",
        "terminal synchronized with Simulated Broker Ltd.: 2 positions, 1 orders",
        "trading has been enabled, demo account - hedging mode",
    ]
    lines = written(data)
    assert all(LINE.fullmatch(line) for line in lines)
    assert "MetaTrader 5 x64 build 5200 started" in lines[0]


def test_the_data_folder_is_where_the_terminal_says_and_knows_its_origin(
    make_terminal: MakeTerminal, data: Path
) -> None:
    info = make_terminal(data_folder=data).terminal_info()
    assert info is not None
    assert info.data_path == str(data)
    origin = (data / "origin.txt").read_bytes().decode("utf-16")
    assert origin == info.path == "C:\\Program Files\\MetaTrader 5"


def test_without_a_folder_nothing_is_written(
    make_terminal: MakeTerminal,
    log_in: LogIn,
    alice: Account,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    log_in(make_terminal(), alice)
    assert list(tmp_path.iterdir()) == []


def test_an_investor_is_told_that_trading_is_disabled(
    make_terminal: MakeTerminal, data: Path, book: Book
) -> None:
    readable = next(account for account in book.accounts if account.investor_password)
    mt5 = make_terminal(data_folder=data)
    mt5.login(readable.login, password=readable.investor_password, server=readable.server)
    assert said_of(data, readable)[-1] == "trading has been disabled - investor mode"


def test_a_synchronization_is_told_when_the_lists_are_really_there(
    make_terminal: MakeTerminal, log_in: LogIn, alice: Account, data: Path, virtual_time: Any
) -> None:
    mt5 = make_terminal(Faults(scale=0, lists_empty_seconds=3), data_folder=data)
    log_in(mt5, alice)
    virtual_time.now += 2.9
    assert mt5.positions_total() == 0
    assert said_of(data, alice) == ["authorized on MetaQuotes-Demo"]
    virtual_time.now += 0.1
    assert mt5.positions_total() == 2
    assert "terminal synchronized" in said_of(data, alice)[1]


def test_lists_that_never_come_are_never_told_of(
    make_terminal: MakeTerminal, log_in: LogIn, alice: Account, data: Path, virtual_time: Any
) -> None:
    mt5 = make_terminal(Faults(scale=0, lists_empty_seconds=None), data_folder=data)
    log_in(mt5, alice)
    virtual_time.now += 3_000
    mt5.positions_total()
    assert len(said_of(data, alice)) == 1
    log_in(mt5, alice)
    assert "terminal synchronized" in said_of(data, alice)[2]


def test_an_account_that_was_left_too_early_is_not_synchronized_later(
    make_terminal: MakeTerminal, log_in: LogIn, book: Book, data: Path, virtual_time: Any
) -> None:
    alice, bob, _ = book.accounts
    mt5 = make_terminal(Faults(scale=0, lists_empty_seconds=3), data_folder=data)
    log_in(mt5, alice)
    log_in(mt5, bob)
    virtual_time.now += 10
    mt5.positions_total()
    assert said_of(data, alice) == ["authorized on MetaQuotes-Demo"]
    assert "0 positions, 0 orders" in said_of(data, bob)[1]


@pytest.mark.parametrize(
    ("server", "faults", "said"),
    [
        ("MetaQuotes-Demo", Faults(scale=0), ["authorization on MetaQuotes-Demo failed"]),
        ("Nobodys-Live", Faults(scale=0), []),
        (
            "MetaQuotes-Demo",
            Faults(scale=0, broker_link_lost=True),
            ["no connection to MetaQuotes-Demo"],
        ),
    ],
)
def test_a_login_that_failed_is_told_with_its_reason(
    make_terminal: MakeTerminal,
    alice: Account,
    data: Path,
    *,
    server: str,
    faults: Faults,
    said: list[str],
) -> None:
    mt5 = make_terminal(faults, data_folder=data)
    assert not mt5.login(alice.login, password="wrong", server=server)
    assert [words.partition(" (")[0] for words in said_of(data, alice)] == said


def test_a_new_day_has_a_file_of_its_own(
    make_terminal: MakeTerminal, log_in: LogIn, alice: Account, data: Path, virtual_time: Any
) -> None:
    midnight = datetime.fromisoformat("2026-03-26T00:00:00").timestamp()
    virtual_time.now = midnight - 2
    mt5 = make_terminal(Faults(scale=0, lists_empty_seconds=3), data_folder=data)
    log_in(mt5, alice)
    virtual_time.now = midnight + 5
    mt5.positions_total()
    assert [path.name for path in sorted((data / "logs").iterdir())] == [
        "20260325.log",
        "20260326.log",
    ]
    assert written(data)[-1].split("\t")[2] == "00:00:01.000"


def test_lines_can_be_late(
    make_terminal: MakeTerminal, log_in: LogIn, alice: Account, data: Path, virtual_time: Any
) -> None:
    mt5 = make_terminal(Faults(scale=0, journal_delay_seconds=5), data_folder=data)
    log_in(mt5, alice)
    assert not (data / "logs").exists()
    virtual_time.now += 5
    mt5.positions_total()
    assert len(said_of(data, alice)) == 3


def test_a_second_terminal_writes_on_in_the_same_file(
    make_terminal: MakeTerminal, log_in: LogIn, alice: Account, data: Path
) -> None:
    for _ in range(2):
        log_in(make_terminal(data_folder=data), alice)
    assert len(said_of(data, alice)) == 6


def test_a_terminal_that_was_started_again_logs_in_again(
    make_terminal: MakeTerminal, log_in: LogIn, alice: Account, data: Path
) -> None:
    mt5 = make_terminal(Faults(scale=0, terminal_dies_every_switches=1), data_folder=data)
    log_in(mt5, alice)
    mt5.initialize()
    assert said_of(data, alice).count("authorized on MetaQuotes-Demo") == 2
    assert sum("started" in line for line in written(data)) == 2


def test_a_closed_market_does_not_tick(
    make_terminal: MakeTerminal, log_in: LogIn, alice: Account, tmp_path: Path, virtual_time: Any
) -> None:
    switch = tmp_path / "faults.json"
    switch.write_text('{"scale": 0}')
    mt5 = make_terminal(faults_file=switch)
    log_in(mt5, alice)
    switch.write_text('{"scale": 0, "market_closed": true}')
    before = mt5.symbol_info_tick("EURUSD")
    virtual_time.now += 3_000
    assert mt5.symbol_info_tick("EURUSD") == before
    info = mt5.terminal_info()
    assert info is not None
    assert info.connected
    switch.write_text('{"scale": 0}')
    assert mt5.symbol_info_tick("EURUSD") != before
