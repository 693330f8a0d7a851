"""`mt5relay events`: what happened to the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from mt5relay_gateway.cli.output import AsJson, print_json, printable, utc_text
from mt5relay_gateway.operating.connection import redis_commands
from mt5relay_gateway.operating.event_stream import EventStream
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_shared.operator import Event
from mt5relay_shared.settings import load_settings


async def events(
    *,
    last: Annotated[int, Parameter(validator=Number(gte=1, lte=10_000))] = 20,
    follow: Annotated[bool, Parameter(negative="")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the last transitions of state, breaker and lease, and the commands obeyed.

    Args:
        last: How many, at most 10000.
        follow: Go on with new ones until Ctrl-C.
        as_json: Print JSON, one event a line.
    """
    show = print_json if as_json else _print_line
    settings = load_settings(GatewaySettings)
    async with redis_commands(settings) as redis:
        stream = EventStream(redis, settings.keys)
        page = await stream.last(last)
        _show_all(page.events, show)
        while follow:
            page = await stream.after(page.cursor)
            _show_all(page.events, show)


def _show_all(found: Sequence[Event], show: Callable[[Event], None]) -> None:
    for event in found:
        show(event)


def _print_line(event: Event) -> None:
    print(printable(line(event)), flush=True)


def line(event: Event) -> str:
    """E.g. `2026-01-05T10:00:00.000Z  breaker  CLOSED -> OPEN  (three failures)`."""
    parts = [utc_text(event.at_ms), event.kind.ljust(7)]
    if event.target is not None:
        parts.append(f"{event.source} -> {event.target}" if event.source else event.target)
    parts += [part for part in (event.command, event.result, event.detail, event.message) if part]
    if event.cause:
        parts.append(f"({event.cause})")
    return "  ".join(parts)
