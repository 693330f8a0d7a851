"""`mt5relay queue`: who waits, for which account, since when, and by when they will be answered."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from rich.table import Table

from mt5relay_gateway.batch import CommandBatch
from mt5relay_gateway.cli.connection import redis_commands, server_time_ms
from mt5relay_gateway.cli.output import AsJson, print_json, print_view, printable, utc_text
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_shared.errors import MT5DataError, MT5ValidationError
from mt5relay_shared.keys import Keys
from mt5relay_shared.messages import MalformedRequestError, Request, decode_request
from mt5relay_shared.operator import Turn
from mt5relay_shared.settings import load_settings


class AccountInLine(msgspec.Struct, frozen=True):
    """An account that somebody waits for; times in ms of Redis server time."""

    account: str
    waiting: int
    since_ms: int
    by_ms: int


class RequestInLine(msgspec.Struct, frozen=True):
    """A request that waits. `by_ms` is when it will be answered at the latest: at its account's
    turn, or at its deadline; None where the worker has not read it yet."""

    request_id: str
    account: str
    operation: str
    gateway: str | None
    since_ms: int
    by_ms: int | None
    deadline_ms: int


async def queue(
    *,
    requests: Annotated[bool, Parameter(negative="")] = False,
    limit: int = 100,
    as_json: AsJson = False,
) -> None:
    """Show who waits, since when, and by when they will be answered, in the order of their turns.

    Args:
        requests: One line for each request instead of each account.
        limit: Show so many at most.
    """
    if limit < 1:
        raise MT5ValidationError(f"--limit: {limit} is below 1")
    settings = load_settings(GatewaySettings)
    async with redis_commands(settings) as redis:
        now_ms, accounts, entries, waiting = await asyncio.gather(
            server_time_ms(redis),
            read_line(redis, settings.keys),
            redis.call("XRANGE", settings.keys.requests, "-", "+", "COUNT", limit),
            redis.call("XLEN", settings.keys.requests),
        )
    found = requests_in_line(entries, accounts) if requests else accounts[:limit]
    if as_json:
        for one in found:
            print_json(one)
        return
    if found:
        print_view(_view(found, now_ms))
    hidden = (waiting if requests else len(accounts)) - len(found)
    more = f"; {hidden} more are not shown, see --limit" if hidden > 0 else ""
    print(f"{waiting} requests wait for {len(accounts)} accounts{more}")


async def read_line(redis: CommandBatch, keys: Keys) -> list[AccountInLine]:
    """The accounts that somebody waits for, as the worker last said, next turn first.

    Raises:
        MT5DataError: a worker of another version wrote what can't be read here.
    """
    fields: Mapping[bytes, bytes] = await redis.call("HGETALL", keys.queue)
    try:
        turns = {
            account.decode(): msgspec.json.decode(turn, type=Turn)
            for account, turn in fields.items()
        }
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MT5DataError(f"queue of {keys.terminal}: unreadable: {error}") from None
    line = [
        AccountInLine(account, turn.waiting, turn.since_ms, turn.by_ms)
        for account, turn in turns.items()
    ]
    return sorted(line, key=lambda one: one.by_ms)


def requests_in_line(
    entries: Sequence[Any], accounts: Sequence[AccountInLine]
) -> list[RequestInLine]:
    """The readable ones among the stream's entries, oldest first."""
    turns = {one.account: one.by_ms for one in accounts}
    return [
        _request_in_line(int(entry.partition(b"-")[0]), request, turns)
        for entry, fields in entries
        if (request := _readable(fields)) is not None
    ]


def _readable(fields: Mapping[bytes, bytes]) -> Request | None:
    try:
        return decode_request(fields.get(b"request", b""))
    except MalformedRequestError:  # the worker will say so to whoever asked
        return None


def _request_in_line(since_ms: int, request: Request, turns: Mapping[str, int]) -> RequestInLine:
    deadline_ms = since_ms + request.timeout_ms
    turn_ms = turns.get(request.account)
    return RequestInLine(
        request_id=request.id,
        account=request.account,
        operation=request.operation,
        gateway=request.reply_to,
        since_ms=since_ms,
        by_ms=None if turn_ms is None else min(turn_ms, deadline_ms),
        deadline_ms=deadline_ms,
    )


def _view(line: Sequence[AccountInLine] | Sequence[RequestInLine], now_ms: int) -> Table:
    table = Table(
        *(name.removesuffix("_ms").replace("_", " ") for name in line[0].__struct_fields__)
    )
    for one in line:
        table.add_row(*(_cell(name, getattr(one, name), now_ms) for name in one.__struct_fields__))
    return table


def _cell(name: str, value: str | int | None, now_ms: int) -> str:
    match value:
        case None:
            return "-"
        case int() if name.endswith("_ms"):
            away_s = (value - now_ms) / 1000
            when = f"in {away_s:.1f} s" if away_s >= 0 else f"{-away_s:.1f} s ago"
            return f"{utc_text(value)} ({when})"
        case _:
            return printable(str(value))
