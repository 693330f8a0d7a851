"""Reads the stream in which the worker records its transitions and the commands it obeyed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mt5relay_gateway.batch import CommandBatch
from mt5relay_shared.decoding import UnreadableError, read_json
from mt5relay_shared.keys import Keys
from mt5relay_shared.operator import Event
from mt5relay_shared.redis_client import BLOCK_MS

BEGINNING = "0-0"
READ_COUNT = 500


@dataclass(frozen=True)
class EventPage:
    """Some events, oldest first, and the entry id to read on from."""

    events: Sequence[Event]
    cursor: str


class EventStream:
    """One terminal's events. Entries of a version to come are passed over."""

    def __init__(self, redis: CommandBatch, keys: Keys) -> None:
        self._redis = redis
        self._stream = keys.events

    async def last(self, count: int) -> EventPage:
        entries = await self._redis.call("XREVRANGE", self._stream, "+", "-", "COUNT", count)
        return _page(list(reversed(entries)), BEGINNING)

    async def after(self, cursor: str, wait_ms: int = BLOCK_MS) -> EventPage:
        """What came after `cursor`, waiting up to `wait_ms` for the first."""
        bounds = ("COUNT", READ_COUNT, "BLOCK", wait_ms)
        streams = await self._redis.call("XREAD", *bounds, "STREAMS", self._stream, cursor)
        return _page(streams.get(self._stream.encode(), ()) if streams else (), cursor)


def _page(entries: Sequence[tuple[bytes, Mapping[bytes, bytes]]], cursor: str) -> EventPage:
    found = [event for _, fields in entries if (event := _decoded(fields)) is not None]
    return EventPage(found, entries[-1][0].decode() if entries else cursor)


def _decoded(fields: Mapping[bytes, bytes]) -> Event | None:
    try:
        return read_json(fields.get(b"event", b""), Event)
    except UnreadableError:
        return None
