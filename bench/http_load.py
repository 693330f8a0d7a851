"""Keeps a number of HTTP requests in flight, on as many connections that stay open.

A client that does as little as can be: what it takes would count against the server.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import cast
from urllib.parse import urlsplit


async def http_loop(address: str, requests: Sequence[bytes], in_flight: int) -> list[float]:
    """Send every request, `in_flight` at a time; the seconds that each took.

    Raises:
        RuntimeError: an answer was not 200.
    """
    at = urlsplit(address)
    host, port = at.hostname or "", at.port or 80
    loop, todo = asyncio.get_running_loop(), iter(requests)
    took: list[float] = []
    callers = [_Caller(todo, took, loop.create_future()) for _ in range(in_flight)]
    for caller in callers:
        await loop.create_connection(partial(_itself, caller), host, port)
    await asyncio.gather(*(caller.done for caller in callers))
    return took


def _itself(caller: _Caller) -> _Caller:
    return caller


class _Caller(asyncio.Protocol):
    """One connection: as each answer is complete, the next request goes out."""

    def __init__(
        self, todo: Iterator[bytes], took: list[float], done: asyncio.Future[None]
    ) -> None:
        self.done = done
        self._todo = todo
        self._took = took
        self._heard = b""
        self._asked_at = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by name
        self._ask()

    def _ask(self) -> None:
        assert self._transport is not None  # noqa: S101 - it was made
        request = next(self._todo, None)
        if request is None:
            self.done.set_result(None)
            self._transport.close()
            return
        self._asked_at = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._heard += data
        head, end, body = self._heard.partition(b"\r\n\r\n")
        if not end:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self._fail(f"answered {self._heard[:300]!r}")
            return
        _, _, length = head.lower().partition(b"content-length:")
        if len(body) >= int(length.split(b"\r\n", 1)[0]):
            self._took.append(time.perf_counter() - self._asked_at)
            self._heard = b""
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the connection ended: {exc}")

    def _fail(self, why: str) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(why))
