"""Reads stored snapshots together with the server's time, by which their age counts."""

from __future__ import annotations

from typing import NamedTuple

from mt5relay_gateway.batch import CommandBatch
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import RedisUnavailableError
from mt5relay_shared.keys import Keys
from mt5relay_shared.snapshots import FIELDS, Snapshot, decode_snapshot


class FoundSnapshot(NamedTuple):
    """A snapshot and the Redis server's time when it was read, in epoch milliseconds."""

    snapshot: Snapshot
    now_ms: int


class SnapshotReader:
    """Reads through the gateway's command connection; never asks the worker."""

    def __init__(self, batch: CommandBatch, keys: Keys) -> None:
        self._batch = batch
        self._keys = keys

    async def read(self, account: AccountId) -> FoundSnapshot | None:
        """The account's snapshot, or None where there is none that can be read.

        Raises:
            RedisUnavailableError: Redis can't be reached or refuses it.
        """
        found = self._batch.begin("HMGET", self._keys.snapshot(account), *FIELDS)
        seconds, microseconds = await self._batch.call("TIME")
        try:
            values = await found
        except RedisUnavailableError as error:
            if "WRONGTYPE" in error.message:  # a key of another type is no snapshot
                return None
            raise
        snapshot = decode_snapshot(account, dict(zip(FIELDS, values, strict=True)))
        if snapshot is None:
            return None
        return FoundSnapshot(snapshot, seconds * 1000 + microseconds // 1000)
