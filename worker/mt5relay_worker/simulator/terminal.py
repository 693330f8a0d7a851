"""The module face: every function, constant and structure of the MetaTrader5 package 5.0.6231.

Functions never raise for terminal errors: reads return None, `initialize` and `login` return False,
and `last_error()` says why until the next call. What is returned and left in `last_error()` before
`initialize` and after `shutdown`, and for wrong arguments, is as measured on the package.
"""

from __future__ import annotations

import ntpath
from typing import Literal

from mt5relay_worker.simulator import structures
from mt5relay_worker.simulator.arguments import Arguments, required, trade_request
from mt5relay_worker.simulator.face import fails_with
from mt5relay_worker.simulator.ledger import BUY, SELL
from mt5relay_worker.simulator.market_calls import MarketCalls
from mt5relay_worker.simulator.surface import PACKAGE_VERSION, CallError, Constants
from mt5relay_worker.simulator.symbols import of_group
from mt5relay_worker.simulator.trading import Desk, check, refused, send

DEFAULT_TIMEOUT_MS = 60_000
_PING_MICROSECONDS = 38_400
_RELEASED = "1 Nov 2025"


class SimulatedMetaTrader5(MarketCalls):
    """Use it wherever the module `MetaTrader5` is used.

    Args:
        book: the servers, accounts and symbols that exist.
        faults: what goes wrong and how long things take; by default only latencies.
        faults_file: a JSON file of faults that is read again whenever it changes; while it exists
            it takes the place of `faults`.
        data_folder: where the terminal keeps its journal; without it none is written.
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

    # -- the terminal -------------------------------------------------------------------------

    @fails_with(False)
    def initialize(self, /, *args: object, **kwargs: object) -> bool:
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

    @fails_with(False)
    def login(self, /, *args: object, **kwargs: object) -> bool:
        """`login(login, password=, server=, timeout=ms)`. After -6 the account stays as it was."""
        given = Arguments(args, kwargs, places=1)
        login = required("login", given.unsigned("login", 0))
        password, server = given.text("password"), given.text("server")
        timeout = _seconds(given.unsigned("timeout", bits=32))
        self._machine.log_in(login, password, server, timeout)
        return True

    @fails_with(True)
    def shutdown(self) -> Literal[True]:
        """Detach; the terminal stays logged in."""
        self._machine.detach()
        return True

    @fails_with((0, 0, ""))
    def version(self) -> tuple[int, int, str]:
        """Version, build and the day of the build."""
        self._machine.require_link()
        return (500, self._machine.build, _RELEASED)

    @fails_with(None)
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
            data_path=folder if self._data_folder is None else str(self._data_folder),
            commondata_path=ntpath.join(folder, "Common"),
        )

    # -- the account --------------------------------------------------------------------------

    @fails_with(None)
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

    @fails_with(None)
    def positions_total(self) -> int:
        return len(self._positions())

    @fails_with(None)
    def positions_get(
        self, /, *args: object, **kwargs: object
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

    @fails_with(None)
    def orders_total(self) -> int:
        return len(self._orders())

    @fails_with(None)
    def orders_get(self, /, *args: object, **kwargs: object) -> tuple[structures.TradeOrder, ...]:
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

    @fails_with(None)
    def history_orders_total(self, /, *args: object, **kwargs: object) -> int:
        """`history_orders_total(date_from, date_to)`."""
        since, until = _span(Arguments(args, kwargs, places=2))
        return sum(since <= order.time_done <= until for order in self._past_orders())

    @fails_with(None)
    def history_orders_get(
        self, /, *args: object, **kwargs: object
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

    @fails_with(None)
    def history_deals_total(self, /, *args: object, **kwargs: object) -> int:
        """`history_deals_total(date_from, date_to)`."""
        since, until = _span(Arguments(args, kwargs, places=2))
        return sum(since <= deal.time <= until for deal in self._deals())

    @fails_with(None)
    def history_deals_get(
        self, /, *args: object, **kwargs: object
    ) -> tuple[structures.TradeDeal, ...]:
        """`history_deals_get(date_from, date_to, group=)`; `ticket=` of an order; `position=`."""
        given = Arguments(args, kwargs, places=2)
        ticket, position = given.unsigned("ticket"), given.unsigned("position")
        if ticket is not None:
            return tuple(deal for deal in self._deals() if deal.order == ticket)
        if position is not None:
            return tuple(deal for deal in self._deals() if deal.position_id == position)
        since, until = _span(given)
        found = (deal for deal in self._deals() if since <= deal.time <= until)
        return of_group(found, given.text("group"))

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

    @fails_with(None)
    def order_check(self, /, *args: object, **kwargs: object) -> structures.OrderCheckResult:
        """`order_check(request)`; `retcode` 0 means that it would pass."""
        request = trade_request(args, kwargs)
        return check(request, self._desk())

    @fails_with(None)
    def order_send(self, /, *args: object, **kwargs: object) -> structures.OrderSendResult:
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
        if not self._machine.is_market_open():
            return self.TRADE_RETCODE_MARKET_CLOSED
        return None

    @fails_with(None)
    def order_calc_margin(self, /, *args: object, **kwargs: object) -> float:
        """`order_calc_margin(action, symbol, volume, price)`, in the account's currency."""
        given = Arguments(args, kwargs, places=4)
        _side(required("action", given.unsigned("action", 0, bits=32)))
        name = required("symbol", given.text("symbol", 1))
        volume = required("volume", given.number("volume", 2))
        price = required("price", given.number("price", 3))
        desk = self._desk()
        return desk.ledger.margin_for(self._symbol(name).name, volume, price, desk.now)

    @fails_with(None)
    def order_calc_profit(self, /, *args: object, **kwargs: object) -> float:
        """`order_calc_profit(action, symbol, volume, price_open, price_close)`."""
        given = Arguments(args, kwargs, places=5)
        side = _side(required("action", given.unsigned("action", 0, bits=32)))
        name = required("symbol", given.text("symbol", 1))
        volume = required("volume", given.number("volume", 2))
        opened = required("price_open", given.number("price_open", 3))
        closed = required("price_close", given.number("price_close", 4))
        desk = self._desk()
        return desk.ledger.profit(
            self._symbol(name).name, side, volume, opened=opened, closed=closed, at=desk.now
        )


def _seconds(timeout_ms: int | None) -> float:
    return (DEFAULT_TIMEOUT_MS if timeout_ms is None else timeout_ms) / 1000


def _span(given: Arguments) -> tuple[int, int]:
    since = required("date_from", given.moment("date_from", 0))
    return since, required("date_to", given.moment("date_to", 1))


def _side(action: int) -> int:
    if action not in (BUY, SELL):
        raise CallError(Constants.RES_E_INVALID_PARAMS, 'Invalid "action" argument')
    return action
