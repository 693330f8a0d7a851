"""The benchmark's own look at the server, beside the contestants."""

from __future__ import annotations

from typing import Any, cast

from redis import Redis


def redis_at(url: str) -> Any:
    """A blocking client; use it as a context manager."""
    return cast(Any, Redis).from_url(url)
