"""The same look-ups for code without an event loop: scripts, notebooks, threaded services."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, Unpack

from anyio.from_thread import BlockingPortal, start_blocking_portal

from mt5relay_gateway.answers import AccountSnapshot, Answer
from mt5relay_gateway.client import AccountClient
from mt5relay_gateway.composing import AskOptions
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5StateError
from mt5relay_shared.health import Health
from mt5relay_shared.messages import DEFAULT_TIMEOUT_MS
from mt5relay_shared.operations import Operation, Timeframe
from mt5relay_shared.records import (
    AccountInfo,
    Rate,
    SymbolInfo,
    Tick,
    TradeDeal,
    TradeOrder,
    TradePosition,
)

P = ParamSpec("P")
T = TypeVar("T")


class BlockingAccountClient:
    """`AccountClient` behind ordinary calls; its event loop runs in a thread of its own.

    Use as a context manager, or call `open()` and `close()`. Safe to share between threads: their
    requests travel together. Parameters, results and errors are those of `AccountClient`.
    """

    def __init__(
        self,
        redis_url: str = "redis://127.0.0.1:6379/0",
        *,
        terminal: str = "main",
        key_prefix: str = "mt5",
        name: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_MS / 1000,
        queue_limit: int = 10_000,
        gateway_limit: int = 0,
        allow_plaintext: bool = False,
    ) -> None:
        self._client = AccountClient(
            redis_url,
            terminal=terminal,
            key_prefix=key_prefix,
            name=name,
            timeout=timeout,
            queue_limit=queue_limit,
            gateway_limit=gateway_limit,
            allow_plaintext=allow_plaintext,
        )
        self._running = ExitStack()
        self._portal: BlockingPortal | None = None

    def open(self) -> None:
        """Start the thread and connect."""
        with ExitStack() as starting:
            portal = starting.enter_context(start_blocking_portal("asyncio"))
            portal.call(self._client.open)
            starting.callback(portal.call, self._client.aclose)
            self._portal = portal
            self._running = starting.pop_all()

    def close(self) -> None:
        """Disconnect and end the thread."""
        self._portal = None
        self._running.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _call(self, method: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._portal is None:
            raise MT5StateError("the client is not open; use `with`, or call open() first")
        return self._portal.call(partial(method, *args, **kwargs))

    def account_info(
        self, account: AccountId | str, **options: Unpack[AskOptions]
    ) -> Answer[AccountInfo]:
        return self._call(self._client.account_info, account, **options)

    def positions(
        self, account: AccountId | str, **options: Unpack[AskOptions]
    ) -> Answer[list[TradePosition]]:
        return self._call(self._client.positions, account, **options)

    def orders(
        self, account: AccountId | str, **options: Unpack[AskOptions]
    ) -> Answer[list[TradeOrder]]:
        return self._call(self._client.orders, account, **options)

    def deals(
        self,
        account: AccountId | str,
        from_: datetime,
        to: datetime,
        **options: Unpack[AskOptions],
    ) -> Answer[list[TradeDeal]]:
        return self._call(self._client.deals, account, from_, to, **options)

    def history_orders(
        self,
        account: AccountId | str,
        from_: datetime,
        to: datetime,
        **options: Unpack[AskOptions],
    ) -> Answer[list[TradeOrder]]:
        return self._call(self._client.history_orders, account, from_, to, **options)

    def symbol(
        self, account: AccountId | str, name: str, **options: Unpack[AskOptions]
    ) -> Answer[SymbolInfo]:
        return self._call(self._client.symbol, account, name, **options)

    def tick(
        self, account: AccountId | str, name: str, **options: Unpack[AskOptions]
    ) -> Answer[Tick]:
        return self._call(self._client.tick, account, name, **options)

    def rates(
        self,
        account: AccountId | str,
        symbol: str,
        timeframe: Timeframe,
        count: int,
        **options: Unpack[AskOptions],
    ) -> Answer[list[Rate]]:
        return self._call(self._client.rates, account, symbol, timeframe, count, **options)

    def submit(
        self,
        operation: Operation | str,
        account: AccountId | str,
        arguments: Mapping[str, Any] | None = None,
        **options: Unpack[AskOptions],
    ) -> str:
        return self._call(self._client.submit, operation, account, arguments, **options)

    def fetch_reply(self, request_id: str, *, wait: float = 0.0) -> Answer[Any] | None:
        return self._call(self._client.fetch_reply, request_id, wait=wait)

    def snapshot(self, account: AccountId | str) -> AccountSnapshot | None:
        return self._call(self._client.snapshot, account)

    def health(self) -> Health | None:
        return self._call(self._client.health)

    def __repr__(self) -> str:
        return f"<Blocking {self._client!r}>"
