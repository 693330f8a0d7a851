"""Prices move, agree with each other, and depend on nothing but seed and time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from mt5relay_worker.simulator import SimulatedMetaTrader5
from mt5relay_worker.simulator.book import DEFAULT_SYMBOLS, Account
from mt5relay_worker.simulator.market import Market, bar_end, bar_start
from mt5relay_worker.simulator.surface import Constants

NOW = 1_750_000_000.0
TIMEFRAMES = [value for name, value in vars(Constants).items() if name.startswith("TIMEFRAME_")]


def test_two_markets_of_one_seed_agree_at_any_time() -> None:
    one, other = Market(DEFAULT_SYMBOLS, 1), Market(DEFAULT_SYMBOLS, 1)
    assert other.quote("EURUSD", NOW) == one.quote("EURUSD", NOW)
    assert Market(DEFAULT_SYMBOLS, 2).quote("EURUSD", NOW) != one.quote("EURUSD", NOW)


def test_prices_move_and_the_ask_is_above_the_bid() -> None:
    market = Market(DEFAULT_SYMBOLS, 1)
    quotes = [market.quote("EURUSD", NOW + second) for second in range(0, 600, 10)]
    assert len(set(quotes)) > 20
    assert all(quote.ask > quote.bid for quote in quotes)


def test_currencies_convert_directly_inversely_and_through_dollars() -> None:
    market = Market(DEFAULT_SYMBOLS, 1)
    assert market.rate("USD", "USD", NOW) == 1
    assert market.rate("EUR", "USD", NOW) == market.quote("EURUSD", NOW).bid
    assert market.rate("USD", "EUR", NOW) == 1 / market.quote("EURUSD", NOW).ask
    assert market.rate("CHF", "CAD", NOW) == pytest.approx(1.365 / 0.905, rel=0.2)


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_bars_follow_one_another_and_hold_their_prices(timeframe: int) -> None:
    market = Market(DEFAULT_SYMBOLS, 1)
    start = bar_start(timeframe, int(NOW))
    assert start <= NOW < bar_end(timeframe, start)
    assert bar_start(timeframe, bar_end(timeframe, start)) == bar_end(timeframe, start)
    bar = market.bar("EURUSD", timeframe, start, NOW, 0)
    assert bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high


def test_the_current_bar_closes_at_the_current_bid(
    make_terminal: Callable[..., SimulatedMetaTrader5],
    log_in: Callable[..., bool],
    alice: Account,
) -> None:
    mt5 = make_terminal()
    log_in(mt5, alice)
    tick = mt5.symbol_info_tick("EURUSD")
    rates = mt5.copy_rates_from_pos("EURUSD", mt5.TIMEFRAME_M5, 0, 3)
    assert tick is not None
    assert rates is not None
    assert [row["time"] % 300 for row in rates] == [0, 0, 0]
    assert rates[-1].close == rates["close"][-1] == tick.bid
    assert rates.dtype.names[:2] == ("time", "open")
    assert rates.tolist()[0][0] == rates[0].time


def test_times_are_those_of_the_servers_clock(
    make_terminal: Callable[..., SimulatedMetaTrader5],
    log_in: Callable[..., bool],
    alice: Account,
    virtual_time: Any,
) -> None:
    mt5 = make_terminal()
    log_in(mt5, alice)
    tick = mt5.symbol_info_tick("EURUSD")
    assert tick is not None
    assert tick.time == int(virtual_time.now) + 3 * 3600


def test_rates_and_ticks_can_be_asked_for_by_date(
    make_terminal: Callable[..., SimulatedMetaTrader5],
    log_in: Callable[..., bool],
    alice: Account,
) -> None:
    mt5 = make_terminal()
    log_in(mt5, alice)
    since, until = datetime(2025, 6, 10, tzinfo=UTC), datetime(2025, 6, 10, 5, tzinfo=UTC)
    in_range = mt5.copy_rates_range("EURUSD", mt5.TIMEFRAME_H1, since, until)
    up_to = mt5.copy_rates_from("EURUSD", mt5.TIMEFRAME_H1, until, 6)
    assert in_range == up_to
    assert in_range is not None
    assert [row.time for row in in_range] == [
        round(since.timestamp()) + 3600 * hour for hour in range(6)
    ]
    ticks = mt5.copy_ticks_from("EURUSD", since, 10, mt5.COPY_TICKS_ALL)
    assert ticks is not None
    assert [tick["time_msc"] % 500 for tick in ticks] == [0] * 10
    assert mt5.copy_ticks_range("EURUSD", since, until, mt5.COPY_TICKS_TRADE) == []


def test_an_unknown_symbol_is_not_found(make_terminal: Callable[..., SimulatedMetaTrader5]) -> None:
    mt5 = make_terminal()
    for call in (mt5.symbol_info, mt5.symbol_info_tick, mt5.market_book_get):
        assert call("NOPE") is None
        assert mt5.last_error() == (-4, "Terminal: Not found")
    assert mt5.copy_rates_from_pos("NOPE", 1, 0, 1) is None
    assert mt5.last_error()[0] == -4


def test_symbols_come_by_group(make_terminal: Callable[..., SimulatedMetaTrader5]) -> None:
    mt5 = make_terminal()
    found = mt5.symbols_get("*USD,!XAU*")
    assert found is not None
    assert {symbol.name for symbol in found} == {"EURUSD", "GBPUSD", "AUDUSD"}
    assert mt5.symbols_total() == len(DEFAULT_SYMBOLS)
    assert mt5.symbols_get("") == mt5.symbols_get(group="") == mt5.symbols_get()
    assert mt5.market_book_add("EURUSD")
    rows = mt5.market_book_get("EURUSD")
    assert rows is not None
    assert [row.price for row in rows] == sorted((row.price for row in rows), reverse=True)
