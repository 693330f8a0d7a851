"""What the backends of a demonstration ask."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mt5relay_gateway.answers import Answer
from mt5relay_gateway.cli.answer_views import answer_fields
from mt5relay_gateway.cli.looking_up import Details, look_up
from mt5relay_gateway.lookups import AccountLookups
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5Error
from mt5relay_shared.operations import Operation

TIMEOUT = 120.0  # seconds; a cold terminal alone may take 40
BACKENDS = 6
PAUSE = 0.3  # seconds between two look-ups of one backend, on average
STALE_IF_ERROR = 600.0  # seconds

_SYMBOL = Details(symbol="EURUSD")
_DETAILS = {
    Operation.SYMBOL: _SYMBOL,
    Operation.TICK: _SYMBOL,
    Operation.RATES: Details(symbol="EURUSD", timeframe="H1", count=5),
}
_WEIGHTS = {Operation.ACCOUNT_INFO: 10, Operation.POSITIONS: 6, Operation.ORDERS: 2}
_MAX_AGES = (0.0, 0.0, 0.0, 5.0)  # seconds; one in four is content with a recent read


@dataclass(frozen=True)
class Look:
    """One look-up and what came of it. `latency` in seconds, as the caller felt it."""

    account: AccountId
    operation: Operation
    latency: float
    result: Answer[Any] | MT5Error

    def fields(self) -> dict[str, object]:
        """For a program."""
        if isinstance(self.result, MT5Error):
            outcome: dict[str, object] = {
                "account": str(self.account),
                "operation": self.operation.value,
                "status": "error",
                "code": self.result.code,
                "message": str(self.result),
            }
        else:
            outcome = answer_fields(self.result)
        return {**outcome, "latency": round(self.latency, 4)}


async def ask_once(
    client: AccountLookups, account: AccountId, operation: Operation, *, max_age: float = 0.0
) -> Look:
    """One look-up; an error is a result here. Nothing is bridged unless a recent read will do."""
    clock = asyncio.get_running_loop().time
    started = clock()
    result: Answer[Any] | MT5Error
    try:
        result = await look_up(
            client,
            operation,
            account,
            _DETAILS.get(operation, Details()),
            timeout=TIMEOUT,
            max_age=max_age,
            stale_if_error=STALE_IF_ERROR if max_age else 0.0,
        )
    except MT5Error as error:
        result = error
    return Look(account, operation, clock() - started, result)


async def ask_everything(client: AccountLookups, accounts: Sequence[AccountId]) -> list[Look]:
    """Every operation for every account, all at once, as many backends would."""
    asked = [
        ask_once(client, account, operation) for account in accounts for operation in Operation
    ]
    return await asyncio.gather(*asked)


class Backends:
    """Callers that ask at random until they are stopped."""

    def __init__(
        self, client: AccountLookups, accounts: Sequence[AccountId], rng: random.Random
    ) -> None:
        self._client = client
        self._accounts = accounts
        self._rng = rng
        self._seen: list[Look] = []
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._ask_for_ever()) for _ in range(BACKENDS)]

    async def _ask_for_ever(self) -> None:
        operations = list(Operation)
        weights = [_WEIGHTS.get(operation, 1) for operation in operations]
        while True:
            account = self._rng.choice(self._accounts)
            (operation,) = self._rng.choices(operations, weights)
            max_age = self._rng.choice(_MAX_AGES)
            look = await ask_once(self._client, account, operation, max_age=max_age)
            self._seen.append(look)  # not in one line: `take` may have changed the list meanwhile
            await asyncio.sleep(self._rng.expovariate(1 / PAUSE))

    def take(self) -> list[Look]:
        """What came since the last time."""
        seen, self._seen = self._seen, []
        return seen

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
