"""How commands reach Redis. Errors of redis-py end here, in `CommandBatch`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

from redis.asyncio import Redis

from mt5relay_gateway.batch import CommandBatch
from mt5relay_gateway.client import AccountClient
from mt5relay_gateway.fleet import FleetClient
from mt5relay_gateway.lookups import AccountLookups
from mt5relay_gateway.registry import RegistryReader
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_shared.fleet import Fleet
from mt5relay_shared.keys import FleetKeys, Keys
from mt5relay_shared.redis_client import connect


def connected(settings: GatewaySettings, keys: Keys | FleetKeys) -> Redis:
    """A client for these keys, which connects when it is first used.

    Raises:
        MT5ValidationError: the URL can't be used. Never quotes it.
    """
    return connect(
        settings.redis_url.get_secret_value(),
        client_name="mt5relay-cli",
        tag=keys.tag,
        allow_plaintext=settings.allow_plaintext_redis,
    )


@contextlib.asynccontextmanager
async def redis_commands(
    settings: GatewaySettings, keys: Keys | FleetKeys | None = None
) -> AsyncGenerator[CommandBatch]:
    """A connection for plain commands, which raise `RedisUnavailableError`.

    Args:
        settings: where Redis is.
        keys: what the commands are for, by which a Cluster finds the node; default: the settings'
            own terminal.

    Raises:
        MT5ValidationError: the URL can't be used.
    """
    redis = connected(settings, keys or settings.keys)
    batch = CommandBatch(redis)
    try:
        yield batch
    finally:
        await batch.aclose()


def account_client(settings: GatewaySettings) -> AccountClient:
    """A client for look-ups, not opened yet."""
    return AccountClient(
        settings.redis_url.get_secret_value(),
        terminal=settings.terminal_id,
        key_prefix=settings.key_prefix,
        timeout=settings.request_timeout,
        queue_limit=settings.queue_limit,
        gateway_limit=settings.gateway_limit,
        allow_plaintext=settings.allow_plaintext_redis,
    )


async def lookup_client(settings: GatewaySettings) -> AccountLookups:
    """A client for look-ups, not opened yet: of all registered terminals where there are some.

    A terminal that the operator names with MT5_TERMINAL_ID is asked whatever the registry says.
    """
    if "terminal_id" in settings.model_fields_set or not (await read_fleet(settings)).terminals:
        return account_client(settings)
    return FleetClient(
        settings.redis_url.get_secret_value(),
        key_prefix=settings.key_prefix,
        timeout=settings.request_timeout,
        queue_limit=settings.queue_limit,
        gateway_limit=settings.gateway_limit,
        allow_plaintext=settings.allow_plaintext_redis,
    )


async def read_fleet(settings: GatewaySettings) -> Fleet:
    """The registry of terminals; without any where there is no fleet."""
    async with redis_commands(settings, settings.fleet_keys) as redis:
        return await RegistryReader(redis, settings.fleet_keys).read()


async def server_time_ms(redis: CommandBatch) -> int:
    seconds, microseconds = await redis.call("TIME")
    return int(seconds) * 1000 + int(microseconds) // 1000
