"""The functions about symbols and prices."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from mt5relay_worker.simulator import structures
from mt5relay_worker.simulator.arguments import Arguments, CopyArguments, required
from mt5relay_worker.simulator.book import Symbol
from mt5relay_worker.simulator.face import Face, fails_with
from mt5relay_worker.simulator.market import bar_starts_back
from mt5relay_worker.simulator.rows import RateRow, Rates, Rows, TickRow, Ticks
from mt5relay_worker.simulator.surface import CallError, Constants
from mt5relay_worker.simulator.symbols import depth, describe, is_in_group

_TIMEFRAMES = frozenset(
    value for name, value in vars(Constants).items() if name.startswith("TIMEFRAME_")
)


class MarketCalls(Face):
    """Symbols, Market Watch, depth of market, bars and ticks."""

    # -- symbols ------------------------------------------------------------------------------

    @fails_with(None)
    def symbols_total(self) -> int:
        self._require_symbol_lists()
        return len(self._market.symbols)

    @fails_with(None)
    def symbols_get(self, /, *args: object, **kwargs: object) -> tuple[structures.SymbolInfo, ...]:
        """`symbols_get([group])`."""
        group = Arguments(args, kwargs, places=1).text("group", 0)
        self._require_symbol_lists()
        return tuple(
            self._describe(symbol)
            for name, symbol in self._market.symbols.items()
            if not group or is_in_group(name, group)
        )

    def _require_symbol_lists(self) -> None:
        """These two look first at the build, which is known from the first attaching on."""
        if not self._machine.was_ever_attached:
            raise CallError(self.RES_E_INVALID_VERSION)
        self._machine.require_link()

    @fails_with(None)
    def symbol_info(self, /, *args: object, **kwargs: object) -> structures.SymbolInfo:
        """`symbol_info(symbol)`; -4 for an unknown one."""
        return self._describe(self._asked_symbol(args, kwargs))

    @fails_with(None)
    def symbol_info_tick(self, /, *args: object, **kwargs: object) -> structures.Tick:
        """`symbol_info_tick(symbol)`; -4 for a symbol that is unknown or not in Market Watch."""
        symbol = self._asked_symbol(args, kwargs)
        if symbol.name not in self._selected:
            raise CallError(self.RES_E_NOT_FOUND)
        return self._market.tick(symbol.name, self._machine.market_time(), self._offset())

    @fails_with(False)
    def symbol_select(self, /, *args: object, **kwargs: object) -> bool:
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

    @fails_with(False)
    def market_book_add(self, /, *args: object, **kwargs: object) -> bool:
        """`market_book_add(symbol)`. Reports success even where it returns False (measured)."""
        name = required("symbol", Arguments(args, kwargs, places=1).text("symbol", 0))
        is_possible = self._machine.is_attached and name in self._market.symbols
        if is_possible:
            self._watched_depths.add(name)
        return is_possible

    @fails_with(False)
    def market_book_release(self, /, *args: object, **kwargs: object) -> bool:
        """`market_book_release(symbol)`."""
        name = required("symbol", Arguments(args, kwargs, places=1).text("symbol", 0))
        self._watched_depths.discard(name)
        return self._machine.is_attached

    @fails_with(None)
    def market_book_get(
        self, /, *args: object, **kwargs: object
    ) -> tuple[structures.BookInfo, ...]:
        """`market_book_get(symbol)`, after `market_book_add`."""
        symbol = self._asked_symbol(args, kwargs)
        if symbol.name not in self._watched_depths:
            raise CallError(self.RES_E_NOT_FOUND)
        return depth(symbol, self._market, self._machine.market_time())

    def _asked_symbol(self, args: tuple[object, ...], kwargs: dict[str, object]) -> Symbol:
        name = required("symbol", Arguments(args, kwargs, places=1).text("symbol", 0))
        self._machine.require_link()
        return self._symbol(name)

    def _describe(self, symbol: Symbol) -> structures.SymbolInfo:
        _, ledger = self._session_and_ledger()
        currency = ledger.account.currency if ledger else "USD"
        is_selected = symbol.name in self._selected
        at = self._machine.market_time()
        described = describe(symbol, self._market, at, offset=self._offset(), currency=currency)
        return described._replace(select=is_selected, visible=is_selected)

    # -- prices -------------------------------------------------------------------------------

    @fails_with(None)
    def copy_rates_from_pos(self, /, *args: object, **kwargs: object) -> Rates:
        """`copy_rates_from_pos(symbol, timeframe, start_pos, count)`; 0 is the current bar."""
        given = CopyArguments(args, kwargs, places=4)
        name, timeframe = _chart(given)
        position = required("start_pos", given.unsigned("start_pos", 2, bits=32))
        count = required("count", given.unsigned("count", 3, bits=32))
        starts = bar_starts_back(timeframe, self._server_time(name))
        return self._bars(name, timeframe, itertools.islice(starts, position, position + count))

    @fails_with(None)
    def copy_rates_from(self, /, *args: object, **kwargs: object) -> Rates:
        """`copy_rates_from(symbol, timeframe, date_from, count)`: the last bars up to a date."""
        given = CopyArguments(args, kwargs, places=4)
        name, timeframe = _chart(given)
        newest = required("date_from", given.moment("date_from", 2))
        count = required("count", given.unsigned("count", 3, bits=32))
        starts = bar_starts_back(timeframe, min(newest, self._server_time(name)))
        return self._bars(name, timeframe, itertools.islice(starts, count))

    @fails_with(None)
    def copy_rates_range(self, /, *args: object, **kwargs: object) -> Rates:
        """`copy_rates_range(symbol, timeframe, date_from, date_to)`: bars opened between."""
        given = CopyArguments(args, kwargs, places=4)
        name, timeframe = _chart(given)
        oldest = required("date_from", given.moment("date_from", 2))
        newest = required("date_to", given.moment("date_to", 3))
        starts = bar_starts_back(timeframe, min(newest, self._server_time(name)))
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

    @fails_with(None)
    def copy_ticks_from(self, /, *args: object, **kwargs: object) -> Ticks:
        """`copy_ticks_from(symbol, date_from, count, flags)`."""
        given = CopyArguments(args, kwargs, places=4)
        name = required("symbol", given.text("symbol", 0))
        since = required("date_from", given.moment("date_from", 1))
        count = required("count", given.unsigned("count", 2, bits=32))
        flags = required("flags", given.integer("flags", 3))
        return self._ticks(name, since, self._server_time(name), flags, count)

    @fails_with(None)
    def copy_ticks_range(self, /, *args: object, **kwargs: object) -> Ticks:
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
            return Rows(TickRow, ())
        offset = self._offset()
        ticks = self._market.ticks(name, since - offset, until - offset, offset)
        return Rows(TickRow, itertools.islice(ticks, count))


def _chart(given: CopyArguments) -> tuple[str, int]:
    name = required("symbol", given.text("symbol", 0))
    timeframe = required("timeframe", given.unsigned("timeframe", 1, bits=32))
    if timeframe not in _TIMEFRAMES:
        raise CallError(Constants.RES_E_INVALID_PARAMS)
    return name, timeframe
