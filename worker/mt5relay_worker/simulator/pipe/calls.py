"""Which call of the package a command of the pipe is, and what its result is on the pipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from mt5relay_worker.simulator.market import TICK_SECONDS
from mt5relay_worker.simulator.pipe.codec import Request
from mt5relay_worker.simulator.pipe.commands import COMMANDS, Code, Shape
from mt5relay_worker.simulator.structures import TradeRequest
from mt5relay_worker.simulator.surface import CallError, Constants

MAX_BARS: Final = 100_000  # what `terminal_info().maxbars` says
MAX_TICKS: Final = 1_000_000
_DAY_SECONDS = 86_400
_WEEKS_AND_MONTHS = 0x8000
_EARLIEST, _LATEST = -(1 << 31), (1 << 31) - 1  # seconds since 1970; the package sends no others


@dataclass(frozen=True, slots=True)
class PackageCall:
    """A call of a function of the package."""

    function: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])


def package_call(request: Request, now: float) -> PackageCall:
    """The call that a command stands for; HELLO, LOGIN and AUTHORIZATION stand for none.

    More bars and ticks than a terminal gives at once are not asked for. `now` is in seconds.
    """
    function, given = _FUNCTIONS[request.command], request.parameters
    if request.command in _KEYWORDS:
        return PackageCall(function, kwargs={_KEYWORDS[request.command]: given[0]})
    if request.command in _ARGUMENTS:
        return PackageCall(function, _ARGUMENTS[request.command](now, *given))
    return PackageCall(function, given)


def answer_of(command: int, found: object, code: int) -> object:
    """What to answer with after a call that returned `found` and left `code` as its last error.

    Raises:
        CallError: no data but a status.
    """
    if code < 0:
        raise CallError(code)
    if found is None:  # the pipe has no way to say "not ready, and no error"
        raise CallError(Constants.RES_E_FAIL)
    if found is False:
        raise CallError(Constants.RES_E_NOT_FOUND)
    if COMMANDS[command].answer.shape is Shape.RECORD and type(found) is tuple:
        return _only(cast("tuple[object, ...]", found))
    return found


def _only(found: tuple[object, ...]) -> object:
    """By ticket the package gives a tuple, the pipe one record."""
    if not found:
        raise CallError(Constants.RES_E_NOT_FOUND)
    return found[0]


def _signed(value: int) -> int:
    """The pipe has no sign where the package has one."""
    return value - (1 << 32) if value >= 1 << 31 else value


def _moment(seconds: int) -> int:
    return max(_EARLIEST, min(_LATEST, seconds))


def _span(_: float, since: int, until: int) -> tuple[Any, ...]:
    return _moment(since), _moment(until)


def _ticks_from(_: float, name: str, since: int, count: int, flags: int) -> tuple[Any, ...]:
    return name, _moment(since // 1000), min(_signed(count), MAX_TICKS), _signed(flags)


def _ticks_range(now: float, name: str, since: int, until: int, flags: int) -> tuple[Any, ...]:
    newest = min(_moment(until // 1000), int(now) + _DAY_SECONDS)
    oldest = max(_moment(since // 1000), newest - int(MAX_TICKS * TICK_SECONDS))
    return name, oldest, newest, _signed(flags)


def _rates_from(_: float, name: str, timeframe: int, newest: int, count: int) -> tuple[Any, ...]:
    return name, _signed(timeframe), _moment(newest), min(_signed(count), MAX_BARS)


def _rates_range(now: float, name: str, timeframe: int, since: int, until: int) -> tuple[Any, ...]:
    newest = min(_moment(until), int(now) + _DAY_SECONDS)
    oldest = max(_moment(since), newest - _longest_span(timeframe))
    return name, _signed(timeframe), oldest, newest


def _longest_span(timeframe: int) -> int:
    """Seconds of as many bars as are given at once."""
    if timeframe & _WEEKS_AND_MONTHS:
        return 1 << 62
    hours_or_minutes = timeframe & 0x3FFF
    return hours_or_minutes * (3600 if timeframe & 0x4000 else 60) * MAX_BARS


def _rates_from_pos(_: float, name: str, timeframe: int, first: int, count: int) -> tuple[Any, ...]:
    return name, _signed(timeframe), _signed(first), min(_signed(count), MAX_BARS)


def _trade(_: float, asked: TradeRequest) -> tuple[Any, ...]:
    return (asked._asdict(),)


def _nothing(_: float, _given: object) -> tuple[Any, ...]:
    return ()


_FUNCTIONS: Final[Mapping[int, str]] = {
    Code.VERSION: "version",
    Code.TERMINAL_INFO: "terminal_info",
    Code.ACCOUNT_INFO: "account_info",
    Code.POSITIONS_TOTAL: "positions_total",
    Code.POSITIONS: "positions_get",
    Code.POSITIONS_OF_SYMBOL: "positions_get",
    Code.POSITION: "positions_get",
    Code.ORDERS_TOTAL: "orders_total",
    Code.ORDERS: "orders_get",
    Code.ORDERS_OF_SYMBOL: "orders_get",
    Code.ORDER: "orders_get",
    Code.PAST_ORDERS_TOTAL: "history_orders_total",
    Code.PAST_ORDERS: "history_orders_get",
    Code.PAST_ORDERS_OF_POSITION: "history_orders_get",
    Code.PAST_ORDER: "history_orders_get",
    Code.DEALS_TOTAL: "history_deals_total",
    Code.DEALS: "history_deals_get",
    Code.DEALS_OF_POSITION: "history_deals_get",
    Code.DEAL_OF_ORDER: "history_deals_get",
    Code.ORDER_CHECK: "order_check",
    Code.ORDER_SEND: "order_send",
    Code.CALC_MARGIN: "order_calc_margin",
    Code.CALC_PROFIT: "order_calc_profit",
    Code.SYMBOL: "symbol_info",
    Code.SYMBOL_SELECT: "symbol_select",
    Code.SYMBOL_TICK: "symbol_info_tick",
    Code.SYMBOLS_TOTAL: "symbols_total",
    Code.SYMBOLS: "symbols_get",
    Code.SYMBOLS_OF_GROUP: "symbols_get",
    Code.BOOK_ADD: "market_book_add",
    Code.BOOK_RELEASE: "market_book_release",
    Code.BOOK: "market_book_get",
    Code.TICKS_FROM: "copy_ticks_from",
    Code.TICKS_RANGE: "copy_ticks_range",
    Code.RATES_FROM: "copy_rates_from",
    Code.RATES_RANGE: "copy_rates_range",
    Code.RATES_FROM_POS: "copy_rates_from_pos",
}
_KEYWORDS: Final[Mapping[int, str]] = {
    Code.POSITIONS_OF_SYMBOL: "symbol",
    Code.POSITION: "ticket",
    Code.ORDERS_OF_SYMBOL: "symbol",
    Code.ORDER: "ticket",
    Code.PAST_ORDERS_OF_POSITION: "position",
    Code.PAST_ORDER: "ticket",
    Code.DEALS_OF_POSITION: "position",
    Code.DEAL_OF_ORDER: "ticket",
}
_ARGUMENTS: Final[Mapping[int, Callable[..., tuple[Any, ...]]]] = {
    Code.VERSION: _nothing,
    Code.PAST_ORDERS_TOTAL: _span,
    Code.PAST_ORDERS: _span,
    Code.DEALS_TOTAL: _span,
    Code.DEALS: _span,
    Code.TICKS_FROM: _ticks_from,
    Code.TICKS_RANGE: _ticks_range,
    Code.RATES_FROM: _rates_from,
    Code.RATES_RANGE: _rates_range,
    Code.RATES_FROM_POS: _rates_from_pos,
    Code.ORDER_CHECK: _trade,
    Code.ORDER_SEND: _trade,
}
