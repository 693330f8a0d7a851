"""`mt5relay terminals`: which terminals serve accounts together."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table

from mt5relay_gateway.cli.hand_over import check_hand_over
from mt5relay_gateway.cli.output import AsJson, print_json, print_view, printable, utc_text
from mt5relay_gateway.cli.pinning import Anyway
from mt5relay_gateway.cli.registration import (
    Registration,
    check_registered,
    registration,
    with_terminal,
    without_terminal,
)
from mt5relay_gateway.operating.connection import read_fleet, redis_commands
from mt5relay_gateway.operating.health import read_health
from mt5relay_gateway.registry import FOLLOWED_WITHIN
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_shared.errors import MT5StateError
from mt5relay_shared.fleet import Fleet, TerminalState
from mt5relay_shared.health import Status
from mt5relay_shared.keys import Keys, check_terminal_id
from mt5relay_shared.settings import load_settings

app = App(name="terminals", help="Register the terminals that serve accounts together.")


@app.command
async def add(
    terminal: str,
    /,
    *,
    draining: Annotated[bool, Parameter(negative="")] = False,
    anyway: Anyway = False,
) -> None:
    """Register a terminal; accounts of the servers that it is to serve go to it within a second.

    Args:
        terminal: Its id, as its worker has it in MT5_TERMINAL_ID.
        draining: Give it nothing yet: enrol the accounts there, then `resume` it.
        anyway: Also where it has no credential yet of an account that would go to it.
    """
    check_terminal_id(terminal)
    settings = load_settings(GatewaySettings)
    state = TerminalState.DRAINING if draining else TerminalState.ACTIVE
    async with registration(settings) as registry:
        if terminal in registry.fleet.terminals:
            raise MT5StateError(f"terminal {terminal} is registered already")
        after = with_terminal(registry.fleet, terminal, state, registry.now_ms)
        if not anyway:
            await check_hand_over(settings, registry.fleet, after)
        await registry.replace(after)
    print(f"added terminal {terminal}, {state}")


@app.command
async def drain(terminal: str, /, *, anyway: Anyway = False) -> None:
    """Give a terminal nothing new; its accounts go to the others, and what waits is answered.

    Args:
        terminal: Its id.
        anyway: Also where accounts would be left unserved.
    """
    settings = load_settings(GatewaySettings)
    async with registration(settings) as registry:
        after = _in_state(registry, terminal, TerminalState.DRAINING)
        if not anyway:
            await check_hand_over(settings, registry.fleet, after)
        await registry.replace(after)
    print(f"terminal {terminal} is draining; `terminals remove` it when nothing waits there")


@app.command
async def resume(terminal: str, /, *, anyway: Anyway = False) -> None:
    """Let a draining terminal serve its accounts again.

    Args:
        terminal: Its id.
        anyway: Also where it has no credential yet of an account that would go to it.
    """
    settings = load_settings(GatewaySettings)
    async with registration(settings) as registry:
        after = _in_state(registry, terminal, TerminalState.ACTIVE)
        if not anyway:
            await check_hand_over(settings, registry.fleet, after)
        await registry.replace(after)
    print(f"terminal {terminal} is active")


def _in_state(registry: Registration, terminal: str, state: TerminalState) -> Fleet:
    if check_registered(registry.fleet, terminal).state is state:
        raise MT5StateError(f"terminal {terminal} is {state} already")
    return with_terminal(registry.fleet, terminal, state, registry.now_ms)


@app.command
async def remove(
    terminal: str, /, *, anyway: Annotated[bool, Parameter(negative="")] = False
) -> None:
    """Forget a drained terminal and the pins to it; then its worker can be stopped.

    Credentials enrolled there stay.

    Args:
        terminal: Its id.
        anyway: Also while requests wait there; who asked gets no answer unless its worker lives.
    """
    settings = load_settings(GatewaySettings)
    async with registration(settings) as registry:
        registered = check_registered(registry.fleet, terminal)
        if registered.state is TerminalState.ACTIVE:
            raise MT5StateError(f"terminal {terminal} is active; `terminals drain` it first")
        if not anyway:
            await _check_drained(settings, terminal)
            _check_followed(terminal, registry.now_ms - registered.since_ms)
        await registry.replace(without_terminal(registry.fleet, terminal))
    print(f"removed terminal {terminal}; its worker can be stopped")


async def _check_drained(settings: GatewaySettings, terminal: str) -> None:
    keys = Keys(terminal, settings.key_prefix)
    async with redis_commands(settings, keys) as redis:
        waiting = await redis.call("XLEN", keys.requests)
    if waiting:
        raise MT5StateError(
            f"terminal {terminal}: {waiting} request(s) wait there; let its worker answer them,"
            " or give --anyway"
        )


def _check_followed(terminal: str, drained_for_ms: int) -> None:
    if drained_for_ms < FOLLOWED_WITHIN * 1000:
        raise MT5StateError(
            f"terminal {terminal}: clients may not have noticed yet that it is draining; try again"
            f" in {FOLLOWED_WITHIN:g} s, or give --anyway"
        )


@app.command(name="list")
async def list_terminals(*, as_json: AsJson = False) -> None:
    """List the registered terminals, their workers' health, and what waits there."""
    settings = load_settings(GatewaySettings)
    fleet = await read_fleet(settings)
    names = sorted(fleet.terminals)
    rows = await asyncio.gather(*(_row(settings, fleet, name) for name in names))
    if as_json:
        for row in rows:
            print_json(row)
    elif rows:
        print_view(_table(rows))
    else:
        print("no terminals are registered")


async def _row(settings: GatewaySettings, fleet: Fleet, terminal: str) -> dict[str, str | int]:
    keys = Keys(terminal, settings.key_prefix)
    async with redis_commands(settings, keys) as redis:
        health = await read_health(redis, keys)
        waiting: int = await redis.call("XLEN", keys.requests)
    registered = fleet.terminals[terminal]
    return {
        "terminal": terminal,
        "state": registered.state,
        "since": utc_text(registered.since_ms),
        "status": Status.DOWN if health is None else health.status,
        "waiting": waiting,
        "pins": Counter(fleet.pins.values())[terminal],
    }


def _table(rows: list[dict[str, str | int]]) -> Table:
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(printable(str(cell)) for cell in row.values()))
    return table
