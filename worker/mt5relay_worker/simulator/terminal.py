"""The module face: every function, constant and structure of the MetaTrader5 package 5.0.6231.

Functions never raise for terminal errors: reads return None, `initialize` and `login` return False,
and `last_error()` says why until the next call. What is returned and left in `last_error()` before
`initialize` and after `shutdown`, and for wrong arguments, is as measured on the package.
"""

from __future__ import annotations

import functools
import itertools
import ntpath
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Concatenate, Literal, ParamSpec, TypeVar

from mt5relay_worker.simulator import structures
from mt5relay_worker.simulator.arguments import (
    Arguments,
    CopyArguments,
    OutOfRangeError,
    required,
    trade_request,
)
from mt5relay_worker.simulator.book import Book, Symbol, check_book
from mt5relay_worker.simulator.broker import BUY, SELL, Broker, Ledger
from mt5relay_worker.simulator.faults import Faults, FaultsFile
from mt5relay_worker.simulator.machine import Machine
from mt5relay_worker.simulator.market import Market, bar_starts_back
from mt5relay_worker.simulator.rows import RateRow, Rates, Rows, TickRow, Ticks
from mt5relay_worker.simulator.session import Session
from mt5relay_worker.simulator.surface import PACKAGE_VERSION, CallError, Constants
from mt5relay_worker.simulator.symbols import depth, describe, is_in_group, of_group
from mt5relay_worker.simulator.trading import Desk, check, refused, send

DEFAULT_TIMEOUT_MS = 60_000
_PING_MICROSECONDS = 38_400
_RELEASED = "1 Nov 2025"
_TIMEFRAMES = frozenset(
    value for name, value in vars(Constants).items() if name.startswith("TIMEFRAME_")
)

P = ParamSpec("P")
Found = TypeVar("Found")
Failed = TypeVar("Failed")
Call = Callable[Concatenate["SimulatedMetaTrader5", P], Found]


def _fails_with(failed: Failed) -> Callable[[Call[P, Found]], Call[P, Found | Failed]]:
    """Make a method a function of the package: it returns `failed` and leaves a last error."""

    def decorate(function: Call[P, Found]) -> Call[P, Found | Failed]:
        @functools.wraps(function)
        def call(
            terminal: SimulatedMetaTrader5, /, *args: P.args, **kwargs: P.kwargs
        ) -> Found | Failed:
            with_name = functools.partial(function, terminal, *args, **kwargs)
            return terminal.perform(function.__name__, with_name, failed)

        return call

    return decorate


