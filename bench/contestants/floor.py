"""The floor: what redis-py and a server cost for the same bytes, with nobody thinking.

One stream of requests, one stream of replies, everything that is ready in one pipeline. The echo
answers each request with a stored reply of the size that mt5relay would send, under the id.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from bench.driving import closed_loop
from bench.world import Lookup, account
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from mt5relay_shared.messages import OkReply, Request, encode
from mt5relay_shared.records import Tick
from mt5relay_shared.redis_client import connect

REQUESTS, REPLIES, GROUP = "floor:requests", "floor:replies", "echo"
COUNT, BLOCK_MS, KEPT = 512, 1_000, 10_000


class FloorClient:
    def __init__(self, sending: Redis, receiving: Redis, stream: str) -> None:
        self._sending: Any = sending
        self._receiving: Any = receiving
        self._stream = stream
        self._numbers = itertools.count()
        self._waiting: dict[bytes, asyncio.Future[bytes]] = {}
        self._unsent: list[Request] = []
        self._sender: asyncio.Task[None] | None = None
        self._cursor: bytes = b"0"

    async def drive(self, lookups: Sequence[Lookup], in_flight: int) -> list[float]:
        return await closed_loop(self._ask, lookups, in_flight)

    async def _ask(self, one: Lookup) -> None:
        # An id as long as a ULID; making one is not what is measured.
        request_id = f"{next(self._numbers):026}"
        request = Request(
            id=request_id,
            account=one.account,
            operation=one.operation,
            arguments=one.arguments,
            reply_to=self._stream,
        )
        future = self._waiting[request_id.encode()] = asyncio.get_running_loop().create_future()
        self._unsent.append(request)
        if self._sender is None:
            self._sender = asyncio.create_task(self._send())
        await future

    async def _send(self) -> None:
        while self._unsent:
            unsent, self._unsent = self._unsent, []
            pipeline = self._sending.pipeline(transaction=False)
            for request in unsent:
                pipeline.execute_command("XADD", REQUESTS, "*", "request", encode(request))
            await pipeline.execute()
        self._sender = None

    async def receive(self) -> None:
        while True:
            found: Any = await self._receiving.execute_command(
                "XREAD", "COUNT", COUNT, "BLOCK", BLOCK_MS, "STREAMS", self._stream, self._cursor
            )
            for entry, fields in _entries(found):
                self._cursor = entry
                for request_id, reply in fields.items():
                    self._waiting.pop(request_id).set_result(reply)


def _entries(found: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The entries of the one stream that was read."""
    streams: dict[bytes, list[tuple[bytes, dict[bytes, bytes]]]] = found or {}
    return [entry for entries in streams.values() for entry in entries]


@contextlib.asynccontextmanager
async def client(url: str) -> AsyncGenerator[FloorClient]:
    sending, receiving = connect(url, client_name="floor-a"), connect(url, client_name="floor-b")
    number = await sending.incr("floor:clients")
    asking = FloorClient(sending, receiving, f"{REPLIES}:{number}")
    receiver = asyncio.create_task(asking.receive())
    try:
        yield asking
    finally:
        receiver.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await receiver
        await sending.aclose()
        await receiving.aclose()


class _Address(msgspec.Struct):
    """As much of a request as the echo reads."""

    id: str
    reply_to: str


def serve(url: str, book: Path) -> None:
    """Echo until killed."""
    del book
    asyncio.run(_echo(url))


async def _echo(url: str) -> None:
    redis: Any = connect(url, client_name="floor-echo")
    with contextlib.suppress(ResponseError):
        await redis.xgroup_create(REQUESTS, GROUP, id="0", mkstream=True)
    decoder = msgspec.json.Decoder(_Address)
    reply = encode(_reply())
    while True:
        found = await redis.xreadgroup(GROUP, GROUP, {REQUESTS: ">"}, count=COUNT, block=BLOCK_MS)
        entries = _entries(found)
        if not entries:
            continue
        pipeline = redis.pipeline(transaction=False)
        for _, fields in entries:
            to = decoder.decode(fields[b"request"])
            command = ("XADD", to.reply_to, "MAXLEN", "~", KEPT, "*", to.id, reply)
            pipeline.execute_command(*command)
        ids = [entry for entry, _ in entries]
        pipeline.execute_command("XACK", REQUESTS, GROUP, *ids)
        pipeline.execute_command("XDEL", REQUESTS, *ids)
        await pipeline.execute()


def _reply() -> OkReply:
    """What mt5relay replies to a tick, to the byte in length."""
    now_ms = 1_763_719_637_472
    tick = Tick(now_ms // 1000, 1.084_87, 1.084_97, 0.0, 0, now_ms, 6, 0.0)
    return OkReply(
        id=f"{0:026}",
        account=account(0),
        operation="tick",
        data=msgspec.Raw(msgspec.json.encode(tick)),
        as_of_ms=now_ms,
        age_ms=0,
        source="terminal",
        synchronized="assumed",
    )
