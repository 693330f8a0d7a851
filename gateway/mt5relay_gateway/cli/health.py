"""`mt5relay health`: what the worker says about itself, as text and as exit status."""

from __future__ import annotations

from rich.table import Table

from mt5relay_gateway.cli.output import AsJson, print_json, print_view, printable, utc_text
from mt5relay_gateway.operating.connection import redis_commands
from mt5relay_gateway.operating.health import read_health
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_shared.health import Health, Status
from mt5relay_shared.settings import load_settings

EXIT_STATUS = {Status.OK: 0, Status.DEGRADED: 1, Status.DOWN: 2}


async def health(*, as_json: AsJson = False) -> int:
    """Show the worker's health; exit with 0 when ok, 1 when degraded, 2 when down.

    It only reads one key, so it suits a monitor.
    """
    settings = load_settings(GatewaySettings)
    async with redis_commands(settings) as redis:
        found = await read_health(redis, settings.keys)
    status = Status.DOWN if found is None else found.status
    if as_json:
        print_json(found or {"status": status, "detail": "no worker"})
    elif found is None:
        print(f"down: no worker lives for terminal {settings.terminal_id}")
    else:
        print_view(_view(found))
    return EXIT_STATUS[status]


def _view(health: Health) -> Table:
    table = Table(show_header=False)
    for name in health.__struct_fields__:
        table.add_row(
            name.removesuffix("_ms") if name.endswith("_at_ms") else name, _cell(name, health)
        )
    return table


def _cell(name: str, health: Health) -> str:
    value = getattr(health, name)
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int() if name.endswith(("_at_ms", "_since_ms")):
            return utc_text(value)
        case _:
            return printable(str(value))
