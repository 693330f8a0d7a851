"""For the tests of applications: a client that answers from a book, and records to fill it with.

```python
client = FakeAccountClient()
client.enrol("25115284@MetaQuotes-Demo", positions=[a_position(symbol="EURUSD")])
await code_under_test(client)
assert [asked.operation for asked in client.asked] == ["positions"]
```

It checks parameters, applies `max_age` and `stale_if_error`, and treats request ids as the real
client does, because it shares that code. It has no queue, no deadlines and no Redis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar, Unpack, get_type_hints

import msgspec

from mt5relay_gateway.answers import AccountSnapshot, Answer, account_snapshot, answer_from
from mt5relay_gateway.composing import (
    Ask,
    AskOptions,
    check_request_id,
    check_wait,
    compose,
    parsed_account,
)
from mt5relay_gateway.lookups import AccountLookups
from mt5relay_gateway.submitter import conflict
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import AccountUnknownError, MT5Error, NotFoundError
from mt5relay_shared.health import BreakerState, ConnectionState, Health, Status
from mt5relay_shared.messages import DEFAULT_TIMEOUT_MS, OkReply
from mt5relay_shared.operations import (
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
from mt5relay_shared.snapshots import Snapshot, SnapshotData, fresh_reply, stale_reply

RecordT = TypeVar("RecordT", bound=Record)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that reached the fake."""

    account: AccountId
    operation: Operation
    arguments: Mapping[str, Any]
    request_id: str


@dataclass(slots=True)
class _Book:
    account_info: AccountInfo
    positions: Sequence[TradePosition]
    orders: Sequence[TradeOrder]
    deals: Sequence[TradeDeal]
    history_orders: Sequence[TradeOrder]
    symbols: Mapping[str, SymbolInfo]
    ticks: Mapping[str, Tick]
    rates: Mapping[str, Sequence[Rate]]
    as_of_ms: int
    error: MT5Error | None = None


