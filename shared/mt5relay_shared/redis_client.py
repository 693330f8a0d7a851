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

from mt5relay_shared.tls import TlsConnection
from mt5relay_shared.topology import LocatedConnection, LocatedTlsConnection, locator_for
from mt5relay_shared.transport import check_transport, readable_url

BLOCK_MS = 1_000  # how long a blocking read waits on the server
SOCKET_TIMEOUT = 5.0  # seconds; above any BLOCK, or the client gives up while the server waits
CONNECT_TIMEOUT = 3.0  # seconds


class Connect(Protocol):
    """How a client is made: `connect`, or in a simulation something that answers like it."""

    def __call__(
        self, url: str, *, client_name: str, tag: str = "", allow_plaintext: bool = False
    ) -> Redis: ...


def connect(url: str, *, client_name: str, tag: str = "", allow_plaintext: bool = False) -> Redis:
    """Make a client that never re-sends by itself and never waits longer than five seconds.

    redis-py re-sends commands up to ten times unless told otherwise; every caller here either is
    idempotent and retries by itself, or must know that the answer was lost.

    Args:
        url: `redis://`, `rediss://` (TLS) or `unix://` for one server;
            `redis+sentinel://host:port,…/service` behind Sentinel;
            `redis+cluster://host:port,…` in a Cluster; `rediss+…` for TLS there.
        client_name: what `CLIENT LIST` shows; must hold no spaces.
        tag: the hash tag of the terminal's keys, by which a Cluster finds their node.
        allow_plaintext: whether another machine may be reached without TLS.

    Raises:
        MT5ValidationError: the URL can't be read, or lacks a part, or TLS. Never quotes it.
    """
    options = client_options(client_name)
    check_transport(url, allow_plaintext=allow_plaintext)
    with readable_url():
        connection_class, node = _node_of(url, tag, options)
    if connection_class is LocatedConnection:
        node["allow_plaintext"] = allow_plaintext
    packing = _PACKING[connection_class]
    return Redis.from_pool(ConnectionPool(connection_class=packing, **{**options, **node}))


def _node_of(url: str, tag: str, options: dict[str, Any]) -> tuple[type[Any], dict[str, Any]]:
    """The class of connection, and what the URL says beside where to connect."""
    located = locator_for(url, tag, _for_witnesses(options))
    if located is None:
        node: dict[str, Any] = dict(parse_url(url))
        return node.pop("connection_class", Connection), node
    locator, connection_class, node = located
    return connection_class, {**node, "locator": locator}


class PacksInC:
    """Commands are packed by hiredis, as redis-py's blocking client does; its asyncio one packs
    them in Python, at a tenth of all that a busy worker or gateway computes."""

    _serializer: Any = HiredisRespSerializer()

    def pack_command(self, *args: Any) -> list[bytes]:  # noqa: ANN401 - redis-py's own
        return cast(list[bytes], self._serializer.pack(*args))


_PACKING: dict[type[Any], type[Any]] = {
    found: type(f"Packing{found.__name__}", (PacksInC, found), {})
    for found in (
        *(Connection, TlsConnection, UnixDomainSocketConnection),
        *(LocatedConnection, LocatedTlsConnection),
    )
}
_PACKING[SSLConnection] = _PACKING[TlsConnection]  # what redis-py makes of rediss://


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
        # No CLIENT SETINFO: Redis 7.0 and its ACL files do not know it, so that each connection
        # would stand in ACL LOG as refused. CLIENT LIST shows the name.
        "driver_info": None,
        "client_name": client_name,
    }


def _for_witnesses(options: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in options.items()
        if name not in ("decode_responses", "client_name")
    }
