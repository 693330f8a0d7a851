"""Everything that is ever sent to a server, by whomever, and everything that stands in it."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, cast

from redis.exceptions import RedisError
from tests.leaks.witness import WITNESS

SENT, STANDS = "sent to Redis", "stands in Redis"
_CONNECT_LIMIT = 2.0  # seconds; it is tried again
_RETRY_PAUSE = 0.05  # seconds; what is said while the server is away is not heard
# Seconds until MONITOR has told all that was sent. Then the test goes on: what was sent while it
# connected again is lost to it.
_SYNC_LIMIT = 2.0
_BATCH = 500
_numbers = itertools.count(1)

# redis-py makes dicts of entries: a field that stands there twice would be read once.
_READERS: dict[bytes, tuple[str, ...]] = {
    b"string": ("GET", "{}"),
    b"hash": ("HGETALL", "{}"),
    b"stream": ("XRANGE", "{}", "-", "+"),
    b"list": ("LRANGE", "{}", "0", "-1"),
    b"set": ("SMEMBERS", "{}"),
    b"zset": ("ZRANGE", "{}", "0", "-1"),
}


class Monitor:
    """Listens to a server with MONITOR, which also tells what scripts call.

    The server itself leaves out what `AUTH` and `HELLO` carry. After a restart of the server, or
    when the connection was cut, it listens again.
    """

    def __init__(self, port: int, user: str, password: str) -> None:
        self._port = port
        self._greeting = f"AUTH {user} {password}\r\nMONITOR\r\n".encode()
        self._is_over = threading.Event()
        self._link: socket.socket | None = None
        self._thread = threading.Thread(target=self._listen, name="redis-witness", daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._is_over.is_set():
            with contextlib.suppress(OSError):
                self._listen_once()
            self._is_over.wait(_RETRY_PAUSE)

    def _listen_once(self) -> None:
        with socket.create_connection(("127.0.0.1", self._port), _CONNECT_LIMIT) as link:
            link.settimeout(None)
            link.sendall(self._greeting)
            self._link = link
            while data := link.recv(1 << 16):
                WITNESS.hear_more(SENT, data)

    def catch_up(self, redis: Any) -> None:
        """Wait until it has heard all that was sent until now, bounded; `redis` may do anything."""
        words, give_up = f"witness-{next(_numbers)}", time.monotonic() + _SYNC_LIMIT
        with contextlib.suppress(RedisError, OSError):
            while time.monotonic() < give_up:
                # Said repeatedly: after its connection was cut it hears only what is said later.
                redis.echo(words)
                if self._hears(words):
                    return

    def _hears(self, words: str) -> bool:
        for _ in range(50):
            if WITNESS.has_heard(SENT, words.encode()):
                return True
            self._is_over.wait(0.002)
        return False

    def close(self) -> None:
        self._is_over.set()
        with contextlib.suppress(OSError, AttributeError):
            self._link.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
        self._thread.join(5)


def hear_everything_in(redis: Any, heard: dict[bytes, int]) -> None:
    """All keys of all types with all values; `redis` may do anything and does not decode.

    What has not changed since it was `heard` is passed over.
    """
    for keys in _scan(redis):
        _hear_keys(redis, keys, heard)


def hear_new_keys_in(redis: Any, heard: dict[bytes, int]) -> None:
    """As `hear_everything_in`, but of keys that were not heard yet."""
    for keys in _scan(redis):
        _hear_keys(redis, [key for key in keys if key not in heard], heard)


def _scan(redis: Any) -> Iterator[list[bytes]]:
    cursor: int | str = "0"
    while cursor != 0:
        cursor, keys = redis.scan(cursor, count=_BATCH)
        yield keys


def _hear_keys(redis: Any, keys: list[bytes], heard: dict[bytes, int]) -> None:
    if not keys:
        return
    with redis.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.type(key)
        kinds = pipeline.execute()
        for key, kind in zip(keys, kinds, strict=True):
            name, *words = _READERS.get(kind, ("TYPE", "{}"))
            pipeline.execute_command(name, *(key if word == "{}" else word for word in words))
        for key, value in zip(keys, pipeline.execute(raise_on_error=False), strict=True):
            text = b"\n".join([key, *_texts(value)])
            if heard.get(key) != hash(text):
                heard[key] = hash(text)
                WITNESS.hear(STANDS, text)


def _texts(value: Any) -> list[bytes]:
    if isinstance(value, bytes):
        return [value]
    parts: list[Any] = []
    if isinstance(value, dict):
        parts = [*cast(Any, value).items()]
    elif isinstance(value, list | tuple | set):
        parts = [*cast(Any, value)]
    return [text for one in parts for text in _texts(one)]
