"""Where the server that owns a terminal's keys is: standalone, behind Sentinel, or in a Cluster.

All keys of a terminal share one slot, so even in a Cluster one connection to one node is enough.
The node is looked up at each connect; when it turns out not to be the right one any more (`MOVED`,
`READONLY`), the connection is dropped and the next one looks again.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast
from urllib.parse import unquote, urlsplit

from redis.asyncio.connection import Connection, parse_url
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, ReadOnlyError, RedisError

from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.tls import TlsConnection
from mt5relay_shared.transport import host_and_port, is_loopback

SCHEMES = (
    "redis://", "rediss://", "unix://",
    "redis+sentinel://", "rediss+sentinel://", "redis+cluster://", "rediss+cluster://",
)  # fmt: skip

Address = tuple[str, int]


class Locator(Protocol):
    """Finds the node to connect to."""

    async def locate(self) -> Address:
        """Ask who it is now.

        Raises:
            redis.exceptions.ConnectionError: nobody who was asked knows.
        """
        ...


@dataclass(frozen=True)
class Witnesses:
    """Nodes that can be asked, and how to talk to them."""

    addresses: Sequence[Address]
    options: Mapping[str, Any] = field(repr=False)  # may hold a password
    connection_class: type[Connection] = Connection

    async def ask(self, *command: str) -> tuple[Address, Any]:
        """The first answer, and who gave it; they are asked in random order."""
        trouble: Exception | None = None
        for address in random.sample(self.addresses, len(self.addresses)):
            host, port = address
            connection = self.connection_class(host=host, port=port, **self.options)
            try:
                await connection.connect()  # type: ignore[no-untyped-call]
                await connection.send_command(*command)
                return address, cast(Any, await connection.read_response())
            except (RedisError, OSError) as error:
                trouble = error
            finally:
                await connection.disconnect()
        said = f"no node answers {' '.join(command[:2])}: {trouble}"
        raise RedisConnectionError(said) from trouble


@dataclass(frozen=True)
class SentinelLocator:
    """Asks sentinels for the master of a service."""

    sentinels: Witnesses
    service: str

    async def locate(self) -> Address:
        _, found = await self.sentinels.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)
        if not found:
            raise RedisConnectionError(f"no sentinel knows a master of {self.service!r}")
        host, port = found
        return _text(host), int(port)


@dataclass(frozen=True)
class ClusterLocator:
    """Asks cluster nodes for the owner of a slot."""

    nodes: Witnesses
    slot: int

    async def locate(self) -> Address:
        asked, ranges = await self.nodes.ask("CLUSTER", "SLOTS")
        for first, last, owner, *_ in ranges:
            if first <= self.slot <= last:
                return _text(owner[0]) or asked[0], int(owner[1])
        raise RedisConnectionError(f"nobody in the cluster owns slot {self.slot}")


class LocatedConnection(Connection):
    """A connection that looks for its node at each connect.

    Without TLS it goes beyond this machine only where `allow_plaintext` says so, whatever those
    who were asked say.
    """

    def __init__(self, *, locator: Locator, allow_plaintext: bool, **options: Any) -> None:  # noqa: ANN401 - redis-py's own
        self._locator = locator
        self._allow_plaintext = allow_plaintext
        super().__init__(**options)  # pyright: ignore[reportUnknownMemberType]

    async def _connect(self) -> None:
        self.host, self.port = await self._locator.locate()
        if not (self._allow_plaintext or is_loopback(self.host)):
            raise RedisConnectionError(
                f"{self.host}:{self.port} is in charge, which is not this machine, and REDIS_URL"
                " asks for no TLS; write rediss+…, or set MT5_ALLOW_PLAINTEXT_REDIS=true"
            )
        await super()._connect()  # type: ignore[no-untyped-call]

    async def read_response(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - redis-py's own
        try:
            return cast(Any, await super().read_response(*args, **options))
        except (MovedError, ReadOnlyError) as error:
            await self.disconnect()
            raise RedisConnectionError(
                f"{self.host}:{self.port} is not in charge: {error}"
            ) from error


class LocatedTlsConnection(LocatedConnection, TlsConnection):
    """The same over TLS."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - redis-py's own
        super().__init__(allow_plaintext=True, **options)  # none of it is plaintext


def locator_for(
    url: str, tag: str, options: Mapping[str, Any]
) -> tuple[Locator, type[LocatedConnection], dict[str, Any]] | None:
    """Read a `…+sentinel://` or `…+cluster://` URL; None for a URL that names its one server.

    Options stand in its query as in a URL of one server; `ssl_…` are for those who are asked too.

    Returns:
        The locator, the class of connection, and the credentials and options for the node.

    Raises:
        MT5ValidationError: the URL has no service or no nodes. Never quotes a password.
    """
    parts = urlsplit(url)
    scheme, _, kind = parts.scheme.partition("+")
    if not kind:
        return None
    secure = scheme == "rediss"
    login, _, nodes = parts.netloc.rpartition("@")
    credentials = _credentials(login)
    path = [part for part in parts.path.split("/") if part]
    asked = _query_options(parts.query)
    tls = {name: value for name, value in asked.items() if name.startswith("ssl_")}
    options = {**options, **tls}
    witness_class = TlsConnection if secure else Connection
    default_port = 26379 if kind == "sentinel" else 6379
    addresses = [_address(node, default_port) for node in nodes.split(",") if node]
    if not addresses:
        raise MT5ValidationError("REDIS_URL: it names no node; write host:port,host:port")
    database = 0
    if kind == "sentinel":
        if not path:
            raise MT5ValidationError(
                "REDIS_URL: it names no service; write redis+sentinel://host:port,host:port/service"
            )
        database = int(path[1]) if len(path) > 1 else 0
        locator: Locator = SentinelLocator(Witnesses(addresses, options, witness_class), path[0])
    else:
        witnesses = Witnesses(addresses, {**options, **credentials}, witness_class)
        locator = ClusterLocator(witnesses, key_slot(tag.encode()))
    found = LocatedTlsConnection if secure else LocatedConnection
    return locator, found, {**asked, **credentials, "db": database}


def _query_options(query: str) -> dict[str, Any]:
    """As redis-py reads them.

    Raises:
        ValueError: an option's value is none.
    """
    return {
        name: value
        for name, value in parse_url(f"redis://?{query}").items()
        if name not in ("host", "port", "path", "db")
    }


def _credentials(login: str) -> dict[str, str]:
    if not login:
        return {}
    user, _, password = login.partition(":")
    found = {"username": unquote(user), "password": unquote(password)}
    return {name: text for name, text in found.items() if text}


def _address(node: str, default_port: int) -> Address:
    host, port = host_and_port(node)
    if not port:
        return host, default_port
    if not port.isdigit():
        raise MT5ValidationError("REDIS_URL: a port is not a number; write host:port,host:port")
    return host, int(port)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value or "")
