"""The same look-ups for code without an event loop: scripts, notebooks, threaded services."""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, Unpack

import anyio
from anyio.from_thread import BlockingPortal

from mt5relay_gateway.answers import AccountSnapshot, Answer
from mt5relay_gateway.client import AccountClient
from mt5relay_gateway.composing import AskOptions
from mt5relay_gateway.home import forked, warn_unclosed
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


def _serve(started: Future[BlockingPortal]) -> None:
    async def serve() -> None:
        async with BlockingPortal() as portal:
            started.set_result(portal)
            await portal.sleep_until_stopped()

    anyio.run(serve, backend="asyncio")


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
        self._portal: BlockingPortal | None = None
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    def open(self) -> None:
        """Start the thread and connect.

        Raises:
            RedisUnavailableError: Redis can't be reached or refuses the client.
            MT5StateError: it was opened before.
        """
        if self._thread is not None:
            raise MT5StateError("the client was opened before; make a new one")
        self._pid = os.getpid()
        started: Future[BlockingPortal] = Future()
        # A daemon: a script that forgets to close the client must end all the same.
        self._thread = threading.Thread(
            target=_serve, args=(started,), name="mt5relay-client", daemon=True
        )
        self._thread.start()
        self._portal = started.result()
        try:
            self._portal.call(self._client.open)
        except BaseException:
            self._end_thread()
            raise

    def close(self) -> None:
        """Disconnect and end the thread."""
        if self._portal is None:
            return
        if os.getpid() != self._pid:  # the thread and the connections are the parent's
            self._portal = None
            return
        try:
            self._portal.call(self._client.aclose)
        finally:
            self._end_thread()

    def _end_thread(self) -> None:
        portal, self._portal = self._portal, None
        if portal is not None and self._thread is not None:
            portal.call(portal.stop)
            self._thread.join()

    def __del__(self) -> None:
        if getattr(self, "_portal", None) is not None and os.getpid() == self._pid:
            warn_unclosed(self, "use `with`, or call its close()")

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
        if os.getpid() != self._pid:
            raise forked()
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