@dataclass(frozen=True, slots=True)
class _Settled:
    """What a request id came to."""

    ask: Ask
    result: OkReply | MT5Error = field(repr=False)

    def answer(self) -> Answer[Any]:
        if isinstance(self.result, MT5Error):
            raise self.result
        return answer_from(self.result, self.ask.question)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class FakeAccountClient(AccountLookups):
    """Answers for the accounts enrolled in it.

    Attributes:
        asked: every request that passed the checks, in order.
        worker_health: what `health()` says; None for no worker.
    """

    def __init__(
        self,
        *,
        timeout: float = DEFAULT_TIMEOUT_MS / 1000,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        self.asked: list[Asked] = []
        self.worker_health: Health | None = a_health()
        self._timeout = timeout
        self._clock = clock
        self._books: dict[AccountId, _Book] = {}
        self._settled: dict[str, _Settled] = {}

    def enrol(
        self,
        account: AccountId | str,
        *,
        account_info: AccountInfo | None = None,
        positions: Sequence[TradePosition] = (),
        orders: Sequence[TradeOrder] = (),
        deals: Sequence[TradeDeal] = (),
        history_orders: Sequence[TradeOrder] = (),
        symbols: Sequence[SymbolInfo] = (),
        ticks: Mapping[str, Tick] | None = None,
        rates: Mapping[str, Sequence[Rate]] | None = None,
    ) -> None:
        """Add or replace an account; its snapshot is as of now."""
        key = parsed_account(account)
        self._books[key] = _Book(
            account_info or an_account_info(login=key.login, server=key.server),
            positions,
            orders,
            deals,
            history_orders,
            {symbol.name: symbol for symbol in symbols},
            ticks or {},
            rates or {},
            self._now_ms(),
        )

    def fail_with(self, account: AccountId | str, error: MT5Error) -> None:
        """Let look-ups of an enrolled account fail until `recover`; its snapshot stays."""
        self._book(parsed_account(account)).error = error

    def recover(self, account: AccountId | str) -> None:
        self._book(parsed_account(account)).error = None

    async def open(self) -> None:
        """There is nothing to connect to."""

    async def aclose(self) -> None:
        """There is nothing to disconnect from."""

    async def submit(
        self,
        operation: Operation | str,
        account: AccountId | str,
        arguments: Mapping[str, Any] | None = None,
        **options: Unpack[AskOptions],
    ) -> str:
        ask = compose(operation, account, arguments, default_timeout=self._timeout, **options)
        self._settle(ask)
        return ask.request.id

    async def fetch_reply(self, request_id: str, *, wait: float = 0.0) -> Answer[Any] | None:
        check_wait(wait)
        settled = self._settled.get(check_request_id(request_id))
        return None if settled is None else settled.answer()

    async def snapshot(self, account: AccountId | str) -> AccountSnapshot | None:
        key = parsed_account(account)
        return account_snapshot(self._snapshot(key), self._now_ms()) if key in self._books else None

    async def health(self) -> Health | None:
        return self.worker_health

    async def _ask(
        self,
        operation: Operation,
        account: AccountId | str,
        arguments: Mapping[str, Any],
        options: AskOptions,
    ) -> Answer[Any]:
        ask = compose(operation, account, arguments, default_timeout=self._timeout, **options)
        return self._settle(ask).answer()

    def _settle(self, ask: Ask) -> _Settled:
        settled = self._settled.get(ask.request.id)
        if settled is None:
            settled = self._settled[ask.request.id] = self._work(ask)
        elif settled.ask.request.fingerprint() != ask.request.fingerprint():
            raise conflict(ask.request)
        return settled

    def _work(self, ask: Ask) -> _Settled:
        question, request = ask.question, ask.request
        self.asked.append(
            Asked(question.account, question.operation, request.arguments, request.id)
        )
        try:
            return _Settled(ask, self._fresh(ask) or self._read(ask))
        except MT5Error as error:
            return _Settled(ask, self._stale(ask, error) or error)

    def _fresh(self, ask: Ask) -> OkReply | None:
        if not ask.is_in_snapshot:
            return None
        snapshot = self._snapshot(ask.question.account)
        return fresh_reply(ask.request, ask.question.operation, snapshot, self._now_ms())

    def _stale(self, ask: Ask, error: MT5Error) -> OkReply | None:
        if not (error.retryable and ask.is_in_snapshot and ask.request.stale_if_error_ms):
            return None
        snapshot = self._snapshot(ask.question.account)
        return stale_reply(
            ask.request, ask.question.operation, snapshot, self._now_ms(), error.code
        )

    def _read(self, ask: Ask) -> OkReply:
        book = self._book(ask.question.account)
        if book.error is not None:
            raise book.error
        now_ms = self._now_ms()
        if ask.is_in_snapshot:
            book.as_of_ms = now_ms
        return OkReply(
            id=ask.request.id,
            account=ask.request.account,
            operation=ask.request.operation,
            data=_raw(_look_up(book, ask)),
            as_of_ms=now_ms,
            age_ms=0,
            source="terminal",
            synchronized="confirmed",
        )

    def _book(self, account: AccountId) -> _Book:
        if account not in self._books:
            raise AccountUnknownError(f"{account} is not enrolled")
        return self._books[account]

    def _snapshot(self, account: AccountId) -> Snapshot:
        book = self._book(account)
        data = SnapshotData(_raw(book.account_info), _raw(book.positions), _raw(book.orders))
        return Snapshot(account, data, book.as_of_ms, "confirmed")

    def _now_ms(self) -> int:
        return round(self._clock().timestamp() * 1000)

    def __repr__(self) -> str:
        return f"<FakeAccountClient {len(self._books)} accounts, {len(self.asked)} asked>"


def _raw(data: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(data))


def _look_up(book: _Book, ask: Ask) -> object:
    match ask.question.operation, ask.question.arguments:
        case Operation.DEALS, HistoryArguments(from_ms=start, to_ms=end):
            return [deal for deal in book.deals if start <= deal.time_msc <= end]
        case Operation.HISTORY_ORDERS, HistoryArguments(from_ms=start, to_ms=end):
            return [order for order in book.history_orders if start <= order.time_done_msc <= end]
        case Operation.SYMBOL, SymbolArguments(symbol=name):
            return _known(book.symbols, name)
        case Operation.TICK, SymbolArguments(symbol=name):
            return _known(book.ticks, name)
        case Operation.RATES, RatesArguments(symbol=name, count=count):
            return _known(book.rates, name)[-count:]
        case operation, _:
            return getattr(book, operation.value)


_T = TypeVar("_T")


def _known(quotes: Mapping[str, _T], symbol: str) -> _T:
    if symbol not in quotes:
        raise NotFoundError(f"symbol {symbol!r} is not known")
    return quotes[symbol]


def _record(
    kind: type[RecordT], changes: Mapping[str, Any], defaults: Mapping[str, Any]
) -> RecordT:
    """A record that is zero, false or empty in all that is not given."""
    return kind(**{**_blank(kind), **defaults, **changes})


@cache
def _blank(kind: type[Record]) -> Mapping[str, Any]:
    return {name: hint() for name, hint in get_type_hints(kind).items()}


def an_account_info(**changes: Any) -> AccountInfo:  # noqa: ANN401 - any field of the record
    """A demo account with 10 000 USD and nothing open."""
    money = {"balance": 10_000.0, "equity": 10_000.0, "margin_free": 10_000.0, "assets": 0.0}
    owner = {"login": 25115284, "server": "MetaQuotes-Demo", "name": "Sample"}
    terms = {"currency": "USD", "currency_digits": 2, "leverage": 100, "trade_allowed": True}
    return _record(AccountInfo, changes, {**owner, **money, **terms})


def a_position(**changes: Any) -> TradePosition:  # noqa: ANN401
    """0.1 lots of EURUSD, bought."""
    prices = {"price_open": 1.1, "price_current": 1.1}
    return _record(
        TradePosition, changes, {"ticket": 1, "symbol": "EURUSD", "volume": 0.1, **prices}
    )


def an_order(**changes: Any) -> TradeOrder:  # noqa: ANN401
    """A pending order to buy 0.1 lots of EURUSD at 1.05."""
    terms = {"type": 2, "volume_initial": 0.1, "volume_current": 0.1, "price_open": 1.05}
    return _record(TradeOrder, changes, {"ticket": 2, "symbol": "EURUSD", "state": 1, **terms})


def a_deal(**changes: Any) -> TradeDeal:  # noqa: ANN401
    """0.1 lots of EURUSD, bought at 1.1."""
    terms = {"volume": 0.1, "price": 1.1}
    return _record(TradeDeal, changes, {"ticket": 3, "symbol": "EURUSD", **terms})


def a_symbol(**changes: Any) -> SymbolInfo:  # noqa: ANN401
    """EURUSD with five digits."""
    terms = {"digits": 5, "point": 0.00001, "bid": 1.1, "ask": 1.1001}
    return _record(SymbolInfo, changes, {"name": "EURUSD", **terms})


def a_tick(**changes: Any) -> Tick:  # noqa: ANN401
    return _record(Tick, changes, {"bid": 1.1, "ask": 1.1001})


def a_rate(**changes: Any) -> Rate:  # noqa: ANN401
    return _record(Rate, changes, {"open": 1.1, "high": 1.2, "low": 1.0, "close": 1.15})


def a_health() -> Health:
    """The health of an idle worker with nothing wrong."""
    return Health(
        status=Status.OK,
        state=ConnectionState.CONNECTED,
        detail="idle",
        state_since_ms=0,
        breaker=BreakerState.CLOSED,
        worker_id="fake",
        fence=1,
        started_at_ms=0,
        heartbeat_at_ms=0,
        version="0",
        pool_limit=1,
    )
