"""The interface that application code depends on: what can be asked about an account."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self, Unpack

from mt5relay_gateway.answers import AccountSnapshot, Answer
from mt5relay_gateway.composing import AskOptions, broker_time_ms
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.health import Health
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


class AccountLookups(ABC):
    """Eight typed look-ups, over one way to ask.

    Every look-up takes the keywords of `AskOptions`, and raises `MT5ValidationError` for bad
    parameters, `DeadlineExceededError` without an answer in time, `RedisUnavailableError` without
    Redis, and otherwise the `MT5Error` that the worker answered with. An empty list means that
    there is nothing, never that it is not known.
    """

    @abstractmethod
    async def open(self) -> None: ...

    @abstractmethod
    async def aclose(self) -> None: ...

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    @abstractmethod
    async def _ask(
        self,
        operation: Operation,
        account: AccountId | str,
        arguments: Mapping[str, Any],
        options: AskOptions,
    ) -> Answer[Any]: ...

    @abstractmethod
    async def submit(
        self,
        operation: Operation | str,
        account: AccountId | str,
        arguments: Mapping[str, Any] | None = None,
        **options: Unpack[AskOptions],
    ) -> str:
        """Queue a request without waiting, and return its id for `fetch_reply`.

        The reply is kept for 60 seconds past the request's timeout. Raises as the look-ups do,
        for all that can be known at once.
        """

    @abstractmethod
    async def fetch_reply(self, request_id: str, *, wait: float = 0.0) -> Answer[Any] | None:
        """Collect the answer to a submitted request, waiting up to `wait` seconds.

        None: not answered yet, or so long ago that the reply has expired. Raises the error of an
        error reply, and `RedisUnavailableError` where Redis is still away after `wait`.
        """

    @abstractmethod
    async def snapshot(self, account: AccountId | str) -> AccountSnapshot | None:
        """The account's last good full read, however old, without troubling the worker."""

    @abstractmethod
    async def health(self) -> Health | None:
        """What the worker last said about itself; None: no worker lives."""

    async def account_info(
        self, account: AccountId | str, **options: Unpack[AskOptions]
    ) -> Answer[AccountInfo]:
        """Balance, equity, margin and settings of the account."""
        return await self._ask(Operation.ACCOUNT_INFO, account, {}, options)

    async def positions(
        self, account: AccountId | str, **options: Unpack[AskOptions]
    ) -> Answer[list[TradePosition]]:
        """The open positions."""
        return await self._ask(Operation.POSITIONS, account, {}, options)

    async def orders(
        self, account: AccountId | str, **options: Unpack[AskOptions]
    ) -> Answer[list[TradeOrder]]:
        """The pending orders."""
        return await self._ask(Operation.ORDERS, account, {}, options)

    async def deals(
        self,
        account: AccountId | str,
        from_: datetime,
        to: datetime,
        **options: Unpack[AskOptions],
    ) -> Answer[list[TradeDeal]]:
        """The deals made from `from_` to `to`, both included.

        Times are the broker server's wall clock, naive or dressed as UTC, as in the records.
        """
        return await self._ask(Operation.DEALS, account, _range(from_, to), options)

    async def history_orders(
        self,
        account: AccountId | str,
        from_: datetime,
        to: datetime,
        **options: Unpack[AskOptions],
    ) -> Answer[list[TradeOrder]]:
        """The orders no longer pending, for a range as in `deals`."""
        return await self._ask(Operation.HISTORY_ORDERS, account, _range(from_, to), options)

    async def symbol(
        self, account: AccountId | str, name: str, **options: Unpack[AskOptions]
    ) -> Answer[SymbolInfo]:
        """A symbol's properties. Raises `NotFoundError` where the broker has no such symbol."""
        return await self._ask(Operation.SYMBOL, account, {"symbol": name}, options)

    async def tick(
        self, account: AccountId | str, name: str, **options: Unpack[AskOptions]
    ) -> Answer[Tick]:
        """A symbol's last prices. Raises `NotFoundError` where the broker has no such symbol."""
        return await self._ask(Operation.TICK, account, {"symbol": name}, options)

    async def rates(
        self,
        account: AccountId | str,
        symbol: str,
        timeframe: Timeframe,
        count: int,
        **options: Unpack[AskOptions],
    ) -> Answer[list[Rate]]:
        """The last `count` bars (at most 10 000), oldest first, the running one included."""
        arguments = {"symbol": symbol, "timeframe": timeframe, "count": count}
        return await self._ask(Operation.RATES, account, arguments, options)


def _range(from_: datetime, to: datetime) -> dict[str, int]:
    start, end = broker_time_ms("from_", from_), broker_time_ms("to", to)
    return {"from_ms": start, "to_ms": end}
