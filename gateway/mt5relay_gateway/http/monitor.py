"""Reads what the workers say about themselves: from Redis alone, in milliseconds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from mt5relay_gateway.batch import answered_within
from mt5relay_gateway.http.relay import Relay
from mt5relay_gateway.operating.connection import server_time_ms
from mt5relay_gateway.operating.health import read_health
from mt5relay_gateway.operating.line import AccountInLine, read_line
from mt5relay_shared.errors import MT5DataError, MT5Error, MT5StateError, RedisUnavailableError
from mt5relay_shared.health import Health
from mt5relay_shared.timings import Counted, Kind, decode_timings

# Seconds. Redis itself may stand still for one while its append-only file reaches the disk, and a
# busy gateway for a moment: neither means that Redis is down.
LOOK_LIMIT = 2.0


@dataclass(frozen=True)
class Sight:
    """One terminal as Redis shows it; `health` None: no worker lives. `now_ms` is Redis time."""

    terminal: str
    health: Health | None
    now_ms: int
    waiting: int
    dead: int = 0
    timings: Mapping[Kind, Counted] = field(default_factory=dict[Kind, Counted])


async def look_at_all(relay: Relay) -> list[Sight]:
    """Every terminal.

    Raises:
        RedisUnavailableError: Redis does not answer within two seconds.
        MT5DataError: a worker of another version wrote what can't be read here.
    """
    async with answered_within(LOOK_LIMIT):
        terminals = await relay.terminals()
        return list(await asyncio.gather(*(_look(relay, terminal) for terminal in terminals)))


async def _look(relay: Relay, terminal: str) -> Sight:
    keys = relay.keys_of(terminal)
    batch = relay.commands(keys)
    health, now_ms, waiting, dead, timings = await asyncio.gather(
        read_health(batch, keys),
        server_time_ms(batch),
        batch.call("XLEN", keys.requests),
        batch.call("XLEN", keys.dead),
        batch.call("HGETALL", keys.timings),
    )
    return Sight(terminal, health, now_ms, waiting, dead, decode_timings(timings))


async def lines(relay: Relay) -> dict[str, list[AccountInLine]]:
    """Who waits at each terminal, next turn first. Raises as `look_at_all` does."""
    async with answered_within(LOOK_LIMIT):
        terminals = await relay.terminals()
        found = await asyncio.gather(
            *(
                read_line(relay.commands(relay.keys_of(one)), relay.keys_of(one))
                for one in terminals
            )
        )
    return dict(zip(terminals, found, strict=True))


def is_out_of_reach(error: MT5Error) -> bool:
    return isinstance(error, RedisUnavailableError | MT5StateError | MT5DataError)
