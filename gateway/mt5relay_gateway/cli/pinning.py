"""`mt5relay accounts pin|unpin|where`: which terminal serves an account, and why."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from mt5relay_gateway.cli.hand_over import check_hand_over
from mt5relay_gateway.cli.output import AsJson, print_json
from mt5relay_gateway.cli.registration import (
    check_registered,
    registration,
    with_pin,
    without_pin,
)
from mt5relay_gateway.operating.connection import read_fleet
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import NotFoundError
from mt5relay_shared.fleet import Fleet
from mt5relay_shared.settings import load_settings

Anyway = Annotated[
    bool, Parameter(negative="", help="Also where an account would be left unserved.")
]


async def pin(account: str, terminal: str, /, *, anyway: Anyway = False) -> None:
    """Let a terminal serve an account, whatever the account's server says.

    Args:
        account: LOGIN@SERVER, e.g. 25115284@MetaQuotes-Demo.
        terminal: The id of a registered terminal. While it drains, the pin rests.
        anyway: Also where the terminal has no credential of the account yet.
    """
    identity = AccountId.parse(account)
    settings = load_settings(GatewaySettings)
    async with registration(settings) as registry:
        check_registered(registry.fleet, terminal)
        after = with_pin(registry.fleet, identity, terminal)
        if not anyway:
            await check_hand_over(settings, registry.fleet, after)
        await registry.replace(after)
    print(f"pinned {identity} to terminal {terminal}")


async def unpin(account: str, /, *, anyway: Anyway = False) -> None:
    """Let the account's server decide again which terminal serves it.

    Args:
        account: LOGIN@SERVER, e.g. 25115284@MetaQuotes-Demo.
        anyway: Also where the terminal that would serve it has no credential of it yet.
    """
    identity = AccountId.parse(account)
    settings = load_settings(GatewaySettings)
    async with registration(settings) as registry:
        if str(identity) not in registry.fleet.pins:
            raise NotFoundError(f"{identity}: it is not pinned")
        after = without_pin(registry.fleet, identity)
        if not anyway:
            await check_hand_over(settings, registry.fleet, after)
        await registry.replace(after)
    print(f"unpinned {identity}")


async def where(account: str, /, *, as_json: AsJson = False) -> None:
    """Say which terminal serves an account, and why.

    Args:
        account: LOGIN@SERVER, e.g. 25115284@MetaQuotes-Demo.
        as_json: Print one JSON object.
    """
    identity = AccountId.parse(account)
    settings = load_settings(GatewaySettings)
    fleet = await read_fleet(settings)
    terminal = fleet.terminal_of(identity) if fleet.terminals else settings.terminal_id
    reason = _reason(fleet, identity, terminal)
    if as_json:
        print_json({"account": str(identity), "terminal": terminal, "because": reason})
    else:
        print(f"{identity}: terminal {terminal}, {reason}")


def _reason(fleet: Fleet, account: AccountId, terminal: str) -> str:
    pinned = fleet.pins.get(str(account))
    if not fleet.terminals:
        return "no terminals are registered"
    if pinned is None:
        return f"by its server {account.server}"
    if pinned == terminal:
        return "pinned"
    return f"by its server {account.server}, as {pinned}, to which it is pinned, is not active"
