"""The one place where a Redis client is made, with every default that matters said aloud."""

from __future__ import annotations

from typing import Any, Protocol, cast

from redis.asyncio import Redis
from redis.asyncio.connection import (
    Connection,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.connection import HiredisRespSerializer

from mt5relay_shared.topology import LocatedConnection, LocatedSSLConnection, locator_for

BLOCK_MS = 1_000  # how long a blocking read waits on the server
SOCKET_TIMEOUT = 5.0  # seconds; above any BLOCK, or the client gives up while the server waits
CONNECT_TIMEOUT = 3.0  # seconds


class Connect(Protocol):
    """How a client is made: `connect`, or in a simulation something that answers like it."""

    def __call__(self, url: str, *, client_name: str, tag: str = "") -> Redis: ...


def connect(url: str, *, client_name: str, tag: str = "") -> Redis:
    """Make a client that never re-sends by itself and never waits longer than five seconds.

    redis-py re-sends commands up to ten times unless told otherwise; every caller here either is
    idempotent and retries by itself, or must know that the answer was lost.

    Args:
        url: `redis://`, `rediss://` (TLS) or `unix://` for one server;
            `redis+sentinel://host:port,…/service` behind Sentinel;
            `redis+cluster://host:port,…` in a Cluster; `rediss+…` for TLS there.
        client_name: what `CLIENT LIST` shows; must hold no spaces.
        tag: the hash tag of the terminal's keys, by which a Cluster finds their node.

    Raises:
        MT5ValidationError: the URL lacks a part; it is never quoted.
        ValueError: redis-py can't read it.
    """
    options = client_options(client_name)
    located = locator_for(url, tag, _for_witnesses(options))
    if located is None:
        node: dict[str, Any] = dict(parse_url(url))
        connection_class = node.pop("connection_class", Connection)
    else:
        locator, connection_class, node = located
        node["locator"] = locator
    packing = _PACKING[connection_class]
    return Redis.from_pool(ConnectionPool(connection_class=packing, **{**options, **node}))


class _PacksInC:
    """Commands are packed by hiredis, as redis-py's blocking client does; its asyncio one packs
    them in Python, at a tenth of all that a busy worker or gateway computes."""

    _serializer: Any = HiredisRespSerializer()

    def pack_command(self, *args: Any) -> list[bytes]:  # noqa: ANN401 - redis-py's own
        return cast(list[bytes], self._serializer.pack(*args))


_PACKING: dict[type[Any], type[Any]] = {
    found: type(f"Packing{found.__name__}", (_PacksInC, found), {})
    for found in (
        *(Connection, SSLConnection, UnixDomainSocketConnection),
        *(LocatedConnection, LocatedSSLConnection),
    )
}


def client_options(client_name: str) -> dict[str, Any]:
    """What every connection is told, wherever it leads."""
    return {
        "protocol": 3,
        "legacy_responses": False,
        "decode_responses": False,
        "socket_timeout": SOCKET_TIMEOUT,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_keepalive": True,
        "health_check_interval": 0,
        "retry": Retry(NoBackoff(), 0),
        "client_name": client_name,
    }


def _for_witnesses(options: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in options.items()
        if name not in ("decode_responses", "client_name")
    }
