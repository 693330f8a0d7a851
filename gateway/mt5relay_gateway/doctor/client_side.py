"""What this side knows without Redis: its settings, its address, its certificate."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis

from mt5relay_gateway.doctor.facts import Client
from mt5relay_gateway.doctor.looks import Look, Seen, Unseen
from mt5relay_gateway.operating.enrolment import split_pins
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_shared import __version__
from mt5relay_shared.redis_client import BLOCK_MS
from mt5relay_shared.tls import expiry
from mt5relay_shared.transport import hosts_of
from mt5relay_shared.wire_versions import READS

_KINDS = {"sentinel": "sentinel", "cluster": "cluster", "": "standalone"}


def client_facts(settings: GatewaySettings, redis: Redis) -> Client:
    """What the settings say, and what the connections that follow from them are told."""
    url = settings.redis_url.get_secret_value()
    scheme = urlsplit(url).scheme
    options: dict[str, Any] = redis.connection_pool.connection_kwargs
    certificate = options.get("ssl_certfile")
    return Client(
        version=__version__,
        user=str(options.get("username") or "default"),
        kind="unix" if scheme == "unix" else _KINDS[scheme.partition("+")[2]],
        hosts=hosts_of(url),
        is_encrypted=scheme.startswith("rediss"),
        socket_timeout=options.get("socket_timeout"),
        longest_block=BLOCK_MS / 1000,
        pins=split_pins(settings.sealing_key_id),
        wire_versions=READS,
        certificate_ends_in=_ends_in(certificate),
    )


def _ends_in(certificate: str | None) -> Look[float | None]:
    if certificate is None:
        return Seen(None)
    ends = expiry(certificate)
    if ends is None:
        return Unseen(f"{certificate} can't be read as a certificate")
    return Seen((ends - datetime.now(UTC)).total_seconds())
