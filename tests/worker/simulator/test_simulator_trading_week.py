"""Where a book says so, nothing is traded at weekends."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from mt5relay_worker.simulator import Book, Faults, SimulatedMetaTrader5
from mt5relay_worker.simulator.book import Account
from mt5relay_worker.simulator.trading_week import last_open

CLOSING = datetime(2025, 6, 13, 22, tzinfo=UTC)  # a Friday
OPENING = CLOSING + timedelta(days=2)
MakeTerminal = Callable[..., SimulatedMetaTrader5]


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (CLOSING - timedelta(seconds=1), CLOSING - timedelta(seconds=1)),
        (CLOSING + timedelta(hours=1), CLOSING),
        (OPENING - timedelta(seconds=1), CLOSING),
        (OPENING, OPENING),
        (OPENING + timedelta(days=4), OPENING + timedelta(days=4)),
    ],
)
def test_trade_rests_from_friday_to_sunday(at: datetime, expected: datetime) -> None:
    assert last_open(at.timestamp()) == expected.timestamp()


@pytest.fixture
def on_weekdays(book: Book, bob: Account, virtual_time: Any) -> SimulatedMetaTrader5:
    mt5 = SimulatedMetaTrader5(
        msgspec.structs.replace(book, sessions="weekdays"),
        faults=Faults(scale=0),
        clock=virtual_time.time,
        sleep=virtual_time.sleep,
    )
    assert mt5.initialize()
    assert mt5.login(bob.login, password=bob.password, server=bob.server)
    return mt5


def buy(mt5: SimulatedMetaTrader5) -> int:
    request = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0}
    result = mt5.order_send(request)
    assert result is not None
    return result.retcode


def test_at_a_weekend_prices_stand_still_and_nothing_is_traded(
    on_weekdays: SimulatedMetaTrader5, virtual_time: Any
) -> None:
    virtual_time.now = CLOSING.timestamp() + 3_600
    before = on_weekdays.symbol_info_tick("EURUSD")
    virtual_time.now += 3_600
    assert on_weekdays.symbol_info_tick("EURUSD") == before
    assert buy(on_weekdays) == on_weekdays.TRADE_RETCODE_MARKET_CLOSED
    virtual_time.now = OPENING.timestamp() + 60
    assert on_weekdays.symbol_info_tick("EURUSD") != before
    assert buy(on_weekdays) == on_weekdays.TRADE_RETCODE_DONE


def test_a_market_that_was_closed_takes_no_orders(
    make_terminal: MakeTerminal, log_in: Callable[..., bool], bob: Account
) -> None:
    mt5 = make_terminal(Faults(scale=0, market_closed=True))
    log_in(mt5, bob)
    assert buy(mt5) == mt5.TRADE_RETCODE_MARKET_CLOSED
