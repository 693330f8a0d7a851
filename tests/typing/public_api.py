"""Never run: checked by mypy and pyright. What callers may rely on about types."""

from __future__ import annotations

from datetime import datetime
from typing import Any, assert_type

from mt5relay_gateway import (
    AccountClient,
    AccountId,
    AccountLookups,
    AccountSnapshot,
    Answer,
    BlockingAccountClient,
    Health,
)
from mt5relay_gateway.testing import FakeAccountClient
from mt5relay_shared.records import (
    AccountInfo,
    Rate,
    SymbolInfo,
    Tick,
    TradeDeal,
    TradeOrder,
    TradePosition,
)


async def look_ups(client: AccountLookups, account: AccountId, day: datetime) -> None:
    assert_type(await client.account_info(account, max_age=1.0), Answer[AccountInfo])
    assert_type(await client.positions("1@S", timeout=None), Answer[list[TradePosition]])
    assert_type(await client.orders("1@S", stale_if_error=60), Answer[list[TradeOrder]])
    assert_type(await client.deals("1@S", day, day), Answer[list[TradeDeal]])
    assert_type(await client.history_orders("1@S", from_=day, to=day), Answer[list[TradeOrder]])
    assert_type(await client.symbol("1@S", "EURUSD"), Answer[SymbolInfo])
    assert_type(await client.tick("1@S", "EURUSD", request_id="x"), Answer[Tick])
    assert_type(await client.rates("1@S", "EURUSD", "M15", 10), Answer[list[Rate]])
    assert_type((await client.account_info(account)).data.equity, float)
    assert_type(await client.submit("tick", "1@S", {"symbol": "EURUSD"}, timeout=1), str)
    assert_type(await client.fetch_reply("x", wait=1), Answer[Any] | None)
    assert_type(await client.snapshot("1@S"), AccountSnapshot | None)
    assert_type(await client.health(), Health | None)


async def both_clients_are_look_ups() -> None:
    async with AccountClient() as client, FakeAccountClient() as fake:
        assert_type(client, AccountClient)
        assert_type(fake, FakeAccountClient)
        both: list[AccountLookups] = [client, fake]
        assert both


def blocking_look_ups(day: datetime) -> None:
    with BlockingAccountClient() as client:
        assert_type(client, BlockingAccountClient)
        assert_type(client.account_info("1@S", max_age=1.0), Answer[AccountInfo])
        assert_type(client.positions("1@S"), Answer[list[TradePosition]])
        assert_type(client.orders("1@S"), Answer[list[TradeOrder]])
        assert_type(client.deals("1@S", day, day), Answer[list[TradeDeal]])
        assert_type(client.history_orders("1@S", day, day), Answer[list[TradeOrder]])
        assert_type(client.symbol("1@S", "EURUSD"), Answer[SymbolInfo])
        assert_type(client.tick("1@S", "EURUSD"), Answer[Tick])
        assert_type(client.rates("1@S", "EURUSD", "M15", 10), Answer[list[Rate]])
        assert_type(client.fetch_reply("x"), Answer[Any] | None)


async def mistakes_are_found(client: AccountLookups) -> None:
    await client.positions(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.positions("1@S", max_agee=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await client.rates("1@S", "EURUSD", "M7", 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
