"""The MetaTrader5 package behind typed calls that raise. The only module that imports it.

The package never raises for terminal errors: reads return None, `initialize` and `login` return
False, and `last_error()` of the same process says why, until the next call overwrites it. Here a
call and its `last_error()` are one unit; a read ends as records, as no records, or as an exception.
Facts are from the package 5.0.6231, measured; the simulator has the same surface, so the same
adapter drives both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import msgspec

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import Mt5Code
from mt5relay_shared.operations import (
    MAX_BROKER_TIME_MS,
    Arguments,
    HistoryArguments,
    Operation,
    RatesArguments,
    SymbolArguments,
)
from mt5relay_shared.records import (
    AccountInfo,
    Rate,
    Record,
    SymbolInfo,
    Tick,
    TradeDeal,
    TradeOrder,
    TradePosition,
)
from mt5relay_shared.secret import Secret
from mt5relay_worker.terminal.failure import NotReadyError, TerminalError, repaired
from mt5relay_worker.terminal.pipe_check import is_running

SUCCESS = 1
NOT_FOUND = -4
INVALID_PARAMS = -2
AUTH_FAILED = -6
INIT_FAILED = -10003
LINK_ERRORS = frozenset({-10001, -10002, -10004})
TIMEOUT = -10005
_SAID_CLEARLY = frozenset({*LINK_ERRORS, TIMEOUT, NOT_FOUND, INVALID_PARAMS})
_NOBODY = frozenset({SUCCESS, AUTH_FAILED})  # -6 without a login: no authorized account
EARLIEST_DATE = 1  # seconds; of 0 the package sends whatever stands in its memory
LATEST_DATE = 2**31 - 1  # seconds; a later one raises SystemError after the request has gone out

# By whether its pipe is there after it could not be attached.
_SIGNS_OF_LIFE: Mapping[bool | None, str] = {
    True: "; it runs: look for a dialog, an update, or other rights than the worker's",
    False: "; it does not run, or is not up yet",
    None: "",
}

RecordT = TypeVar("RecordT", bound=Record)
ResultT = TypeVar("ResultT")


class Binding(Protocol):
    """As much of the package's surface as is used here; a module or an object.

    Results are the package's own named tuples and arrays, which it does not type.
    """

    def initialize(self, *args: Any, **kwargs: Any) -> bool: ...  # noqa: ANN401
    def shutdown(self) -> Any: ...  # noqa: ANN401
    def login(self, *args: Any, **kwargs: Any) -> bool: ...  # noqa: ANN401
    def last_error(self) -> Any: ...  # noqa: ANN401
    def version(self) -> Any: ...  # noqa: ANN401
    def terminal_info(self) -> Any: ...  # noqa: ANN401
    def account_info(self) -> Any: ...  # noqa: ANN401
    def positions_get(self) -> Any: ...  # noqa: ANN401
    def positions_total(self) -> Any: ...  # noqa: ANN401
    def orders_get(self) -> Any: ...  # noqa: ANN401
    def orders_total(self) -> Any: ...  # noqa: ANN401
    def history_deals_total(self, date_from: int, date_to: int) -> Any: ...  # noqa: ANN401
    def history_deals_get(self, date_from: int, date_to: int) -> Any: ...  # noqa: ANN401
    def history_orders_get(self, date_from: int, date_to: int) -> Any: ...  # noqa: ANN401
    def symbol_info(self, symbol: str) -> Any: ...  # noqa: ANN401
    def symbol_info_tick(self, symbol: str) -> Any: ...  # noqa: ANN401
    def symbol_select(self, symbol: str, enable: bool) -> bool: ...
    def copy_rates_from_pos(
        self, symbol: str, timeframe: int, start_pos: int, count: int
    ) -> Any: ...  # noqa: ANN401


def load_metatrader5() -> Binding:
    """Import the real package.

    Raises:
        TerminalError: it is not installed here; it exists for Windows x64 only.
    """
    try:
        import MetaTrader5  # noqa: PLC0415 # pyright: ignore[reportMissingImports] - Windows alone has it
    except ImportError as error:
        raise TerminalError(
            "MT5_INIT_FAILED",
            f"the MetaTrader5 package can't be imported ({error}); install mt5relay[metatrader5]"
            " on Windows, or set MT5_TERMINAL=simulated",
        ) from error
    return MetaTrader5  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class TerminalState:
    """What `terminal_info()` says. `ping_ms` is the last ping to the broker."""

    connected: bool
    trade_allowed: bool
    build: int
    path: str
    ping_ms: float
    data_path: str


@dataclass(frozen=True, slots=True)
class Totals:
    """How many positions and orders the terminal has loaded; they grow after a login."""

    positions: int
    orders: int


class MetaTrader5Adapter:
    """Typed calls on one terminal. Synchronous, and for one thread only, as the package is.

    `is_running` says of a path whether that terminal runs, None where it can't tell. A `portable`
    terminal keeps its data beside the program; where it has to be started, it is started so.
    """

    def __init__(
        self,
        binding: Binding,
        *,
        is_running: Callable[[str], bool | None] = is_running,
        portable: bool = False,
    ) -> None:
        self._binding = binding
        self._is_running = is_running
        self._options = {"portable": True} if portable else {}

    def initialize(self, path: str | None, timeout_ms: int) -> None:
        """Attach to the terminal at `path`, or start it.

        May take 100 s whatever `timeout_ms` says, and starts the program once more at each failure.

        Raises:
            TerminalError: MT5_INIT_FAILED.
        """
        located = () if path is None else (path,)
        done = self._made(
            "initialize",
            lambda: self._binding.initialize(*located, timeout=timeout_ms, **self._options),
            otherwise="MT5_INIT_FAILED",
        )
        if not done:
            why = self._last_error()
            found = "" if path is None else _SIGNS_OF_LIFE[self._is_running(path)]
            raise TerminalError(
                "MT5_INIT_FAILED", f"the terminal could not be attached{found}", why
            )

    def shutdown(self) -> None:
        """Detach. There is no logout: the terminal keeps running, logged in."""
        self._made("shutdown", self._binding.shutdown)

    def login(self, account: AccountId, password: Secret, timeout_ms: int) -> None:
        """Switch the terminal to an account. Success is not yet proof: look at `identity()`.

        Raises:
            TerminalError: MT5_AUTH_FAILED for -6; what `_explain` finds for the rest.
        """
        # All three always: without a password the terminal would use one it has saved.
        try:
            done = self._binding.login(
                account.login,
                password=password.reveal(),
                server=account.server,
                timeout=timeout_ms,
            )
        except SystemError:
            raise TerminalError("INTERNAL", "login refused its arguments") from None
        except (Exception, SystemExit) as error:  # whatever it says may quote the password
            kind = type(error).__name__
            raise TerminalError("INTERNAL", f"login to {account} raised {kind}") from None
        if not done:
            raise _without(password, self._explain(f"login to {account}"))

    def identity(self) -> AccountId | None:
        """Who is logged in; None for nobody, or where the terminal does not know yet.

        Raises:
            TerminalError: the call failed; that is neither nobody nor somebody else.
        """
        found = self._made("account_info", self._binding.account_info)
        if found is None:
            why = self._last_error()
            if why.code not in _NOBODY:
                raise self._link_error("account_info", why)
            return None
        return self._made("account_info", lambda: _identity_of(found))

    def state(self) -> TerminalState:
        """What the terminal says of itself.

        Raises:
            TerminalError: it does not answer.
        """
        found = self._terminal_info()
        if found is None:
            raise self._explain("terminal_info")
        return self._made(
            "terminal_info",
            lambda: TerminalState(
                connected=bool(found.connected),
                trade_allowed=bool(found.trade_allowed),
                build=int(found.build),
                path=str(found.path),
                ping_ms=found.ping_last / 1000,
                data_path=str(found.data_path),
            ),
            otherwise="MT5_CONNECTION_LOST",
        )

    def _terminal_info(self) -> Any:  # noqa: ANN401 - a named tuple of the package's
        # No account is concerned here: what this call raises is the terminal's own failure.
        return self._made(
            "terminal_info", self._binding.terminal_info, otherwise="MT5_CONNECTION_LOST"
        )

    def package_version(self) -> str | None:
        version = getattr(self._binding, "__version__", None)
        return None if version is None else str(version)

    def totals(self) -> Totals | None:
        """The counts, or None while the terminal does not say."""
        positions = self._count("positions_total", self._binding.positions_total)
        orders = self._count("orders_total", self._binding.orders_total)
        return None if positions is None or orders is None else Totals(positions, orders)

    def deals_total(self) -> int | None:
        """How many deals of all time the terminal has loaded, or None while it does not say."""
        call = self._binding.history_deals_total
        latest = MAX_BROKER_TIME_MS // 1000
        return self._count("history_deals_total", lambda: call(EARLIEST_DATE, latest))

    def _count(self, what: str, call: Callable[[], Any]) -> int | None:
        def count() -> int | None:
            found = call()
            return None if found is None else int(found)

        return self._made(what, count)

    def tick_time(self, symbol: str) -> float | None:
        """When the symbol last ticked, in seconds on the server's clock; None where it has not,
        is unknown, or is not in Market Watch.

        Raises:
            TerminalError: the link to the terminal is gone, or no symbol can be called so.
        """
        found = self._made(symbol, lambda: self._binding.symbol_info_tick(symbol))
        if found is None:
            why = self._last_error()
            if why.code in LINK_ERRORS:
                raise self._explained(symbol, why)
            return None
        return self._made(symbol, lambda: found.time_msc / 1000 if found.time_msc > 0 else None)

    def held_symbols(self) -> list[str]:
        """The symbols of the open positions; ticks of these always come.

        Raises:
            TerminalError: as `read`.
        """
        held = self._ask("positions", self._binding.positions_get)
        return self._made("positions", lambda: sorted({str(one.symbol) for one in held}))

    def account_info(self) -> AccountInfo:
        return _record(AccountInfo, self._ask("account_info", self._binding.account_info))

    def positions(self) -> list[TradePosition]:
        return _records(TradePosition, self._ask("positions", self._binding.positions_get))

    def all_deals(self) -> list[TradeDeal]:
        """Every deal that the terminal has loaded. Raises as `read` does."""
        call = self._binding.history_deals_get
        return _records(TradeDeal, self._ask("deals", lambda: call(EARLIEST_DATE, LATEST_DATE)))

    def read(self, operation: Operation, arguments: Arguments) -> Record | list[Any]:
        """Make one read.

        Returns:
            A record, or a list of records; an empty list only where the terminal said "none".

        Raises:
            NotReadyError: neither data nor error, twice.
            TerminalError: everything else, NOT_FOUND for an unknown symbol.
        """
        match arguments:
            case HistoryArguments():
                return self._history(operation, arguments)
            case RatesArguments():
                return self._rates(arguments)
            case SymbolArguments():
                return self._of_symbol(operation, arguments.symbol)
            case _:
                return self._of_account(operation)

    def _of_account(self, operation: Operation) -> Record | list[Any]:
        match operation:
            case Operation.POSITIONS:
                return self.positions()
            case Operation.ORDERS:
                return _records(TradeOrder, self._ask("orders", self._binding.orders_get))
            case _:
                return self.account_info()

    def _history(self, operation: Operation, span: HistoryArguments) -> list[Any]:
        # Whole seconds: datetimes would be read as UTC or as local time, by the package's version.
        since = max(span.from_ms // 1000, EARLIEST_DATE)
        until = max(min(-(-span.to_ms // 1000), LATEST_DATE), EARLIEST_DATE)
        if operation is Operation.DEALS:
            call = self._binding.history_deals_get
            return _records(TradeDeal, self._ask("deals", lambda: call(since, until)))
        call = self._binding.history_orders_get
        return _records(TradeOrder, self._ask("history_orders", lambda: call(since, until)))

    def _of_symbol(self, operation: Operation, symbol: str) -> Record:
        if operation is Operation.SYMBOL:
            found = self._ask_of_symbol(symbol, lambda: self._binding.symbol_info(symbol))
            return _record(SymbolInfo, found)
        self._watch(symbol)
        found = self._ask_of_symbol(symbol, lambda: self._binding.symbol_info_tick(symbol))
        tick = _record(Tick, found)
        if tick.time_msc == 0 and tick.bid == tick.ask == tick.last == 0:
            # A symbol that was selected just now shows zeros until its first price arrives.
            raise NotReadyError(f"{symbol}: no price has arrived yet")
        return tick

    def _watch(self, symbol: str) -> None:
        """Prices come only for symbols in Market Watch; choosing one again costs nothing."""
        if self._made(symbol, lambda: self._binding.symbol_select(symbol, True)):
            return
        why = self._last_error()
        if why.code == SUCCESS:
            return
        if why.code in _SAID_CLEARLY:
            raise self._explained(symbol, why)
        # The package answers a general failure (-1) for a symbol that does not exist; only
        # `symbol_info` tells that from a symbol that could not be selected.
        if self._made(symbol, lambda: self._binding.symbol_info(symbol)) is None:
            if (again := self._last_error()).code in (*LINK_ERRORS, TIMEOUT):
                raise self._explained(symbol, again)
            raise TerminalError("NOT_FOUND", f"{symbol}: unknown to the terminal", why)
        raise TerminalError("MT5_DATA_INVALID", f"{symbol}: the terminal did not select it", why)

    def _rates(self, asked: RatesArguments) -> list[Any]:
        # From a position, not from a date: the latter was seen hours behind.
        timeframe = timeframe_code(asked.timeframe)
        self._watch(asked.symbol)
        bars = self._ask_of_symbol(
            asked.symbol,
            lambda: self._binding.copy_rates_from_pos(asked.symbol, timeframe, 0, asked.count),
        )
        rows = self._made(asked.symbol, lambda: _rows(bars))
        names = Rate.__struct_fields__
        return [_convert(Rate, dict(zip(names, row, strict=False))) for row in rows]

    def _ask(self, what: str, call: Callable[[], Any]) -> Any:  # noqa: ANN401 - named tuples and arrays
        """Call twice at most: None together with "Success" means that it is not ready yet."""
        why = Mt5Code(SUCCESS, "")
        for _ in range(2):
            found = self._made(what, call)
            if found is not None:
                return found
            why = self._last_error()
            if why.code != SUCCESS:
                raise self._explained(what, why)
        raise NotReadyError(f"{what}: the terminal has no answer yet", why)

    def _ask_of_symbol(self, symbol: str, call: Callable[[], Any]) -> Any:  # noqa: ANN401 - likewise
        """As `_ask`; a code that nothing explains is this symbol's error, not the connection's."""
        try:
            return self._ask(symbol, call)
        except TerminalError as error:
            known = error.mt5 is None or error.mt5.code in {*_SAID_CLEARLY, SUCCESS}
            if known or error.code != "MT5_CONNECTION_LOST":
                raise
            text = f"{symbol}: the terminal refused it"
            raise TerminalError("MT5_DATA_INVALID", text, error.mt5) from None

    def _made(
        self, what: str, call: Callable[[], ResultT], *, otherwise: str = "INTERNAL"
    ) -> ResultT:
        """Make one call on the binding, or read what it returned.

        Raises:
            TerminalError: VALIDATION_FAILED where the package refused a value out of range, which
                it tells by SystemError; `otherwise` for whatever else it raised. The text of the
                exception is left out: it may quote anything, a password included.
        """
        try:
            return call()
        except TerminalError:
            raise
        except SystemError as refusal:
            code = "VALIDATION_FAILED" if otherwise == "INTERNAL" else otherwise
            raise TerminalError(code, f"{what}: refused arguments") from refusal
        except (Exception, SystemExit) as error:
            kind = type(error).__name__
            raise TerminalError(otherwise, f"{what}: the package raised {kind}") from None

    def _last_error(self) -> Mt5Code:
        def read() -> Mt5Code:
            code, text = self._binding.last_error()
            return Mt5Code(int(code), str(text))

        return self._made("last_error", read)

    def _explain(self, what: str) -> TerminalError:
        return self._explained(what, self._last_error())

    def _explained(self, what: str, error: Mt5Code) -> TerminalError:
        """Find the wire code for a failed call. An unknown code is a connection error."""
        match error.code:
            case code if code == AUTH_FAILED:
                return TerminalError("MT5_AUTH_FAILED", f"{what}: authorization refused", error)
            case code if code == NOT_FOUND:
                return TerminalError("NOT_FOUND", f"{what}: unknown to the terminal", error)
            case code if code == INVALID_PARAMS:
                return TerminalError("VALIDATION_FAILED", f"{what}: refused arguments", error)
            case code if code == INIT_FAILED:
                return TerminalError("MT5_INIT_FAILED", f"{what}: no terminal", error)
            case _:
                return self._link_error(what, error)

    def _link_error(self, what: str, error: Mt5Code) -> TerminalError:
        """Tell a lost terminal from a terminal that lost its broker."""
        info = self._terminal_info()
        if info is None:
            return TerminalError("MT5_CONNECTION_LOST", f"{what}: no terminal answers", error)
        if not getattr(info, "connected", True):
            return TerminalError("BROKER_UNAVAILABLE", f"{what}: no link to the broker", error)
        if error.code == TIMEOUT:
            return TerminalError("MT5_TIMEOUT", f"{what}: the terminal gave up waiting", error)
        return TerminalError("MT5_CONNECTION_LOST", f"{what}: the call failed", error)


_TIMEFRAME_BASE = {"M": 0, "H": 0x4000, "D": 0x4000, "W": 0x8000, "MN": 0xC000}


def timeframe_code(timeframe: str) -> int:
    """The package's number: minutes, 0x4000 + hours, 0x8000 + weeks, 0xC000 + months.

    >>> timeframe_code("M15"), timeframe_code("H4"), timeframe_code("D1"), timeframe_code("MN1")
    (15, 16388, 16408, 49153)
    """
    unit = timeframe.rstrip("0123456789")
    count = int(timeframe.removeprefix(unit))
    return _TIMEFRAME_BASE[unit] + (24 * count if unit == "D" else count)


def _records(kind: type[RecordT], rows: Any) -> list[RecordT]:  # noqa: ANN401
    return [_record(kind, row) for row in rows]


def _without(password: Secret, error: TerminalError) -> TerminalError:
    """The same error; whatever the terminal says, it does not quote the password."""
    if error.mt5 is None or password.reveal() not in error.mt5.text:
        return error
    text = error.mt5.text.replace(password.reveal(), "***")
    return TerminalError(error.code, error.message, Mt5Code(error.mt5.code, text))


def _identity_of(found: Any) -> AccountId | None:  # noqa: ANN401
    if found.login == 0 or not found.server:
        return None
    return AccountId(int(found.login), repaired(str(found.server)))


def _rows(bars: Any) -> list[Any]:  # noqa: ANN401
    return bars.tolist() if hasattr(bars, "tolist") else [tuple(bar) for bar in bars]


def _record(kind: type[RecordT], row: Any) -> RecordT:  # noqa: ANN401
    try:
        fields = row._asdict()
    except Exception as error:
        named = f"{kind.__name__}: reading it raised {type(error).__name__}"
        raise TerminalError("MT5_DATA_INVALID", named) from None
    return _convert(kind, fields)


def _convert(kind: type[RecordT], fields: Mapping[str, Any]) -> RecordT:
    """Check a record's types and repair its texts; impossible values are an error, never data."""
    texts: dict[str, str] = {}
    for name, value in fields.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise TerminalError("MT5_DATA_INVALID", f"{kind.__name__}.{name} is {value}")
        if isinstance(value, int) and not -(2**63) <= value < 2**64:
            raise TerminalError("MT5_DATA_INVALID", f"{kind.__name__}.{name} has over 64 bits")
        if isinstance(value, str) and not value.isascii():
            texts[name] = repaired(value)
    try:
        return msgspec.convert({**fields, **texts} if texts else fields, kind)
    except msgspec.ValidationError as error:  # names the field and both types, no value
        raise TerminalError(
            "MT5_DATA_INVALID", f"not a {kind.__name__} as package 5.0.6231 gives it: {error}"
        ) from None
