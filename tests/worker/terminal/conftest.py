"""A binding written by hand: the package's surface as far as it is used, with all its traps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import pytest
from tests.worker.conftest import record

from mt5relay_shared.accounts import AccountId
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
from mt5relay_worker.terminal.metatrader5 import MetaTrader5Adapter
from mt5relay_worker.terminal.switching import SwitchLimits, VerifiedSwitch

SUCCESS = (1, "Success")
NO_CONNECTION = (-10004, "No IPC connection")
REFUSED = (-6, "Terminal: Authorization failed")


class TerminalInfo(NamedTuple):
    """As much of `terminal_info()` as is looked at."""

    connected: bool
    trade_allowed: bool
    build: int
    path: str
    ping_last: int
    data_path: str = ""


class Row:
    """A record in the package's shape: attributes, and `_asdict()`."""

    def __init__(self, found: Record) -> None:
        self.__dict__.update(msgspec.structs.asdict(found))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def _asdict(self) -> dict[str, Any]:
        return dict(self.__dict__)


class FakeClock:
    """Seconds that pass only when somebody sleeps."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass
class Book:
    """What the broker knows of an account."""

    password: str
    info: AccountInfo
    positions: list[TradePosition] = field(default_factory=list[TradePosition])
    orders: list[TradeOrder] = field(default_factory=list[TradeOrder])


@dataclass
class AfterLogin:
    """Seconds from a login until each stage has passed; `stays` logins never take effect."""

    identity: float = 0.0
    margin: float = 0.0
    lists: float = 0.0
    stays: int = 0
    shows_nobody: bool = False


class FakeBinding:
    """As the package: answers None or False and leaves the reason in `last_error()`."""

    __version__ = "5.0.6231"

    def __init__(self, clock: FakeClock) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.books: dict[AccountId, Book] = {}
        self.info: Any = TerminalInfo(True, True, 5200, "/mt5", 12_500)
        self.after_login = AfterLogin()
        self.answers: dict[str, Any] = {}
        self.before: dict[str, Callable[[], None]] = {}
        self._late: dict[str, tuple[float, Any, Any]] = {}
        self.on: AccountId | None = None
        self.previous: AccountId | None = None
        self._clock = clock
        self._logged_in_at = 0.0
        self._error: tuple[int, str] = (0, "")
        self._failures: dict[str, deque[tuple[int, str] | type[Exception]]] = {}

    # What a test says beforehand.

    def knows(
        self, account: AccountId, *, positions: int = 0, orders: int = 0, **money: float
    ) -> Book:
        info = record(
            AccountInfo,
            login=account.login,
            server=account.server,
            **{"balance": 100.0, "equity": 100.0, "margin_free": 100.0, **money},
        )
        self.books[account] = Book(
            f"secret-{account.login}",
            info,
            [record(TradePosition, ticket=index, symbol="EURUSD") for index in range(positions)],
            [record(TradeOrder, ticket=index, symbol="EURUSD") for index in range(orders)],
        )
        return self.books[account]

    def is_on(self, account: AccountId) -> None:
        self.on = account

    def logs_in_anew(self, *, margin: float = 0.0, lists: float = 0.0) -> None:
        """To the same account, by itself; the stages take so many seconds."""
        self._logged_in_at = self._clock()
        self.after_login = AfterLogin(margin=margin, lists=lists)

    def fails(self, call: str, *failures: tuple[int, str] | type[Exception]) -> None:
        """What the next calls of a function leave in `last_error()`, or raise."""
        self._failures.setdefault(call, deque()).extend(failures)

    def answers_late(self, call: str, seconds: float, before: Any, then: Any) -> None:
        """Answer one thing for so many seconds from now, and another afterwards."""
        self._late[call] = (self._clock() + seconds, before, then)

    def is_gone(self) -> None:
        """The terminal died: every call fails from now on."""
        self.info = None
        for name in READS:
            self.fails(name, *[NO_CONNECTION] * 20)

    def called(self, name: str) -> list[tuple[Any, ...]]:
        return [args for call, args, _ in self.calls if call == name]

    # The package's surface.

    def last_error(self) -> tuple[int, str]:
        return self._error

    def initialize(self, *args: Any, **kwargs: Any) -> bool:
        return bool(self._call("initialize", lambda: True, False, *args, **kwargs))

    def shutdown(self) -> bool:
        return bool(self._call("shutdown", lambda: True, True))

    def login(self, *args: Any, **kwargs: Any) -> bool:
        return bool(
            self._call("login", lambda: self._log_in(*args, **kwargs), False, *args, **kwargs)
        )

    def version(self) -> Any:
        return self._call("version", lambda: (500, 5200, "1 Nov 2025"), (0, 0, ""))

    def terminal_info(self) -> Any:
        return self._call("terminal_info", lambda: self.info, None)

    def account_info(self) -> Any:
        return self._call("account_info", self._account_info, None)

    def positions_get(self) -> Any:
        return self._call("positions_get", lambda: self._rows("positions"), None)

    def positions_total(self) -> Any:
        return self._call("positions_total", lambda: len(self._rows("positions")), None)

    def orders_get(self) -> Any:
        return self._call("orders_get", lambda: self._rows("orders"), None)

    def orders_total(self) -> Any:
        return self._call("orders_total", lambda: len(self._rows("orders")), None)

    def history_deals_total(self, date_from: int, date_to: int) -> Any:
        return self._call("history_deals_total", lambda: 1, None, date_from, date_to)

    def history_deals_get(self, date_from: int, date_to: int) -> Any:
        deal = Row(record(TradeDeal, ticket=7))
        return self._call("history_deals_get", lambda: (deal,), None, date_from, date_to)

    def history_orders_get(self, date_from: int, date_to: int) -> Any:
        order = Row(record(TradeOrder, ticket=8))
        return self._call("history_orders_get", lambda: (order,), None, date_from, date_to)

    def symbol_info(self, symbol: str) -> Any:
        found = Row(record(SymbolInfo, name=symbol))
        return self._call("symbol_info", lambda: found, None, symbol)

    def symbol_info_tick(self, symbol: str) -> Any:
        tick = Row(record(Tick, bid=1.1, ask=1.2))
        return self._call("symbol_info_tick", lambda: tick, None, symbol)

    def symbol_select(self, symbol: str, enable: bool) -> bool:
        return bool(self._call("symbol_select", lambda: True, False, symbol, enable))

    def copy_rates_from_pos(self, symbol: str, timeframe: int, start_pos: int, count: int) -> Any:
        bars = [msgspec.structs.astuple(record(Rate, time=60 * index)) for index in range(count)]
        return self._call(
            "copy_rates_from_pos", lambda: bars, None, symbol, timeframe, start_pos, count
        )

    # How it comes to its answers.

    def _call(
        self, name: str, succeed: Callable[[], Any], nothing: Any, *args: Any, **kwargs: Any
    ) -> Any:
        self.calls.append((name, args, kwargs))
        if happens := self.before.pop(name, None):
            happens()
        if failures := self._failures.get(name):
            failure = failures.popleft()
            if isinstance(failure, type):
                raise failure(f"<built-in function {name}> returned a result with an exception set")
            self._error = failure
            return nothing
        self._error = SUCCESS
        if name in self._late:
            until, before, then = self._late[name]
            return before if self._clock() < until else then
        return self.answers[name] if name in self.answers else succeed()

    def _log_in(self, login: int, *, password: str, server: str, timeout: int) -> bool:
        account = AccountId(login, server)
        if self.books[account].password != password:
            self._error = REFUSED
            return False
        if self.after_login.stays > 0:
            self.after_login.stays -= 1
            return True
        self.previous, self.on, self._logged_in_at = self.on, account, self._clock()
        return True

    def _passed(self, seconds: float) -> bool:
        return self._clock() >= self._logged_in_at + seconds

    def _account_info(self) -> Any:
        shown = self.on
        if not self._passed(self.after_login.identity):
            if self.after_login.shows_nobody:
                return None
            shown = self.previous
        if shown is None:
            return Row(record(AccountInfo))
        info = self.books[shown].info
        if not self._passed(self.after_login.margin):
            info = record(AccountInfo, login=info.login, server=info.server, balance=info.balance)
        return Row(info)

    def _rows(self, name: str) -> tuple[Any, ...]:
        if self.on is None or not self._passed(self.after_login.lists):
            return ()
        return tuple(Row(found) for found in getattr(self.books[self.on], name))


READS = (
    "account_info",
    "positions_get",
    "positions_total",
    "orders_get",
    "orders_total",
    "history_deals_total",
    "history_deals_get",
    "history_orders_get",
    "symbol_info",
    "symbol_info_tick",
    "symbol_select",
    "copy_rates_from_pos",
    "terminal_info",
)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def binding(clock: FakeClock) -> FakeBinding:
    return FakeBinding(clock)


@pytest.fixture
def adapter(binding: FakeBinding) -> MetaTrader5Adapter:
    return MetaTrader5Adapter(binding)


@pytest.fixture
def switch(adapter: MetaTrader5Adapter, clock: FakeClock) -> VerifiedSwitch:
    return VerifiedSwitch(adapter, SwitchLimits(), clock=clock, sleep=clock.sleep)
