"""`mt5relay top`: the worker's health and queue, again and again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mt5relay_gateway.batch import CommandBatch
from mt5relay_gateway.cli.output import console, print_view, printable
from mt5relay_gateway.operating.connection import redis_commands, server_time_ms
from mt5relay_gateway.operating.health import read_health
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.health import Health
from mt5relay_shared.keys import Keys
from mt5relay_shared.settings import load_settings

SHORTEST_INTERVAL = 0.1  # seconds


@dataclass(frozen=True)
class Sight:
    """What was seen at one moment of Redis server time."""

    now_ms: int
    health: Health | None
    waiting: int
    dead: int


async def top(
    *, interval: float = 1.0, once: Annotated[bool, Parameter(negative="")] = False
) -> None:
    """Watch the worker's health and queue until Ctrl-C.

    Args:
        interval: Seconds between two looks.
        once: Look once, print, and end.
    """
    if interval < SHORTEST_INTERVAL:
        raise MT5ValidationError(f"--interval: {interval} s is below {SHORTEST_INTERVAL} s")
    settings = load_settings(GatewaySettings)
    async with redis_commands(settings) as redis:
        first = await look(redis, settings.keys)
        if once:
            print_view(sight_view(settings.terminal_id, first, None))
        else:
            await _watch(redis, settings.keys, first, interval)


async def _watch(redis: CommandBatch, keys: Keys, first: Sight, interval: float) -> None:
    seen = first
    with Live(sight_view(keys.terminal, first, None), console=console()) as live:
        while True:
            await asyncio.sleep(interval)
            before, seen = seen, await look(redis, keys)
            live.update(sight_view(keys.terminal, seen, before), refresh=True)


async def look(redis: CommandBatch, keys: Keys) -> Sight:
    now_ms, health, waiting, dead = await asyncio.gather(
        server_time_ms(redis),
        read_health(redis, keys),
        redis.call("XLEN", keys.requests),
        redis.call("XLEN", keys.dead),
    )
    return Sight(now_ms, health, waiting, dead)


def requests_per_second(now: Sight, before: Sight | None) -> float | None:
    """The rate between two looks; None while it is not known, also across a restart."""
    if before is None or now.health is None or before.health is None:
        return None
    seconds = (now.now_ms - before.now_ms) / 1000
    answered = now.health.requests_total - before.health.requests_total
    return answered / seconds if seconds > 0 and answered >= 0 else None


def sight_view(terminal: str, now: Sight, before: Sight | None) -> RenderableType:
    health = now.health
    if health is None:
        return Text(f"terminal {terminal}: down, no worker lives; {now.waiting} requests wait")
    table = Table(show_header=False, title=f"terminal {terminal}")
    for row in (
        ("status", health.status, "state", f"{health.state} {health.detail}".strip()),
        ("breaker", health.breaker, "account", health.current_account or "-"),
        ("waiting", str(now.waiting), "oldest", _ms(health.oldest_request_age_ms)),
        (
            "requests/s",
            _number(requests_per_second(now, before)),
            "requests",
            str(health.requests_total),
        ),
        ("logins", str(health.logins), "saved", str(health.logins_saved)),
        ("visits", str(health.visits), "sessions", f"{health.pool_size}/{health.pool_limit}"),
        ("switch p50", _ms(health.switch_p50_ms), "switch p95", _ms(health.switch_p95_ms)),
        ("read p95", _ms(health.read_p95_ms), "late vs FIFO", _ms(health.late_vs_fifo_ms)),
        ("errors", str(health.errors_total), "stale replies", str(health.stale_replies)),
        (
            "dead letters",
            str(now.dead),
            "heartbeat",
            f"{_ms(now.now_ms - health.heartbeat_at_ms)} ago",
        ),
    ):
        table.add_row(*row)
    return Group(table, Text(_last_error(health)))


def _last_error(health: Health) -> str:
    if health.last_error_code is None:
        return "no error yet"
    return printable(f"last error: {health.last_error_code} {health.last_error_text or ''}")


def _ms(value: int | None) -> str:
    return "-" if value is None else f"{value} ms"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
