"""Gathers the facts of one examination, which may be few."""

from __future__ import annotations

from dataclasses import replace

from redis.asyncio import Redis

from mt5relay_gateway.doctor.client_side import client_facts
from mt5relay_gateway.doctor.facts import Facts, Server, Terminal
from mt5relay_gateway.doctor.looks import Look, Looks, Seen, Unseen
from mt5relay_gateway.doctor.server_side import reach, server_facts
from mt5relay_gateway.doctor.terminal_side import terminal_facts
from mt5relay_gateway.operating.connection import connected
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_shared.errors import MT5DataError
from mt5relay_shared.fleet import Fleet, decode_fleet
from mt5relay_shared.keys import Keys


async def gather(settings: GatewaySettings, *, all_terminals: bool = False) -> Facts:
    """See everything that this user may see, of the settings' terminal or of all registered ones.

    Raises:
        MT5ValidationError: the URL can't be used.
    """
    redis = connected(settings, settings.keys)
    try:
        return await _gathered(settings, redis, all_terminals=all_terminals)
    finally:
        await redis.aclose()


async def _gathered(settings: GatewaySettings, redis: Redis, *, all_terminals: bool) -> Facts:
    client = client_facts(settings, redis)
    known = Facts(client=client, server=Server())
    trouble = await reach(redis)
    if trouble is not None:
        return replace(
            known,
            server=Server(trouble=trouble),
            terminals=[Terminal(terminal=settings.terminal_id, prefix=settings.key_prefix)],
        )
    server = await server_facts(
        redis, Looks(redis, client.user), settings.keys, settings.fleet_keys
    )
    fleet = await _fleet(settings, client.user)
    names = [settings.terminal_id]
    if all_terminals and isinstance(fleet, Seen) and fleet.value.terminals:
        names = sorted(fleet.value.terminals)
    terminals = [await _terminal(settings, client.user, name) for name in names]
    return replace(known, server=server, fleet=fleet, terminals=terminals)


async def _fleet(settings: GatewaySettings, user: str) -> Look[Fleet]:
    keys = settings.fleet_keys
    redis = connected(settings, keys)  # in a Cluster it may be another node's
    try:
        looks = Looks(redis, user)
        version = await looks.at("GET", keys.version)
        terminals = await looks.at("HGETALL", keys.terminals)
        pins = await looks.at("HGETALL", keys.pins)
    finally:
        await redis.aclose()
    for answer in (version, terminals, pins):
        if isinstance(answer, Unseen):
            return answer
    try:
        return Seen(decode_fleet(version.value, terminals.value, pins.value))
    except MT5DataError as error:
        return Unseen(str(error))


async def _terminal(settings: GatewaySettings, user: str, name: str) -> Terminal:
    keys = Keys(name, settings.key_prefix)
    redis = connected(settings, keys)
    try:
        return await terminal_facts(Looks(redis, user), keys)
    finally:
        await redis.aclose()
