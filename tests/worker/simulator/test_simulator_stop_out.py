"""An account that can't carry its positions any more loses them, the worst one first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mt5relay_worker.simulator import Book, Faults, SimulatedMetaTrader5
from mt5relay_worker.simulator.book import Account, Position, Server
from mt5relay_worker.simulator.stop_out import STOP_OUT_LEVEL

NOON = 1_750_000_000.0


def holder(balance: float, *positions: Position) -> Account:
    return Account(
        login=11,
        server="Broker-Demo",
        password="invented",
        balance=balance,
        leverage=100,
        positions=positions,
    )


@pytest.fixture
def log_in_to() -> Callable[[Account], SimulatedMetaTrader5]:
    def log_in_to(account: Account) -> SimulatedMetaTrader5:
        book = Book((Server("Broker-Demo", "Broker"),), (account,))
        mt5 = SimulatedMetaTrader5(
            book, faults=Faults(scale=0), clock=lambda: NOON, sleep=lambda _: None
        )
        assert mt5.initialize()
        assert mt5.login(account.login, password=account.password, server=account.server)
        return mt5

    return log_in_to


def some(found: Any) -> Any:
    assert found is not None
    return found


# Bought at nearly twice today's price: it needs a margin of 2 000 and loses about 90 000.
LOST = Position("EURUSD", "buy", 1.0, 2.0)
FINE = Position("USDJPY", "buy", 0.01)


def test_the_losing_position_goes_and_the_other_stays(
    log_in_to: Callable[[Account], SimulatedMetaTrader5],
) -> None:
    loss = -some(log_in_to(holder(1_000_000.0, LOST)).account_info()).profit
    mt5 = log_in_to(holder(loss + 300.0, FINE, LOST))
    assert [held.symbol for held in some(mt5.positions_get())] == ["USDJPY"]
    info = some(mt5.account_info())
    assert info.margin_so_so == STOP_OUT_LEVEL
    assert info.margin_level > STOP_OUT_LEVEL
    assert info.equity == pytest.approx(info.balance + info.credit + info.profit, abs=0.011)
    (closed,) = [
        deal
        for deal in some(mt5.history_deals_get(0, 2**31 - 1))
        if deal.reason == mt5.DEAL_REASON_SO
    ]
    assert (closed.symbol, closed.entry) == ("EURUSD", mt5.DEAL_ENTRY_OUT)
    assert closed.profit == -loss


def test_without_equity_everything_goes(
    log_in_to: Callable[[Account], SimulatedMetaTrader5],
) -> None:
    mt5 = log_in_to(holder(1_000.0, FINE, LOST))
    assert mt5.positions_get() == ()
    info = some(mt5.account_info())
    assert (info.margin, info.profit, info.equity) == (0, 0, info.balance)


def test_an_account_that_can_carry_its_loss_keeps_its_positions(
    log_in_to: Callable[[Account], SimulatedMetaTrader5],
) -> None:
    mt5 = log_in_to(holder(1_000_000.0, FINE, LOST))
    assert len(some(mt5.positions_get())) == 2
