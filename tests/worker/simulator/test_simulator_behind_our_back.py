"""What happens on a terminal that nobody told the caller of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mt5relay_worker.simulator import Book, Faults, SimulatedMetaTrader5
from mt5relay_worker.simulator.book import Account, Server

MakeTerminal = Callable[..., SimulatedMetaTrader5]
LogIn = Callable[[SimulatedMetaTrader5, Account], bool]


def test_an_account_that_somebody_else_logged_in_to_arrives_in_stages_too(
    virtual_time: Any, alice: Account, bob: Account
) -> None:
    faults = Faults(scale=0, account_changed_probability=1, lists_empty_seconds=3)
    book = Book((Server(alice.server),), (alice, bob))
    mt5 = SimulatedMetaTrader5(
        book, faults=faults, clock=virtual_time.time, sleep=virtual_time.sleep
    )
    assert mt5.initialize()
    assert mt5.login(bob.login, password=bob.password, server=bob.server)
    assert mt5.positions_total() == 0  # alice is logged in at this call
    mt5.terminal_info()  # and bob at this
    info = mt5.account_info()
    assert info is not None
    assert info.login == alice.login


def test_a_journal_that_can_not_be_written_loses_its_lines(
    make_terminal: MakeTerminal, log_in: LogIn, alice: Account, tmp_path: Path
) -> None:
    mt5 = make_terminal(Faults(scale=0, journal_silent=True), data_folder=tmp_path)
    log_in(mt5, alice)
    assert mt5.positions_total() == len(alice.positions)
    assert not (tmp_path / "logs").exists()
