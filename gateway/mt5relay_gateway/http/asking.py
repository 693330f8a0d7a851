"""One look-up by its operation, and its arguments as a query of a URL has them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Unpack

import msgspec

from mt5relay_gateway.answers import Answer
from mt5relay_gateway.composing import AskOptions, broker_time_ms
from mt5relay_gateway.http.call import REVERSED_RANGE
from mt5relay_gateway.http.problems import Refusal
from mt5relay_gateway.lookups import AccountLookups
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.operations import (
    MAX_BROKER_TIME_MS,
    OPERATIONS,
    Arguments,
    HistoryArguments,
    Operation,
    RatesArguments,
    SymbolArguments,
)

EARLIEST_MS = 100_000_000_000  # in 1973, before any record; as seconds it is the year 5138
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WHOLE = re.compile(r"(0|[1-9][0-9]{0,17})\Z")

QUERY: dict[Operation, tuple[str, ...]] = {
    Operation.ACCOUNT_INFO: (),
    Operation.POSITIONS: (),
    Operation.ORDERS: (),
    Operation.DEALS: ("from", "to"),
    Operation.HISTORY_ORDERS: ("from", "to"),
    Operation.SYMBOL: (),
    Operation.TICK: (),
    Operation.RATES: ("timeframe", "count"),
}
"""The parameters of a look-up's query; each is required."""


def arguments_from(
    operation: Operation, query: Mapping[str, str], path: Mapping[str, str]
) -> Arguments:
    """Read the arguments of a look-up from its URL.

    Raises:
        Refusal: a parameter is missing or malformed; it is named.
    """
    raw: dict[str, Any] = {name: query[name] for name in _checked(QUERY[operation], query)}
    if "symbol" in path:
        raw["symbol"] = path["symbol"]
    if "from" in raw:
        raw = {f"{name}_ms": moment_ms(name, text) for name, text in raw.items()}
    if "count" in raw:
        raw["count"] = _whole("count", raw["count"])
    try:
        return msgspec.convert(raw, OPERATIONS[operation].arguments)
    except msgspec.ValidationError as error:
        if REVERSED_RANGE in str(error):
            raise MT5ValidationError("from: it is after `to`") from None
        raise Refusal("MALFORMED", f"arguments: {error}") from None


def _checked(names: tuple[str, ...], query: Mapping[str, str]) -> tuple[str, ...]:
    check_query(query, names)
    for name in names:
        if name not in query:
            raise Refusal("MALFORMED", f"{name}: the query needs it")
    return names


def check_query(query: Mapping[str, str], known: tuple[str, ...]) -> None:
    """Raises:
    Refusal: the query has a parameter that is not known here; a misspelt one would be ignored.
    """
    for name in query:
        if name not in known:
            allowed = ", ".join(known) or "none"
            raise Refusal("MALFORMED", f"{name[:80]!r}: no such parameter; known: {allowed}")


def whole(name: str, text: str, most: int) -> int:
    """A number of a query.

    Raises:
        Refusal: it is none, or too large.
    """
    number = _whole(name, text)
    if number > most:
        raise Refusal("MALFORMED", f"{name}: {number} is above {most}")
    return number


def _whole(name: str, text: str) -> int:
    if not _WHOLE.match(text):
        raise Refusal("MALFORMED", f"{name}: {text[:40]!r} is not a whole number")
    return int(text)


def moment_ms(name: str, text: str) -> int:
    """A moment of the broker server's clock: ISO 8601, naive or with Z, or milliseconds since 1970.

    Raises:
        Refusal: it is neither.
        MT5ValidationError: it has a time zone.
    """
    if _WHOLE.match(text):
        return _plausible_ms(name, int(text))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refusal(
            "MALFORMED",
            f"{name}: {text[:40]!r} is neither a time as 2026-01-31T00:00:00 nor milliseconds",
        ) from None
    at_ms = broker_time_ms(name, moment)
    if not 0 <= at_ms <= MAX_BROKER_TIME_MS:
        raise MT5ValidationError(f"{name}: {text} is not between 1970 and 2038")
    return at_ms


def _plausible_ms(name: str, at_ms: int) -> int:
    """Seconds, the unit of `time` in every record, would be read as a day in January 1970."""
    if 0 < at_ms < EARLIEST_MS:
        raise MT5ValidationError(
            f"{name}: {at_ms} ms is before 1973; give milliseconds ({at_ms * 1000}, if these are"
            " seconds), 0 for the beginning, or a time as 2026-01-31T00:00:00"
        )
    return at_ms


async def look_up(
    client: AccountLookups,
    operation: Operation,
    account: AccountId,
    arguments: Arguments,
    **options: Unpack[AskOptions],
) -> Answer[Any]:
    """Ask through the client's method for the operation. Raises as that does."""
    match operation, arguments:
        case Operation.ACCOUNT_INFO, _:
            return await client.account_info(account, **options)
        case Operation.POSITIONS, _:
            return await client.positions(account, **options)
        case Operation.ORDERS, _:
            return await client.orders(account, **options)
        case Operation.DEALS, HistoryArguments(from_ms=start, to_ms=end):
            return await client.deals(account, _moment(start), _moment(end), **options)
        case Operation.HISTORY_ORDERS, HistoryArguments(from_ms=start, to_ms=end):
            return await client.history_orders(account, _moment(start), _moment(end), **options)
        case Operation.RATES, RatesArguments(symbol=name, timeframe=timeframe, count=count):
            return await client.rates(account, name, timeframe, count, **options)
        case Operation.TICK, SymbolArguments(symbol=name):
            return await client.tick(account, name, **options)
        case Operation.SYMBOL, SymbolArguments(symbol=name):
            return await client.symbol(account, name, **options)
        case _:
            raise AssertionError(f"{operation} does not take {arguments}")


def _moment(epoch_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=epoch_ms)
