"""Reads what the worker says about itself."""

from __future__ import annotations

import msgspec

from mt5relay_gateway.batch import CommandBatch
from mt5relay_shared.errors import MT5DataError
from mt5relay_shared.health import Health, decode_health
from mt5relay_shared.keys import Keys


async def read_health(redis: CommandBatch, keys: Keys) -> Health | None:
    """The health hash, or None where no worker lives.

    Raises:
        MT5DataError: a worker of another version wrote what can't be read here.
    """
    fields = await redis.call("HGETALL", keys.health)
    try:
        return decode_health({name.decode(): text.decode() for name, text in fields.items()})
    except (msgspec.ValidationError, UnicodeDecodeError) as error:
        raise MT5DataError(f"health of {keys.terminal}: unreadable: {error}") from None
