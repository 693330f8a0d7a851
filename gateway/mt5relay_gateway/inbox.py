"""Receives the replies of one gateway from its reply stream and hands them to who waits."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError

from mt5relay_gateway.backoff import pauses
from mt5relay_gateway.batch import CommandBatch, filled, translated
from mt5relay_shared.errors import MT5Error, MT5StateError
from mt5relay_shared.keys import Keys
from mt5relay_shared.logs import get_logger
from mt5relay_shared.redis_client import BLOCK_MS
from mt5relay_shared.scripts import Argument

STREAM_EXPIRY_MS = 60_000
REFRESH_INTERVAL = 20.0  # seconds; two refreshes may be missed
READ_COUNT = 512  # entries; each may hold the replies of a whole visit
FETCH_COUNT = 512  # durable replies fetched at once
EMPTY_READ_PAUSE = 0.02  # seconds; for servers that do not block
LOG_INTERVAL = 10.0  # seconds between two lines about a connection that comes and goes

_START = b"0"

logger = get_logger(__name__)


class Inbox:
    """Reads the reply stream on a connection of its own.

    The stream only makes replies fast; the durable reply is the truth. So after anything that may
    have lost an entry (a read error, a new connection, a stream that is gone) the stream is read
    from its start again, and the durable replies of all who still wait are fetched.
    """

    def __init__(self, redis: Redis, batch: CommandBatch, keys: Keys, name: str) -> None:
        self._redis = redis
        self._batch = batch
        self._keys = keys
        self._stream = keys.replies(name)
        self._waiting: dict[bytes, tuple[asyncio.Future[bytes | None], ...]] = {}
        self._cursor = _START
        self._connection_id: int | None = None  # None: the connection must be made up to date
        self._refresh_at = 0.0
        self._stopping = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._outage = _Outage()

    async def open(self) -> None:
        """Create the reply stream and start reading.

        Raises:
            RedisUnavailableError: Redis can't be reached or refuses it.
        """
        try:
            await self._catch_up()
        except RedisError as error:
            raise translated(error) from None
        self._reader = asyncio.create_task(self._run(), name="mt5relay-inbox")

    async def aclose(self) -> None:
        """Stop reading, remove the stream, and fail whoever still waits."""
        self._stopping.set()
        self._fail_waiting(MT5StateError("the client was closed"))
        if self._reader is not None:
            # The read is woken, never cancelled: a cancelled one leaves the connection undefined.
            with contextlib.suppress(MT5Error):
                await self._batch.call("CLIENT", "UNBLOCK", self._connection_id or 0)
            await self._reader
            with contextlib.suppress(MT5Error):
                await self._batch.call("UNLINK", self._stream)
        await self._redis.aclose()

    def expect(self, request_id: str) -> asyncio.Future[bytes | None]:
        """A future for the reply to a request; ask for it before the request is sent, and `forget`
        it afterwards."""
        key = request_id.encode()
        future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._waiting[key] = (*self._waiting.get(key, ()), future)
        return future

    def expects(self, request_id: str) -> bool:
        return request_id.encode() in self._waiting

    def forget(self, request_id: str, future: asyncio.Future[bytes | None]) -> None:
        """Wait for it no more; once is as good as twice."""
        key = request_id.encode()
        others = tuple(one for one in self._waiting.get(key, ()) if one is not future)
        if others:
            self._waiting[key] = others
        else:
            self._waiting.pop(key, None)

    def _fail_waiting(self, error: MT5Error) -> None:
        for future in itertools.chain.from_iterable(self._waiting.values()):
            if not future.done():
                future.set_exception(error)

    async def _run(self) -> None:
        waits, task = pauses(), asyncio.current_task()
        # redis-py can lose a cancellation inside a blocking read; without a look at the request for
        # it, a program that ends without closing the client would wait for this task for ever.
        while not self._stopping.is_set() and not (task and task.cancelling()):
            try:
                await self._read()
            except RedisError as error:
                self._connection_id = None
                self._outage.begin(error, _now())
                await self._pause(next(waits))
            else:
                self._outage.end(_now())
                waits = pauses()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _read(self) -> None:
        if self._connection_id is None:
            await self._catch_up()
        started = _now()
        connection_id, exists, streams = await _sent(
            self._redis.pipeline(transaction=False),
            ("CLIENT", "ID"),
            self._keep_alive(),
            (
                "XREAD",
                "COUNT",
                READ_COUNT,
                "BLOCK",
                BLOCK_MS,
                "STREAMS",
                self._stream,
                self._cursor,
            ),
        )
        for entries in cast(Mapping[bytes, Any], streams).values():
            self._take(entries)
        if not exists or connection_id != self._connection_id:
            self._connection_id = None
        elif not streams and _now() - started < EMPTY_READ_PAUSE:
            await self._pause(EMPTY_READ_PAUSE)

    def _keep_alive(self) -> tuple[Argument, ...]:
        """A command that says whether the stream exists, and prolongs its life when that is due."""
        if _now() < self._refresh_at:
            return ("EXISTS", self._stream)
        self._refresh_at = _now() + REFRESH_INTERVAL
        return ("PEXPIRE", self._stream, STREAM_EXPIRY_MS)

    async def _catch_up(self) -> None:
        """Make the stream if need be, and fetch what it may have missed, in this order."""
        _, _, connection_id = await _sent(
            self._redis.pipeline(transaction=True),  # or a crash between the two leaves it for ever
            ("XADD", self._stream, "MAXLEN", "~", 1000, "*", "hello", ""),
            ("PEXPIRE", self._stream, STREAM_EXPIRY_MS),
            ("CLIENT", "ID"),
        )
        self._cursor = _START
        await self._fetch_durable_replies()
        self._connection_id = connection_id

    async def _fetch_durable_replies(self) -> None:
        outstanding = list(self._waiting)
        for start in range(0, len(outstanding), FETCH_COUNT):
            ids = outstanding[start : start + FETCH_COUNT]
            bodies = await self._durable_replies([request_id.decode() for request_id in ids])
            for request_id, body in zip(ids, bodies, strict=True):
                self._resolve(request_id, body)

    def _take(self, entries: Sequence[tuple[bytes, Mapping[bytes, bytes]]]) -> None:
        for entry, replies in entries:
            self._cursor = entry
            for request_id, body in replies.items():
                self._resolve(request_id, body)

    def _resolve(self, request_id: bytes, body: bytes | None) -> None:
        if not body:  # no reply yet, or the stream's first entry
            return
        for future in self._waiting.get(request_id, ()):
            if not future.done():
                future.set_result(body)

    async def _durable_replies(self, request_ids: Sequence[str]) -> Sequence[bytes | None]:
        keys = map(self._keys.reply, request_ids)
        (bodies,) = await _sent(self._redis.pipeline(transaction=False), ("MGET", *keys))
        return cast(Sequence[bytes | None], bodies)

    def __repr__(self) -> str:
        state = "stopping" if self._stopping.is_set() else "reading" if self._reader else "new"
        return f"<Inbox {self._stream} {state}, {len(self._waiting)} waiting>"


class _Outage:
    """Says when the connection goes and when it is back, not more often than every ten seconds."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._quiet_until = 0.0
        self._is_told = False

    def begin(self, error: RedisError, now: float) -> None:
        if self._since is not None:
            return
        self._since = now
        self._is_told = now >= self._quiet_until
        if self._is_told:
            self._quiet_until = now + LOG_INTERVAL
            logger.warning("inbox.connection_lost", error=str(error))

    def end(self, now: float) -> None:
        if self._since is not None and self._is_told:
            logger.info("inbox.connection_restored", outage_s=round(now - self._since, 3))
        self._since = None


async def _sent(pipeline: Pipeline, *commands: tuple[Argument, ...]) -> Sequence[Any]:
    return cast(Sequence[Any], await filled(pipeline, *commands).execute())


def _now() -> float:
    return asyncio.get_running_loop().time()
