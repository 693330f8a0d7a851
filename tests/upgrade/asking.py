"""Uses the client library of whichever release is on the path, and prints what it was told.

Reads one JSON object from standard input: `url`, `terminal`, `what` (a function below) and its
`arguments`. Prints one: the result, and where the package lies that was used.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import mt5relay_gateway
from mt5relay_gateway import AccountClient, MT5Error


async def everything(client: AccountClient, account: str, other: str) -> dict[str, Any]:
    """Every operation, a batch, a snapshot, an answer that is collected later, health, refusals."""
    now = datetime.now(UTC)
    info = await client.account_info(account)
    positions = await client.positions(account)
    orders = await client.orders(account)
    deals = await client.deals(account, now - timedelta(days=60), now + timedelta(days=1))
    past = await client.history_orders(account, now - timedelta(days=60), now)
    symbol = await client.symbol(account, "EURUSD")
    tick = await client.tick(account, "EURUSD")
    rates = await client.rates(account, "EURUSD", "M5", 10)
    batch = await asyncio.gather(*(client.positions(one) for one in [account, other] * 10))
    fresh = await client.account_info(account, max_age=60)
    snapshot = await client.snapshot(account)
    request_id = await client.submit("orders", other)
    collected = await client.fetch_reply(request_id, wait=60)
    health = await client.health()
    return {
        "login": info.data.login,
        "source": info.source,
        "symbols": [position.symbol for position in positions.data],
        "orders": len(orders.data),
        "deals": len(deals.data),
        "past": len(past.data) >= 0,
        "symbol": symbol.data.name,
        "spread": tick.data.ask >= tick.data.bid > 0,
        "rates": len(rates.data),
        "batch": [str(answer.account) for answer in batch],
        "fresh": fresh.source,
        "snapshot": snapshot is not None and snapshot.account_info.login,
        "collected": collected is not None and str(collected.account),
        "health": health is not None and [health.status, health.state, health.breaker],
        "unknown_symbol": await code_of(client.tick(account, "NOSUCH")),
        "unknown_account": await code_of(client.positions("999@Alpha-Demo")),
    }


async def code_of(asking: Any) -> str:
    try:
        await asking
    except MT5Error as error:
        return error.code
    return "none"


async def positions(
    client: AccountClient, account: str, request_ids: list[str], timeout: float
) -> dict[str, Any]:
    """Ask one account with each of these ids at once; what became of each."""

    async def one(request_id: str) -> str:
        try:
            answer = await client.positions(account, request_id=request_id, timeout=timeout)
        except MT5Error as error:
            return f"{error.code}: {error}"
        return str(answer.account)

    return {"answers": await asyncio.gather(*map(one, request_ids))}


async def main() -> None:
    given = json.load(sys.stdin)
    known: dict[str, Any] = {"everything": everything, "positions": positions}
    what = known[given["what"]]
    async with AccountClient(given["url"], terminal=given["terminal"], timeout=30) as client:
        result = await what(client, *given["arguments"])
    json.dump({"package": mt5relay_gateway.__file__, "result": result}, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
