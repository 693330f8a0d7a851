"""The one place where a Redis client is made, with every default that matters said aloud."""

from __future__ import annotations

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

BLOCK_MS = 1_000  # how long a blocking read waits on the server
SOCKET_TIMEOUT = 5.0  # seconds; above any BLOCK, or the client gives up while the server waits
CONNECT_TIMEOUT = 3.0  # seconds


def connect(url: str, *, client_name: str) -> Redis:
    """Make a client that never re-sends by itself and never waits longer than five seconds.

    redis-py re-sends commands up to ten times unless told otherwise; every caller here either is
    idempotent and retries by itself, or must know that the answer was lost.

    Args:
        url: `redis://`, `rediss://` (TLS) or `unix://`, with user and password where needed.
        client_name: what `CLIENT LIST` shows; must hold no spaces.
    """
    return Redis.from_url(
        url,
        protocol=3,
        legacy_responses=False,
        decode_responses=False,
        socket_timeout=SOCKET_TIMEOUT,
        socket_connect_timeout=CONNECT_TIMEOUT,
        socket_keepalive=True,
        health_check_interval=0,
        retry=Retry(NoBackoff(), 0),
        client_name=client_name,
    )
