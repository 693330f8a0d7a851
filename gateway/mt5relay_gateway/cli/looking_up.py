"""One operation by its name: which details it needs, and the client's method that takes them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, Unpack

from mt5relay_gateway.answers import Answer
from mt5relay_gateway.composing import AskOptions
from mt5relay_gateway.lookups import AccountLookups
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.operations import Operation, Timeframe

T = TypeVar("T")

HISTORY_SPAN = timedelta(days=30)
CLOCK_MARGIN = timedelta(days=1)  # no broker's clock is further from UTC


@dataclass(frozen=True, kw_only=True)
class Details:
    """What some operations take beside the account. Moments are of the broker server's clock."""

    symbol: str | None = None
    timeframe: Timeframe | None = None
    count: int | None = None
    from_: datetime | None = None
    to: datetime | None = None

    def given(self) -> frozenset[str]:
        return frozenset(
            field.name for field in fields(self) if getattr(self, field.name) is not None
        )


_ACCEPTED: dict[Operation, frozenset[str]] = {
    Operation.ACCOUNT_INFO: frozenset(),
    Operation.POSITIONS: frozenset(),
    Operation.ORDERS: frozenset(),
    Operation.DEALS: frozenset({"from_", "to"}),
    Operation.HISTORY_ORDERS: frozenset({"from_", "to"}),
    Operation.SYMBOL: frozenset({"symbol"}),
    Operation.TICK: frozenset({"symbol"}),
    Operation.RATES: frozenset({"symbol", "timeframe", "count"}),
}
_OPTIONAL = frozenset({"from_", "to"})


def check_details(operation: Operation, details: Details) -> None:
    """Refuse what is missing or too much.

    Raises:
        MT5ValidationError: naming the option.
    """
    accepted, given = _ACCEPTED[operation], details.given()
    for name in sorted(given - accepted):
        raise MT5ValidationError(f"{_option(name)}: {operation} does not take it; leave it out")
    for name in sorted(accepted - given - _OPTIONAL):
        raise MT5ValidationError(f"{_option(name)}: {operation} needs it")


def _option(name: str) -> str:
    return f"--{name.rstrip('_')}"


async def look_up(
    client: AccountLookups,
    operation: Operation,
    account: AccountId,
    details: Details,
    **options: Unpack[AskOptions],
) -> Answer[Any]:
    """Ask, and return the answer; the range of a history is by default the last 30 days.

    Raises:
        MT5ValidationError: a detail is missing or too much.
        MT5Error: as the client's method does.
    """
    check_details(operation, details)
    from_, to = _range(details)
    match operation:
        case Operation.ACCOUNT_INFO:
            return await client.account_info(account, **options)
        case Operation.POSITIONS:
            return await client.positions(account, **options)
        case Operation.ORDERS:
            return await client.orders(account, **options)
        case Operation.DEALS:
            return await client.deals(account, from_, to, **options)
        case Operation.HISTORY_ORDERS:
            return await client.history_orders(account, from_, to, **options)
        case Operation.SYMBOL:
            return await client.symbol(account, _present(details.symbol), **options)
        case Operation.TICK:
            return await client.tick(account, _present(details.symbol), **options)
        case Operation.RATES:
            return await client.rates(
                account,
                _present(details.symbol),
                _present(details.timeframe),
                _present(details.count),
                **options,
            )


def _range(details: Details) -> tuple[datetime, datetime]:
    to = details.to or datetime.now(UTC) + CLOCK_MARGIN
    return details.from_ or to - HISTORY_SPAN - CLOCK_MARGIN, to


def _present(detail: T | None) -> T:
    assert detail is not None, "checked above"  # noqa: S101
    return detail
