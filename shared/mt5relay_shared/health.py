"""The health hash: flat strings that a monitor reads with one `HGETALL`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import TypeGuard

import msgspec

from mt5relay_shared.decoding import LATEST_MS, UnreadableError, read_fields

MAX_TEXT = 1_000  # characters of a text; what is longer is cut off
MAX_COUNT = 2**63 - 1

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}\Z", re.ASCII)


def _is_word(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and bool(_WORD.match(value))


class _Word(StrEnum):
    """A word of a newer worker is kept as it is, and is none of those that are known here."""

    @classmethod
    def _missing_(cls, value: object) -> _Word | None:
        if not _is_word(value):
            return None
        word = str.__new__(cls, value)
        word._name_, word._value_ = value, value
        return word


class Status(StrEnum):
    """`DOWN` is also what the key's absence means; another word of a newer worker is `DEGRADED`."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"

    @classmethod
    def _missing_(cls, value: object) -> Status | None:
        return cls.DEGRADED if _is_word(value) else None


class ConnectionState(_Word):
    """The terminal's connection, as the worker knows it."""

    CONNECTED = "CONNECTED"
    DISCONNECTED = "DISCONNECTED"
    RECONNECTING = "RECONNECTING"
    ERROR = "ERROR"


class BreakerState(_Word):
    CLOSED = "CLOSED"
    OPEN = "OPEN"
    HALF_OPEN = "HALF_OPEN"


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What the worker publishes. `…_ms` are milliseconds, `…_at_ms` in Redis server time.

    Absent values are empty strings in Redis and None here. `wire_versions` are the versions of the
    wire contract that the worker reads, separated by spaces.
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
    binding: str | None = None
    terminal_path: str | None = None
    wire_versions: str | None = None


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
    """Read the hash, or None where there is none, which means that no worker lives.

    Raises:
        UnreadableError: a field is not what it should be.
    """
    if not fields:
        return None
    known = ((name, fields.get(name, "")[:MAX_TEXT]) for name in Health.__struct_fields__)
    present = {name: text for name, text in known if text != ""}
    health = read_fields({"detail": "", **present}, Health, strict=False)
    for name in present:
        _check_bounds(name, getattr(health, name))
    return health


def _check_bounds(name: str, value: object) -> None:
    """No figure that a date, a metric or a page could not take."""
    most = LATEST_MS if name.endswith("_ms") else MAX_COUNT
    if isinstance(value, int | float) and not -most <= value <= most:  # NaN is in no range
        raise UnreadableError(f"{name}: it is not between {-most} and {most}")
