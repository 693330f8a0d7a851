"""Reads the request stream, and what an operator commands, in the order of arrival."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import anyio
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from mt5relay_shared.keys import WORKER_CONSUMER, WORKER_GROUP, Keys
from mt5relay_shared.logs import get_logger
from mt5relay_worker.admission import Admission, Entry

log = get_logger("intake")

READ_COUNT = 512  # entries of one read
BLOCK_MS = 200  # a worker that is asked to stop waits for as long, and its successor with it
_PAUSE_AFTER_TROUBLE = 0.5  # seconds
_NON_BLOCKING_PAUSE = 0.02  # seconds; for servers that do not honour BLOCK
_STRAY_PAGES = 4  # of one look
_STRAYS_INTERVAL = 1.0  # seconds between two looks for entries that somebody else took


class Intake:
    """Owns the connection that blocks. A blocking read is never cancelled: an entry that was sent
    but not received would stay pending without anybody knowing."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        admission: Admission,
        obey: Callable[[bytes], Awaitable[None]],
        *,
        is_stopping: Callable[[], bool],
        on_arrival: Callable[[], None],
        block_ms: int = BLOCK_MS,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._admission = admission
        self._obey = obey
        self._is_stopping = is_stopping
        self._on_arrival = on_arrival
        self._block_ms = block_ms
        self._last_seen = "0-0"
        self._stray_cursor = "0"
        self._suspects: set[str] = set()  # of this passage through what is pending
        self._found_before: set[str] = set()  # of the last one
        self._look_for_strays_at = 0.0

    async def recover(self, charged: Sequence[str]) -> None:
        """Take in everything the last worker left pending, before anything new, in order of ids."""
        await self._redis.delete(self._keys.commands)  # what was commanded of the last worker
        await self._create_groups()
        crashes = await self._crashes(charged)
        cursor, found = "0", 0
        while entries := await self._read_requests(cursor):
            await self._settle_deleted(entries)
            await self._admission.admit([one for one in entries if one.body is not None], crashes)
            cursor, found = entries[-1].id, found + len(entries)
        self._last_seen = cursor
        log.info("intake.recovered", pending=found, charged=list(charged))
        self._on_arrival()

    async def run(self) -> None:
        """Read until the worker stops."""
        while not self._is_stopping():
            try:
                await self._look_for_strays()
                await self._read_new()
            except RedisError as error:
                await self._after_trouble(error)

    async def _look_for_strays(self) -> None:
        """Take in entries that an earlier holder of the lease took after this one's recovery.

        A blocking read asks for no lease: a worker that does not know yet that it was replaced may
        be handed a new entry and die of that knowledge. Seen twice, because what is being answered
        is out of the backlog shortly before it is acknowledged. A long list is passed through a few
        pages at a time.
        """
        if anyio.current_time() < self._look_for_strays_at:
            return
        self._look_for_strays_at = anyio.current_time() + _STRAYS_INTERVAL
        summary = await self._redis.xpending(self._keys.requests, WORKER_GROUP)
        if summary["pending"] <= self._admission.waiting:
            self._stray_cursor, self._suspects, self._found_before = "0", set(), set()
            return
        for _ in range(_STRAY_PAGES):
            entries = await self._read_requests(self._stray_cursor)
            if not entries:  # once through: what was suspect and is no longer pending is forgotten
                self._stray_cursor, self._found_before = "0", self._suspects
                self._suspects = set()
                return
            self._stray_cursor = entries[-1].id
            unknown = [one for one in entries if not self._admission.knows(one.id)]
            strays = [one for one in unknown if one.id in self._found_before]
            self._suspects.update(one.id for one in unknown if one.id not in self._found_before)
            await self._take_in(strays)

    async def _take_in(self, entries: Sequence[Entry]) -> None:
        """Admit pending entries, but those that were deleted meanwhile."""
        if not entries:
            return
        await self._settle_deleted(entries)
        await self._admission.admit([one for one in entries if one.body is not None])
        self._on_arrival()

    async def _read_new(self) -> None:
        began = anyio.current_time()
        found = await self._read(
            *("COUNT", READ_COUNT, "BLOCK", self._block_ms),
            *("STREAMS", self._keys.requests, self._keys.commands, ">", ">"),
        )
        if not found:
            if anyio.current_time() - began < self._block_ms / 2000:
                await anyio.sleep(_NON_BLOCKING_PAUSE)
            return
        for command in _entries(found, self._keys.commands):
            await self._settle_command(command)
        requests = _entries(found, self._keys.requests)
        if requests:
            await self._admission.admit(requests)
            self._last_seen = requests[-1].id
            self._on_arrival()

    async def _settle_command(self, command: Entry) -> None:
        """Commands are not queued up for the next worker: acknowledged first, then obeyed."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.xack(self._keys.commands, WORKER_GROUP, command.id)
        pipeline.xdel(self._keys.commands, command.id)
        await pipeline.execute()
        if command.body is not None:
            await self._obey(command.body)

    async def _after_trouble(self, error: RedisError) -> None:
        """Reconnect, and look for entries whose delivery was lost on the way."""
        log.warning("intake.redis_unavailable", error=str(error))
        await anyio.sleep(_PAUSE_AFTER_TROUBLE)
        try:
            if isinstance(error, ResponseError) and "NOGROUP" in str(error):
                await self._create_groups()
            while lost := await self._read_requests(self._last_seen):
                await self._take_in(lost)
                self._last_seen = lost[-1].id
        except RedisError as again:
            log.warning("intake.redis_still_unavailable", error=str(again))

    async def _create_groups(self) -> None:
        """At 0, so that what was added before the first worker ever ran is served too."""
        for stream in (self._keys.requests, self._keys.commands):
            try:
                await self._redis.xgroup_create(stream, WORKER_GROUP, id="0", mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    async def _read_requests(self, cursor: str) -> list[Entry]:
        """Pending entries after `cursor`."""
        found = await self._read("COUNT", READ_COUNT, "STREAMS", self._keys.requests, cursor)
        return _entries(found, self._keys.requests)

    async def _read(self, *words: str | int) -> Any:  # noqa: ANN401 - redis-py's own shape
        """As `xreadgroup`, without the measuring that redis-py does around it each time."""
        execute = cast(Any, self._redis).execute_command
        return await execute("XREADGROUP", "GROUP", WORKER_GROUP, WORKER_CONSUMER, *words)

    async def _settle_deleted(self, entries: Sequence[Entry]) -> None:
        """Somebody deleted the entry itself; nothing is left to answer."""
        gone = [one.id for one in entries if one.body is None]
        if gone:
            await self._redis.xack(self._keys.requests, WORKER_GROUP, *gone)
            log.warning("intake.deleted_entries", entries=gone)

    async def _crashes(self, charged: Sequence[str]) -> dict[str, int]:
        if not charged:
            return {}
        pipeline = self._redis.pipeline(transaction=False)
        for request_id in charged:
            pipeline.hget(self._keys.request(request_id), "crashes")
        counts = await pipeline.execute(raise_on_error=False)
        return {name: _count(count) for name, count in zip(charged, counts, strict=True)}


def _count(found: object) -> int:
    """The number that was found; a gateway may write anything into its request's marker, and the
    marker may be a key of another type."""
    is_number = isinstance(found, bytes) and found.isdigit() and len(found) <= 9
    return int(cast(bytes, found)) if is_number else 0


def _entries(found: Any, stream: str) -> list[Entry]:  # noqa: ANN401 - redis-py's own shape
    """The entries of one stream; the body is the field `request` or `command`."""
    streams: dict[bytes, list[tuple[bytes, dict[bytes, bytes]]]] = found or {}
    rows = streams.get(stream.encode(), [])
    return [Entry(entry.decode(), _body(fields)) for entry, fields in rows]


def _body(fields: dict[bytes, bytes] | None) -> bytes | None:
    if not fields:
        return None
    return fields.get(b"request", fields.get(b"command", b""))
