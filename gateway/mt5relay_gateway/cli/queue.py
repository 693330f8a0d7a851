"""`mt5relay queue`: who waits, for which account, since when, and by when they will be answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter
from rich.table import Table

from mt5relay_gateway.cli.output import AsJson, print_json, print_view, printable, utc_text
from mt5relay_gateway.operating.connection import redis_commands, server_time_ms
from mt5relay_gateway.operating.line import (
    AccountInLine,
    RequestInLine,
    read_line,
    requests_in_line,
)
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.settings import load_settings


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
