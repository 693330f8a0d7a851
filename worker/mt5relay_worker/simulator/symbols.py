"""Symbols as the terminal describes them, and the groups in which they are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Protocol, TypeVar

from mt5relay_worker.simulator.book import Symbol
from mt5relay_worker.simulator.market import Market, bar_start
from mt5relay_worker.simulator.structures import BookInfo, SymbolInfo, zeros
from mt5relay_worker.simulator.surface import Constants
from mt5relay_worker.simulator.trading import VOLUME_MAX, VOLUME_MIN, VOLUME_STEP

_ALL_EXPIRATIONS, _FOK_AND_IOC, _ALL_ORDERS = 15, 3, 127
_BLANK = SymbolInfo._make(zeros(SymbolInfo))
_DEPTH = 5


class Named(Protocol):
    """A record about a symbol."""

    @property
    def symbol(self) -> str: ...


NamedT = TypeVar("NamedT", bound=Named)


def is_in_group(name: str, group: str) -> bool:
    """Whether a name fits a group: patterns with `*`, commas between, `!` for exceptions.

    >>> is_in_group("EURUSD", "*USD,!GBP*"), is_in_group("GBPUSD", "*USD,!GBP*")
    (True, False)
    """
    patterns = [pattern.strip() for pattern in group.split(",")]
    excluded = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    included = [pattern for pattern in patterns if pattern and not pattern.startswith("!")]
    return any(fnmatchcase(name, pattern) for pattern in included) and not any(
        fnmatchcase(name, pattern) for pattern in excluded
    )


def of_group(rows: Iterable[NamedT], group: str | None) -> tuple[NamedT, ...]:
    return tuple(row for row in rows if group is None or is_in_group(row.symbol, group))


def describe(
    symbol: Symbol, market: Market, at: float, *, offset: int, currency: str
) -> SymbolInfo:
    """`symbol_info()`. Tick values are in `currency`, the account's."""
    shown = int(at + offset)
    day = bar_start(Constants.TIMEFRAME_D1, shown)
    bar = market.bar(symbol.name, Constants.TIMEFRAME_D1, day, at, offset)
    bid, ask = market.quote(symbol.name, at)
    width = ask - bid
    rate = market.rate(symbol.currency_profit, currency, at)
    tick_value = symbol.point * symbol.contract_size * rate
    kind = "Forex" if symbol.contract_size == 100_000 else "Metals"
    return _BLANK._replace(
        time=shown,
        digits=symbol.digits,
        spread=market.spread(symbol.name, at),
        spread_float=True,
        ticks_bookdepth=_DEPTH,
        trade_calc_mode=Constants.SYMBOL_CALC_MODE_FOREX,
        trade_mode=Constants.SYMBOL_TRADE_MODE_FULL,
        trade_exemode=Constants.SYMBOL_TRADE_EXECUTION_MARKET,
        swap_mode=Constants.SYMBOL_SWAP_MODE_DISABLED,
        swap_rollover3days=Constants.DAY_OF_WEEK_WEDNESDAY,
        margin_hedged_use_leg=True,
        expiration_mode=_ALL_EXPIRATIONS,
        filling_mode=_FOK_AND_IOC,
        order_mode=_ALL_ORDERS,
        bid=bid,
        bidhigh=max(bar.high, bid),
        bidlow=min(bar.low, bid),
        ask=ask,
        askhigh=round(max(bar.high, bid) + width, symbol.digits),
        asklow=round(min(bar.low, bid) + width, symbol.digits),
        point=symbol.point,
        trade_tick_value=tick_value,
        trade_tick_value_profit=tick_value,
        trade_tick_value_loss=tick_value,
        trade_tick_size=symbol.point,
        trade_contract_size=symbol.contract_size,
        volume_min=VOLUME_MIN,
        volume_max=VOLUME_MAX,
        volume_step=VOLUME_STEP,
        session_open=bar.open,
        session_close=bar.open,
        price_change=(bid / bar.open - 1) * 100,
        currency_base=symbol.currency_base,
        currency_profit=symbol.currency_profit,
        currency_margin=symbol.currency_base,
        description=symbol.description,
        name=symbol.name,
        path=f"{kind}\\{symbol.name}",
    )


def depth(symbol: Symbol, market: Market, at: float) -> tuple[BookInfo, ...]:
    """A few rows on either side of the spread, dearest first; deeper rows hold more."""
    bid, ask = market.quote(symbol.name, at)
    asks = [
        BookInfo(
            Constants.BOOK_TYPE_SELL,
            round(ask + row * symbol.point, symbol.digits),
            row,
            float(row),
        )
        for row in range(1, _DEPTH + 1)
    ]
    bids = [
        BookInfo(
            Constants.BOOK_TYPE_BUY, round(bid - row * symbol.point, symbol.digits), row, float(row)
        )
        for row in range(1, _DEPTH + 1)
    ]
    return (*reversed(asks), *bids)
