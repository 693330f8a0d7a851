"""Whether accounts can be served where a change of the registry would send them."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from typing import NamedTuple

from mt5relay_gateway.operating.connection import redis_commands
from mt5relay_gateway.operating.enrolment import Enrolment
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5StateError, MT5ValidationError
from mt5relay_shared.fleet import Fleet
from mt5relay_shared.keys import Keys


class Stranded(NamedTuple):
    """An account that would go to a terminal whose worker has no credential of it."""

    account: AccountId
    terminal: str


def stranded(
    before: Fleet, after: Fleet, enrolled: Mapping[str, Collection[AccountId]]
) -> list[Stranded]:
    """Who is served before and would not be after. `enrolled` is by terminal."""
    served = [
        account
        for terminal in before.active
        for account in enrolled[terminal]
        if before.terminal_of(account) == terminal
    ]
    moved = (Stranded(account, after.terminal_of(account)) for account in sorted(served))
    return [one for one in moved if one.account not in enrolled[one.terminal]]


async def check_hand_over(settings: GatewaySettings, before: Fleet, after: Fleet) -> None:
    """Refuse a change that would leave an account unserved.

    Raises:
        MT5StateError: saying who, and what to do first.
    """
    if before.active and not after.active:
        raise MT5StateError(
            "no other terminal is active, so nobody would be served: add or resume one first,"
            " or give --anyway"
        )
    terminals = {*before.terminals, *after.terminals}
    enrolled = {name: await _accounts_enrolled(settings, name) for name in sorted(terminals)}
    if found := stranded(before, after, enrolled):
        raise MT5StateError(_explained(found))


def _explained(found: list[Stranded]) -> str:
    account, terminal = found[0]
    return (
        f"{len(found)} account(s) would go to a terminal that can't log in to them, as {account} to"
        f" {terminal}: no credential is sealed for its key. Enrol them there first (`mt5relay"
        f" accounts add {account} --terminal {terminal}`; for a whole new terminal `mt5relay"
        " terminals add --draining` it, enrol, then `resume` it), or give --anyway"
    )


async def _accounts_enrolled(settings: GatewaySettings, terminal: str) -> set[AccountId]:
    """Those whose credential the terminal's key opens."""
    keys = Keys(terminal, settings.key_prefix)
    async with redis_commands(settings, keys) as redis:
        enrolment = Enrolment(redis, keys)
        key, entries = await enrolment.find_key(), await enrolment.all()
    found: set[AccountId] = set()
    for entry in entries:
        if key and entry.envelope and entry.envelope.key_id == key.key_id:
            with contextlib.suppress(MT5ValidationError):  # what is no account is nobody's
                found.add(AccountId.parse(entry.account))
    return found