class SimulatedMetaTrader5(Constants):
    """Use it wherever the module `MetaTrader5` is used.

    Args:
        book: the servers, accounts and symbols that exist.
        faults: what goes wrong and how long things take; by default only latencies.
        faults_file: a JSON file of faults that is read again whenever it changes; while it exists
            it takes the place of `faults`.
        seed: of prices, of the past, and of chance.
        speed: divides latencies; 0 for none. `Faults.scale` comes on top.
        clock: seconds since 1970. With `sleep` it makes virtual time.
        sleep: waits for so many seconds.

    Trades live as long as the object. Calls belong to one thread, as with the real package.
    """

    AccountInfo = structures.AccountInfo
    BookInfo = structures.BookInfo
    OrderCheckResult = structures.OrderCheckResult
    OrderSendResult = structures.OrderSendResult
    SymbolInfo = structures.SymbolInfo
    TerminalInfo = structures.TerminalInfo
    Tick = structures.Tick
    TradeDeal = structures.TradeDeal
    TradeOrder = structures.TradeOrder
    TradePosition = structures.TradePosition
    TradeRequest = structures.TradeRequest
    __version__ = PACKAGE_VERSION

    def __init__(
        self,
        book: Book,
        *,
        faults: Faults | None = None,
        faults_file: Path | None = None,
        seed: int = 0,
        speed: float = 1.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        check_book(book)
        self._market = Market(book.symbols, seed)
        self._broker = Broker(book, self._market, seed)
        self._machine = Machine(
            self._broker,
            FaultsFile(faults_file, faults or Faults()),
            random.Random(seed),
            clock,
            sleep,
            pace=1 / speed if speed else 0.0,
        )
        self._error = (0, "")
        self._selected = set(self._market.symbols)
        self._watched_depths: set[str] = set()
        self._request_ids = itertools.count(1)

    def __repr__(self) -> str:
        return f"<SimulatedMetaTrader5 {self._machine!r}, last error {self._error}>"

    def perform(self, name: str, function: Callable[[], Found], failed: Failed) -> Found | Failed:
        """Make a call and leave its last error; not part of the package's surface."""
        try:
            self._machine.enter(name)
            found = function()
        except CallError as error:
            self._error = (error.code, error.text)
            return failed
        except OutOfRangeError as error:
            self._error = (self.RES_E_INVALID_PARAMS, error.text)
            raise
        self._error = (self.RES_S_OK, "Success")
        return found

    def last_error(self) -> tuple[int, str]:
        """Code and text of the last call; (0, '') before any."""
        return self._error

    # -- the terminal -------------------------------------------------------------------------

    @_fails_with(False)
    def initialize(self, *args: object, **kwargs: object) -> bool:
        """`initialize([path], login=, password=, server=, timeout=ms, portable=)`."""
        given = Arguments(args, kwargs, places=1)
        path, login = given.text("path", 0), given.unsigned("login")
        password, server = given.text("password"), given.text("server")
        timeout = _seconds(given.unsigned("timeout", bits=32))
        given.flag("portable")
        self._machine.attach(path, timeout)
        if login is not None:
            self._log_in_or_detach(login, password, server, timeout)
        return True

    def _log_in_or_detach(
        self, login: int, password: str | None, server: str | None, timeout: float
    ) -> None:
        try:
            self._machine.log_in(login, password, server, timeout)
        except CallError:
            self._machine.drop_link()
            raise

    @_fails_with(False)
    def login(self, *args: object, **kwargs: object) -> bool:
        """`login(login, password=, server=, timeout=ms)`. After -6 the account stays as it was."""
        given = Arguments(args, kwargs, places=1)
        login = required("login", given.unsigned("login", 0))
        password, server = given.text("password"), given.text("server")
        timeout = _seconds(given.unsigned("timeout", bits=32))
        self._machine.log_in(login, password, server, timeout)
        return True

    @_fails_with(True)
    def shutdown(self) -> Literal[True]:
        """Detach; the terminal stays logged in."""
        self._machine.detach()
        return True

    @_fails_with((0, 0, ""))
    def version(self) -> tuple[int, int, str]:
        """Version, build and the day of the build."""
        self._machine.require_link()
        return (500, self._machine.build, _RELEASED)

    @_fails_with(None)
    def terminal_info(self) -> structures.TerminalInfo:
        """`connected` is the link to the broker, `trade_allowed` the Algo Trading button."""
        self._machine.require_link()
        folder = ntpath.dirname(self._machine.path)
        is_connected = not self._machine.faults.broker_link_lost
        return structures.TerminalInfo._make(structures.zeros(structures.TerminalInfo))._replace(
            connected=is_connected,
            trade_allowed=self._machine.is_algo_on,
            tradeapi_disabled=self._machine.faults.trade_api_disabled,
            build=self._machine.build,
            maxbars=100_000,
            codepage=1252,
            ping_last=_PING_MICROSECONDS if is_connected else 0,
            company="MetaQuotes Ltd.",
            name="MetaTrader 5 (simulated)",
            language="English",
            path=folder,
            data_path=folder,
            commondata_path=ntpath.join(folder, "Common"),
        )

    # -- the account --------------------------------------------------------------------------

    @_fails_with(None)
    def account_info(self) -> structures.AccountInfo | None:
        """The account logged in; login 0 where nobody is, None while it is not known."""
        session, ledger = self._session_and_ledger()
        if self._machine.now() < session.info_none_until:
            return None
        if ledger is None:
            return structures.AccountInfo._make(structures.zeros(structures.AccountInfo))
        info = ledger.info(self._machine.market_time(), session.access)
        if self._machine.now() < session.margin_zero_until:
            return info._replace(margin=0.0, margin_free=0.0, margin_level=0.0)
        return info

    @_fails_with(None)
    def positions_total(self) -> int:
        return len(self._positions())

    @_fails_with(None)
    def positions_get(
        self, *args: object, **kwargs: object
    ) -> tuple[structures.TradePosition, ...]:
        """`positions_get()`, or with one of `symbol=`, `group=`, `ticket=`."""
        given = Arguments(args, kwargs, places=0)
        symbol, group, ticket = (
            given.text("symbol"),
            given.text("group"),
            given.unsigned("ticket"),
        )
        found = of_group(self._positions(), group)
        return tuple(
            held
            for held in found
            if symbol in (None, held.symbol) and ticket in (None, held.ticket)
        )

    @_fails_with(None)
    def orders_total(self) -> int:
        return len(self._orders())

    @_fails_with(None)
    def orders_get(self, *args: object, **kwargs: object) -> tuple[structures.TradeOrder, ...]:
        """`orders_get()`, or with one of `symbol=`, `group=`, `ticket=`."""
        given = Arguments(args, kwargs, places=0)
        symbol, group, ticket = (
            given.text("symbol"),
            given.text("group"),
            given.unsigned("ticket"),
        )
        found = of_group(self._orders(), group)
        return tuple(
            order
            for order in found
            if symbol in (None, order.symbol) and ticket in (None, order.ticket)
        )

    @_fails_with(None)
    def history_orders_total(self, *args: object, **kwargs: object) -> int:
        """`history_orders_total(date_from, date_to)`."""
        since, until = _span(Arguments(args, kwargs, places=2))
        return sum(since <= order.time_done <= until for order in self._past_orders())

    @_fails_with(None)
    def history_orders_get(
        self, *args: object, **kwargs: object
    ) -> tuple[structures.TradeOrder, ...]:
        """`history_orders_get(date_from, date_to, group=)`, or `ticket=` or `position=`."""
        given = Arguments(args, kwargs, places=2)
        ticket, position = given.unsigned("ticket"), given.unsigned("position")
        if ticket is not None:
            return tuple(order for order in self._past_orders() if order.ticket == ticket)
        if position is not None:
            return tuple(order for order in self._past_orders() if order.position_id == position)
        since, until = _span(given)
        found = (order for order in self._past_orders() if since <= order.time_done <= until)
        return of_group(found, given.text("group"))

    @_fails_with(None)
    def history_deals_total(self, *args: object, **kwargs: object) -> int:
        """`history_deals_total(date_from, date_to)`."""
        since, until = _span(Arguments(args, kwargs, places=2))
        return sum(since <= deal.time <= until for deal in self._deals())

    @_fails_with(None)
    def history_deals_get(
        self, *args: object, **kwargs: object
    ) -> tuple[structures.TradeDeal, ...]:
        """`history_deals_get(date_from, date_to, group=)`, `ticket=` (of the order), `position=`."""
        given = Arguments(args, kwargs, places=2)
        ticket, position = given.unsigned("ticket"), given.unsigned("position")
        if ticket is not None:
            return tuple(deal for deal in self._deals() if deal.order == ticket)
        if position is not None:
            return tuple(deal for deal in self._deals() if deal.position_id == position)
        since, until = _span(given)
        found = (deal for deal in self._deals() if since <= deal.time <= until)
        return of_group(found, given.text("group"))

    def _session_and_ledger(self) -> tuple[Session, Ledger | None]:
        session = self._machine.session()
        if session.account is None:
            return session, None
        return session, self._broker.ledger(session.account, self._machine.now())

    def _positions(self) -> tuple[structures.TradePosition, ...]:
        session, ledger = self._session_and_ledger()
        if ledger is None or self._machine.now() < session.lists_empty_until:
            return ()
        return ledger.valued_positions(self._machine.market_time())

    def _orders(self) -> tuple[structures.TradeOrder, ...]:
        session, ledger = self._session_and_ledger()
        if ledger is None or self._machine.now() < session.lists_empty_until:
            return ()
        return ledger.valued_orders(self._machine.market_time())

    def _past_orders(self) -> tuple[structures.TradeOrder, ...]:
        session, ledger = self._session_and_ledger()
        past = [] if ledger is None else ledger.past_orders
        return tuple(session.loaded_history(past, self._machine.now()))

    def _deals(self) -> tuple[structures.TradeDeal, ...]:
        session, ledger = self._session_and_ledger()
        deals = [] if ledger is None else ledger.deals
        return tuple(session.loaded_history(deals, self._machine.now()))

    # -- trading ------------------------------------------------------------------------------

    @_fails_with(None)
    def order_check(self, *args: object, **kwargs: object) -> structures.OrderCheckResult:
        """`order_check(request)`; `retcode` 0 means that it would pass."""
        request = trade_request(args, kwargs)
        return check(request, self._desk())

    @_fails_with(None)
    def order_send(self, *args: object, **kwargs: object) -> structures.OrderSendResult:
        """`order_send(request)`; 10013 for an action that is not simulated."""
        request = trade_request(args, kwargs)
        desk = self._desk()
        request_id = next(self._request_ids)
        obstacle = self._obstacle()
        if obstacle is not None:
            return refused(request, obstacle, request_id)
        return send(request, desk, request_id)

    def _desk(self) -> Desk:
        _, ledger = self._session_and_ledger()
        if self._machine.faults.trade_api_disabled:
            raise CallError(self.RES_E_AUTO_TRADING_DISABLED)
        if ledger is None:
            raise CallError(self.RES_E_AUTH_FAILED)
        return Desk(ledger, self._market, self._machine.market_time())

    def _obstacle(self) -> int | None:
        """Why nobody may trade here at the moment, whatever they ask for."""
        if not self._machine.is_algo_on:
            return self.TRADE_RETCODE_CLIENT_DISABLES_AT
        if self._machine.faults.broker_link_lost:
            return self.TRADE_RETCODE_CONNECTION
        if self._machine.session().access == "investor":
            return self.TRADE_RETCODE_TRADE_DISABLED
        return None

    @_fails_with(None)
    def order_calc_margin(self, *args: object, **kwargs: object) -> float:
        """`order_calc_margin(action, symbol, volume, price)`, in the account's currency."""
        given = Arguments(args, kwargs, places=4)
        _side(required("action", given.unsigned("action", 0, bits=32)))
        name = required("symbol", given.text("symbol", 1))
        volume = required("volume", given.number("volume", 2))
        price = required("price", given.number("price", 3))
        desk = self._desk()
        return desk.ledger.margin_for(self._symbol(name).name, volume, price, desk.now)

    @_fails_with(None)
    def order_calc_profit(self, *args: object, **kwargs: object) -> float:
        """`order_calc_profit(action, symbol, volume, price_open, price_close)`."""
        given = Arguments(args, kwargs, places=5)
        side = _side(required("action", given.unsigned("action", 0, bits=32)))
        name = required("symbol", given.text("symbol", 1))
        volume = required("volume", given.number("volume", 2))
        opened = required("price_open", given.number("price_open", 3))
        closed = required("price_close", given.number("price_close", 4))
        desk = self._desk()
        return desk.ledger.profit(self._symbol(name).name, side, volume, opened, closed, desk.now)

    # -- symbols ------------------------------------------------------------------------------

    @_fails_with(None)
    def symbols_total(self) -> int:
        self._require_symbol_lists()
        return len(self._market.symbols)

    @_fails_with(None)
    def symbols_get(self, *args: object, **kwargs: object) -> tuple[structures.SymbolInfo, ...]:
        """`symbols_get([group])`."""
        group = Arguments(args, kwargs, places=1).text("group", 0)
        self._require_symbol_lists()
        return tuple(
            self._describe(symbol)
            for name, symbol in self._market.symbols.items()
            if group is None or is_in_group(name, group)
        )

    def _require_symbol_lists(self) -> None:
        """Without a link these two look at the build first, and find none (measured)."""
        if not self._machine.is_attached:
            raise CallError(self.RES_E_INVALID_VERSION)

    @_fails_with(None)
    def symbol_info(self, *args: object, **kwargs: object) -> structures.SymbolInfo:
        """`symbol_info(symbol)`; -4 for an unknown one."""
        return self._describe(self._asked_symbol(args, kwargs))

    @_fails_with(None)
    def symbol_info_tick(self, *args: object, **kwargs: object) -> structures.Tick:
        """`symbol_info_tick(symbol)`; -4 for a symbol that is unknown or not in Market Watch."""
        symbol = self._asked_symbol(args, kwargs)
        if symbol.name not in self._selected:
            raise CallError(self.RES_E_NOT_FOUND)
        return self._market.tick(symbol.name, self._machine.market_time(), self._offset())

    @_fails_with(False)
    def symbol_select(self, *args: object, **kwargs: object) -> bool:
        """`symbol_select(symbol[, enable])`: into Market Watch, or out of it."""
        given = Arguments(args, kwargs, places=2)
        name = required("symbol", given.text("symbol", 0))
        is_wanted = given.flag("enable", 1) is not False
        self._machine.require_link()
        symbol = self._symbol(name)
        if is_wanted:
            self._selected.add(symbol.name)
        else:
            self._selected.discard(symbol.name)
        return True

    @_fails_with(False)
    def market_book_add(self, *args: object, **kwargs: object) -> bool:
        """`market_book_add(symbol)`. Reports success even where it returns False (measured)."""
        name = required("symbol", Arguments(args, kwargs, places=1).text("symbol", 0))
        is_possible = self._machine.is_attached and name in self._market.symbols
        if is_possible:
            self._watched_depths.add(name)
        return is_possible

    @_fails_with(False)
    def market_book_release(self, *args: object, **kwargs: object) -> bool:
        """`market_book_release(symbol)`."""
        name = required("symbol", Arguments(args, kwargs, places=1).text("symbol", 0))
        self._watched_depths.discard(name)
        return self._machine.is_attached

    @_fails_with(None)
    def market_book_get(self, *args: object, **kwargs: object) -> tuple[structures.BookInfo, ...]:
        """`market_book_get(symbol)`, after `market_book_add`."""
        symbol = self._asked_symbol(args, kwargs)
        if symbol.name not in self._watched_depths:
            raise CallError(self.RES_E_NOT_FOUND)
        return depth(symbol, self._market, self._machine.market_time())

    def _asked_symbol(self, args: tuple[object, ...], kwargs: dict[str, object]) -> Symbol:
        name = required("symbol", Arguments(args, kwargs, places=1).text("symbol", 0))
        self._machine.require_link()
        return self._symbol(name)

    def _symbol(self, name: str) -> Symbol:
        if name not in self._market.symbols:
            raise CallError(self.RES_E_NOT_FOUND)
        return self._market.symbols[name]

    def _describe(self, symbol: Symbol) -> structures.SymbolInfo:
        _, ledger = self._session_and_ledger()
        currency = ledger.account.currency if ledger else "USD"
        is_selected = symbol.name in self._selected
        at = self._machine.market_time()
        return describe(symbol, self._market, at, self._offset(), currency, is_selected)

    def _offset(self) -> int:
        """The lead of the server's clock over UTC in seconds; 0 where nobody is logged in."""
        account = self._machine.session().account
        return self._broker.offset(account[0]) if account else 0

    # -- prices -------------------------------------------------------------------------------

    @_fails_with(None)
    def copy_rates_from_pos(self, *args: object, **kwargs: object) -> Rates:
        """`copy_rates_from_pos(symbol, timeframe, start_pos, count)`; 0 is the current bar."""
        given = CopyArguments(args, kwargs, places=4)
        name, timeframe = _chart(given)
        position = required("start_pos", given.unsigned("start_pos", 2, bits=32))
        count = required("count", given.unsigned("count", 3, bits=32))
        starts = bar_starts_back(timeframe, self._server_time(name))
        return self._bars(name, timeframe, itertools.islice(starts, position, position + count))

    @_fails_with(None)
    def copy_rates_from(self, *args: object, **kwargs: object) -> Rates:
        """`copy_rates_from(symbol, timeframe, date_from, count)`: the last bars up to a date."""
        given = CopyArguments(args, kwargs, places=4)
        name, timeframe = _chart(given)
        newest = required("date_from", given.moment("date_from", 2))
        count = required("count", given.unsigned("count", 3, bits=32))
        starts = bar_starts_back(timeframe, min(int(newest), self._server_time(name)))
        return self._bars(name, timeframe, itertools.islice(starts, count))

    @_fails_with(None)
    def copy_rates_range(self, *args: object, **kwargs: object) -> Rates:
        """`copy_rates_range(symbol, timeframe, date_from, date_to)`: bars opened between."""
        given = CopyArguments(args, kwargs, places=4)
        name, timeframe = _chart(given)
        oldest = required("date_from", given.moment("date_from", 2))
        newest = required("date_to", given.moment("date_to", 3))
        starts = bar_starts_back(timeframe, min(int(newest), self._server_time(name)))
        in_range = itertools.takewhile(lambda start: start >= oldest, starts)
        return self._bars(name, timeframe, in_range)

    def _server_time(self, name: str) -> int:
        """The server's clock; -10004 without a link, -4 for an unknown symbol."""
        self._machine.require_link()
        self._symbol(name)
        return int(self._machine.market_time() + self._offset())

    def _bars(self, name: str, timeframe: int, starts_back: Iterator[int]) -> Rates:
        at, offset = self._machine.market_time(), self._offset()
        starts = reversed(list(starts_back))
        bars = [self._market.bar(name, timeframe, start, at, offset) for start in starts]
        return Rows(RateRow, bars)

    @_fails_with(None)
    def copy_ticks_from(self, *args: object, **kwargs: object) -> Ticks:
        """`copy_ticks_from(symbol, date_from, count, flags)`."""
        given = CopyArguments(args, kwargs, places=4)
        name = required("symbol", given.text("symbol", 0))
        since = required("date_from", given.moment("date_from", 1))
        count = required("count", given.unsigned("count", 2, bits=32))
        flags = required("flags", given.integer("flags", 3))
        return self._ticks(name, since, self._server_time(name), flags, count)

    @_fails_with(None)
    def copy_ticks_range(self, *args: object, **kwargs: object) -> Ticks:
        """`copy_ticks_range(symbol, date_from, date_to, flags)`."""
        given = CopyArguments(args, kwargs, places=4)
        name = required("symbol", given.text("symbol", 0))
        since = required("date_from", given.moment("date_from", 1))
        until = required("date_to", given.moment("date_to", 2))
        flags = required("flags", given.integer("flags", 3))
        return self._ticks(name, since, min(until, self._server_time(name)), flags, None)

    def _ticks(self, name: str, since: float, until: float, flags: int, count: int | None) -> Ticks:
        """Quotes only: these symbols have no trades to ask for."""
        if flags == self.COPY_TICKS_TRADE:
            return Rows(TickRow)
        offset = self._offset()
        ticks = self._market.ticks(name, since - offset, until - offset, offset)
        return Rows(TickRow, itertools.islice(ticks, count))


def _seconds(timeout_ms: int | None) -> float:
    return (DEFAULT_TIMEOUT_MS if timeout_ms is None else timeout_ms) / 1000


def _span(given: Arguments) -> tuple[float, float]:
    since = required("date_from", given.moment("date_from", 0))
    return since, required("date_to", given.moment("date_to", 1))


def _side(action: int) -> int:
    if action not in (BUY, SELL):
        raise CallError(Constants.RES_E_INVALID_PARAMS, 'Invalid "action" argument')
    return action


def _chart(given: CopyArguments) -> tuple[str, int]:
    name = required("symbol", given.text("symbol", 0))
    timeframe = required("timeframe", given.unsigned("timeframe", 1, bits=32))
    if timeframe not in _TIMEFRAMES:
        raise CallError(Constants.RES_E_INVALID_PARAMS)
    return name, timeframe
