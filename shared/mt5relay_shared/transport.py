"""Whether Redis may be reached in the clear: on this machine always, beyond it only if allowed."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Generator, Iterable
from urllib.parse import urlsplit

from redis.asyncio.connection import parse_url

from mt5relay_shared.errors import MT5ValidationError

DEFAULT_HOST = "localhost"  # redis-py's, where a URL names none


def check_transport(url: str, *, allow_plaintext: bool) -> None:
    """Refuse a URL that can't be read, or by which all would cross a network in the clear.

    Raises:
        MT5ValidationError: naming the hosts and the remedies, and nothing else of the URL.
    """
    with readable_url():
        exposed = exposed_hosts(url)
    if not allow_plaintext:
        refuse_exposed(exposed)


@contextlib.contextmanager
def readable_url() -> Generator[None]:
    """Round the reading of a URL: what libraries say of a wrong one may quote its password.

    Raises:
        MT5ValidationError: instead of `ValueError`, with words of our own.
    """
    try:
        yield
    except MT5ValidationError:
        raise
    except ValueError:
        raise MT5ValidationError(
            "REDIS_URL: it can't be read; write redis://[user:password@]host:port/db, rediss:// for"
            " TLS, or unix://; special characters of a password must be percent-encoded"
        ) from None


def refuse_exposed(hosts: Iterable[str]) -> None:
    """Refuse where there are any such hosts."""
    if named := ", ".join(dict.fromkeys(hosts)):
        raise MT5ValidationError(
            f"REDIS_URL: {named} is not this machine, and passwords would cross the network in the"
            " clear; write rediss:// for TLS, or set MT5_ALLOW_PLAINTEXT_REDIS=true (in Python:"
            " allow_plaintext=True) where nobody else can listen"
        )


def exposed_hosts(url: str) -> list[str]:
    """The hosts beyond this machine that the URL names for a connection without TLS."""
    scheme = urlsplit(url).scheme
    if scheme.startswith("rediss") or scheme == "unix":
        return []
    return [host for host in hosts_of(url) if not is_loopback(host)]


def hosts_of(url: str) -> list[str]:
    """Every host that a URL names, of one server, of sentinels or of a Cluster's nodes."""
    parts = urlsplit(url)
    if "+" in parts.scheme:
        nodes = parts.netloc.rpartition("@")[2].split(",")
        return [host_and_port(node)[0] for node in nodes if node]
    options = parse_url(url)
    return [] if "path" in options else [str(options.get("host", DEFAULT_HOST))]


def host_and_port(node: str) -> tuple[str, str]:
    """Read `host`, `host:port`, `[address]` or `[address]:port`; an empty port where none is."""
    if node.startswith("["):
        host, _, rest = node[1:].partition("]")
        return host, rest.removeprefix(":")
    host, _, port = node.partition(":")
    return host, port


def is_loopback(host: str) -> bool:
    """Whether a connection to this host can't leave this machine. Names are not looked up."""
    if host.rstrip(".").lower() == DEFAULT_HOST:
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
