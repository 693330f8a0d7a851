"""mt5relay itself, through its public client."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence

from bench.driving import closed_loop
from bench.world import Lookup

from mt5relay_gateway import AccountClient

TIMEOUT = 300.0  # seconds; nothing may expire while it is measured


class RelayClient:
    def __init__(self, client: AccountClient) -> None:
        self._client = client

    async def drive(self, lookups: Sequence[Lookup], in_flight: int) -> list[float]:
        return await closed_loop(self._ask, lookups, in_flight)

    async def _ask(self, one: Lookup) -> None:
        await self._client.tick(one.account, one.arguments["symbol"], timeout=TIMEOUT)


@contextlib.asynccontextmanager
async def client(url: str) -> AsyncGenerator[RelayClient]:
    async with AccountClient(url) as asking:
        yield RelayClient(asking)
