"""Whatever bytes arrive, the answer is a 4xx, never a defect, and nothing is left of them.

`MT5RELAY_FUZZ_REQUESTS` requests are sent; 2 000 where nothing is said.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import random
import re
import tracemalloc
from collections import Counter
from collections.abc import Callable

import pytest
from tests.limits import HANG_LIMIT

from mt5relay_gateway.http.guard import MAX_HEADERS, MAX_PATH
from mt5relay_gateway.http.server import MAX_HEAD

pytestmark = pytest.mark.integration

REQUESTS = int(os.environ.get("MT5RELAY_FUZZ_REQUESTS", "2000"))
SILENCE = 3.0  # seconds; without a word by then, none comes
GROWTH = 200  # bytes a request; caplog and the witness of leaks remember part of what is said

Maker = Callable[[random.Random], bytes]

_PATHS = [b"/v1/accounts/1@S", b"/v1/requests", b"/v1/accounts:batch", b"/v1/requests/x", b"/"]


def _noise(chance: random.Random, most: int) -> bytes:
    return chance.randbytes(chance.randint(1, most))


def _pure_noise(chance: random.Random) -> bytes:
    return _noise(chance, 400) + b"\r\n\r\n"


def _broken_line(chance: random.Random) -> bytes:
    return chance.choice(
        [
            b"GET\r\n\r\n", b"GET /no\r\n\r\n", b"/no HTTP/1.1\r\n\r\n",
            b"GET /no HTTP/9.9\r\n\r\n",
            b"G\x00T /no HTTP/1.1\r\n\r\n", b"get /no HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET http://[::1 HTTP/1.1\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\n\r\n",
        ]
    )  # fmt: skip


def _broken_header(chance: random.Random) -> bytes:
    header = chance.choice(
        [
            b": nothing", b"no colon", b"sp ace: 1", b"a: \x00", b" folded: 1",
            b"content-length: -1", b"content-length: 1e3", b"content-length: 5, 6",
            b"transfer-encoding: chunked\r\ncontent-length: 3", b"transfer-encoding: gzip",
            b"content-length: 99999999999999999999999",
        ]
    )  # fmt: skip
    return b"POST %s HTTP/1.1\r\nhost: a\r\n%s\r\n\r\n{}" % (chance.choice(_PATHS), header)


def _strange_target(chance: random.Random) -> bytes:
    target = b"/v1/" + bytes(chance.choices(range(33, 127), k=chance.randint(1, 60)))
    escapes = b"".join(b"%%%02x" % chance.randrange(256) for _ in range(chance.randint(0, 20)))
    return b"GET %s%s HTTP/1.1\r\nhost: a\r\n\r\n" % (target, escapes)


def _long_target(chance: random.Random) -> bytes:
    return b"GET /v1/requests/%s HTTP/1.1\r\nhost: a\r\n\r\n" % (
        b"a" * chance.randint(MAX_PATH, 4 * MAX_PATH)
    )


def _large_headers(chance: random.Random) -> bytes:
    value = b"x" * chance.randint(MAX_HEADERS, 2 * MAX_HEAD)
    return b"GET /v1/accounts/1@S HTTP/1.1\r\nhost: a\r\nx: %s\r\n\r\n" % value


def _strange_token(chance: random.Random) -> bytes:
    token = bytes(chance.choices(range(32, 127), k=chance.randint(0, 200)))
    kind = chance.choice([b"Bearer ", b"bearer mt5relay_", b"Basic ", b""])
    head = b"GET /v1/accounts/1@S HTTP/1.1\r\nhost: a\r\nauthorization: %s%s\r\n\r\n"
    return head % (kind, token)


def _broken_chunks(chance: random.Random) -> bytes:
    head = b"POST %s HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    chunks = chance.choice(
        [b"zz\r\n", b"-1\r\n", b"5\r\nabc\r\n0\r\n\r\n", b"ffffffffffffffffff\r\n"]
    )
    return head % chance.choice(_PATHS) + chunks


MAKERS: tuple[Maker, ...] = (
    _pure_noise,
    _broken_line,
    _broken_header,
    _strange_target,
    _long_target,
    _large_headers,
    _strange_token,
    _broken_chunks,
)


async def _answers(host: str, port: int, request: bytes) -> list[int]:
    """The statuses that come back; none where the server waits for the rest of the request."""
    reader, writer = await asyncio.open_connection(host, port)
    received = b""
    try:
        writer.write(request)
        async with asyncio.timeout(SILENCE):
            received += await reader.read(65_536)
    except TimeoutError:
        pass
    finally:
        writer.close()
    assert b"Traceback" not in received
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3})", received)]


async def _send_all(address: str, count: int, seed: int) -> Counter[int]:
    host, _, port = address.removeprefix("http://").partition(":")
    chance, seen = random.Random(seed), Counter[int]()

    async def send(request: bytes) -> None:
        statuses = await _answers(host, int(port), request)
        seen.update(statuses or [0])
        assert all(400 <= status < 500 for status in statuses), (statuses, request[:300])

    for _ in range(count // 50):
        async with asyncio.TaskGroup() as group:
            for _ in range(50):
                group.create_task(send(chance.choice(MAKERS)(chance)))
    return seen


async def _least_memory() -> int:
    """What Python holds once the connections that were closed are gone, which takes a moment."""
    held: list[int] = []
    for _ in range(20):
        await asyncio.sleep(0.1)
        gc.collect()
        held.append(tracemalloc.get_traced_memory()[0])
    return min(held)


async def test_malformed_requests_are_refused_and_forgotten(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)  # it keeps what it catches
    tracemalloc.start()
    try:
        await _send_all(address, REQUESTS // 2, seed=1)  # whatever is made once is made now
        before = await _least_memory()
        seen = await _send_all(address, REQUESTS, seed=2)
        grown = await _least_memory() - before
    finally:
        tracemalloc.stop()
    assert {400, 401, 404, 414, 431} <= set(seen), seen
    assert seen[0] <= REQUESTS // 100, "requests without any answer"
    assert grown < GROWTH * REQUESTS, f"{grown} bytes more after {REQUESTS} requests"
    assert "defect" not in caplog.text
    assert "Exception in ASGI" not in caplog.text


async def test_a_head_that_never_ends_is_cut_off(address: str) -> None:
    host, _, port = address.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    answer = asyncio.ensure_future(reader.read())
    writer.write(b"GET / HTTP/1.1\r\nx: ")
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(HANG_LIMIT):
            while not answer.done():
                writer.write(b"y" * 1_024)
                await writer.drain()
                await asyncio.sleep(0)
    assert (await answer).startswith(b"HTTP/1.1 431 ")
    writer.close()
