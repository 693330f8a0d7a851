"""Changes of the registry of terminals, each made as a whole or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass, replace

import msgspec

from mt5relay_gateway.batch import CommandBatch
from mt5relay_gateway.operating.connection import redis_commands, server_time_ms
from mt5relay_gateway.registry import RegistryReader
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5StateError, NotFoundError
from mt5relay_shared.fleet import Fleet, RegisteredTerminal, TerminalState
from mt5relay_shared.keys import FleetKeys
from mt5relay_shared.scripts import AMEND

_TERMINALS, _PINS = 2, 3  # the script's numbers for the two hashes


@dataclass(frozen=True)
class Registration:
    """The registry as it was read, and the way to replace just that. `now_ms` is server time."""

    fleet: Fleet
    now_ms: int
    _redis: CommandBatch
    _keys: FleetKeys

    async def replace(self, after: Fleet) -> None:
        """Make the registry what `after` says.

        Raises:
            MT5StateError: somebody else has changed it meanwhile; nothing was done.
        """
        outcome, _ = await self._redis.run(
            AMEND,
            (self._keys.version, self._keys.terminals, self._keys.pins),
            (self.fleet.version, *_changes(self.fleet, after)),
        )
        if outcome != b"ok":
            raise MT5StateError("somebody else changed the registry meanwhile; try again")


@contextlib.asynccontextmanager
async def registration(settings: GatewaySettings) -> AsyncGenerator[Registration]:
    """Read the registry in order to change it."""
    keys = settings.fleet_keys
    async with redis_commands(settings, keys) as redis:
        fleet = await RegistryReader(redis, keys).read()
        yield Registration(fleet, await server_time_ms(redis), redis, keys)


def _changes(before: Fleet, after: Fleet) -> Iterator[int | str | bytes]:
    yield from _hash_changes(_TERMINALS, _bodies(before), _bodies(after))
    yield from _hash_changes(_PINS, before.pins, after.pins)


def _bodies(fleet: Fleet) -> dict[str, bytes]:
    return {name: msgspec.json.encode(registered) for name, registered in fleet.terminals.items()}


def _hash_changes(
    number: int, before: Mapping[str, str | bytes], after: Mapping[str, str | bytes]
) -> Iterator[int | str | bytes]:
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield from (number, name, after.get(name, ""))


def with_terminal(fleet: Fleet, terminal: str, state: TerminalState, now_ms: int) -> Fleet:
    registered = RegisteredTerminal(state, now_ms)
    return replace(fleet, terminals={**fleet.terminals, terminal: registered})


def without_terminal(fleet: Fleet, terminal: str) -> Fleet:
    """Without it and the pins to it, which would come back to life with its name."""
    return replace(
        fleet,
        terminals={name: one for name, one in fleet.terminals.items() if name != terminal},
        pins={account: name for account, name in fleet.pins.items() if name != terminal},
    )


def with_pin(fleet: Fleet, account: AccountId, terminal: str) -> Fleet:
    return replace(fleet, pins={**fleet.pins, str(account): terminal})


def without_pin(fleet: Fleet, account: AccountId) -> Fleet:
    pins = {name: terminal for name, terminal in fleet.pins.items() if name != str(account)}
    return replace(fleet, pins=pins)


def check_registered(fleet: Fleet, terminal: str) -> RegisteredTerminal:
    """Raises:
    NotFoundError: naming those that are registered.
    """
    registered = fleet.terminals.get(terminal)
    if registered is None:
        known = ", ".join(sorted(fleet.terminals)) or "none"
        raise NotFoundError(f"terminal: {terminal[:80]!r} is not registered; registered: {known}")
    return registered
