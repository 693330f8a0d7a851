"""The health hash: flat strings that a monitor reads with one `HGETALL`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class Status(StrEnum):
    """`DOWN` is also what the key's absence means."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


class ConnectionState(StrEnum):
    """The terminal's connection, as the worker knows it."""

    CONNECTED = "CONNECTED"
    DISCONNECTED = "DISCONNECTED"
    RECONNECTING = "RECONNECTING"
    ERROR = "ERROR"


class BreakerState(StrEnum):
    CLOSED = "CLOSED"
    OPEN = "OPEN"
    HALF_OPEN = "HALF_OPEN"


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What the worker publishes. `…_ms` are milliseconds, `…_at_ms` in Redis server time.

    Absent values are empty strings in Redis and None here.
    """

    status: Status
    state: ConnectionState
    detail: str
    state_since_ms: int
    breaker: BreakerState
    breaker_retry_at_ms: int | None = None
    current_account: str | None = None
    connection_ok: bool | None = None
    auth_ok: bool | None = None
    data_feed_ok: bool | None = None
    latency_ms: float | None = None
    last_error_code: str | None = None
    last_error_text: str | None = None
    last_error_at_ms: int | None = None
    last_success_at_ms: int | None = None
    worker_id: str
    fence: int
    started_at_ms: int
    heartbeat_at_ms: int
    version: str
    terminal_build: int | None = None
    package_version: str | None = None
    queue_depth: int = 0
    oldest_request_age_ms: int = 0
    waiting_accounts: int = 0
    pool_size: int = 0
    pool_limit: int
    idle_evictions: int = 0
    retries: int = 0
    reconnects: int = 0
    logins: int = 0
    logins_saved: int = 0
    visits: int = 0
    requests_total: int = 0
    errors_total: int = 0
    stale_replies: int = 0
    identity_mismatches: int = 0
    fenced_writes: int = 0
    late_vs_fifo_ms: int = 0
    switch_p50_ms: int | None = None
    switch_p95_ms: int | None = None
    read_p95_ms: int | None = None
    estimated_wait_ms: int = 0
    logins_delayed: int = 0
    logins_last_hour: int = 0
    busiest_account: str | None = None
    busiest_account_logins: int = 0


def encode_health(health: Health) -> dict[str, str]:
    return {name: _flat(getattr(health, name)) for name in health.__struct_fields__}


def _flat(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "1" if value else "0"
        case float():
            return f"{value:.3f}"
        case _:
            return str(value)


def decode_health(fields: Mapping[str, str]) -> Health | None:
    """Read the hash, or None where there is none, which means that no worker lives."""
    if not fields:
        return None
    present = {name: value for name, value in fields.items() if value != ""}
    return msgspec.convert({"detail": "", **present}, Health, strict=False)
