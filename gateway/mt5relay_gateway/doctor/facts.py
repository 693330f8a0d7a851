"""What the doctor knows before it judges: plain data, each part seen or not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mt5relay_gateway.doctor.looks import UNREACHED, Look
from mt5relay_gateway.doctor.rights import Right
from mt5relay_shared.envelopes import ENVELOPE_VERSION
from mt5relay_shared.fleet import Fleet


@dataclass(frozen=True, kw_only=True)
class Client:
    """This side: what the settings say. Nothing of it needs Redis. Times are seconds."""

    version: str
    user: str
    kind: str  # standalone, sentinel, cluster or unix
    hosts: Sequence[str]
    is_encrypted: bool
    socket_timeout: float | None
    longest_block: float
    pins: Sequence[str] = ()
    wire_versions: Sequence[int] = (1,)
    certificate_ends_in: Look[float | None] = UNREACHED  # of the client's certificate


@dataclass(frozen=True, kw_only=True)
class Server:
    """The server that was reached, as its user may see it."""

    address: str = "Redis"
    trouble: str | None = None  # why it was not reached
    round_trip: float = 0.0  # seconds
    clock_ahead: Look[float] = UNREACHED  # seconds of the server's clock before this one's
    info: Look[Mapping[str, object]] = UNREACHED
    config: Look[Mapping[str, str]] = UNREACHED
    scripts: Look[Mapping[str, bool]] = UNREACHED
    rights: Look[Sequence[Right]] = UNREACHED
    is_open: Look[bool] = UNREACHED  # to somebody who gives no password
    certificate_ends_in: Look[float | None] = UNREACHED  # seconds; None without TLS
    cluster: Look[Mapping[str, str]] = UNREACHED


@dataclass(frozen=True)
class Pending:
    """The group's entries that were given out and not acknowledged."""

    count: int = 0
    by_consumer: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True)
class Oldest:
    """The first entry of the stream; `deadline_ms` is None where it is no request."""

    arrived_ms: int
    deadline_ms: int | None


@dataclass(frozen=True)
class Enrolled:
    """One credential; `key_id` is None where the envelope can't be read."""

    account: str
    key_id: str | None
    version: int = ENVELOPE_VERSION


@dataclass(frozen=True, kw_only=True)
class Terminal:
    """One terminal's keys. Times are milliseconds, points in time those of the Redis server."""

    terminal: str
    prefix: str = "mt5"
    now_ms: Look[int] = UNREACHED
    health: Look[Mapping[str, str]] = UNREACHED
    health_ttl_ms: Look[int] = UNREACHED
    lease: Look[str | None] = UNREACHED
    lease_ttl_ms: Look[int] = UNREACHED
    is_lease_held: Look[bool] = UNREACHED
    waiting: Look[int] = UNREACHED
    oldest: Look[Oldest | None] = UNREACHED
    pending: Look[Pending | None] = UNREACHED  # None where there is no group yet
    dead: Look[int] = UNREACHED
    commands: Look[int] = UNREACHED
    timings_ttl_ms: Look[int] = UNREACHED
    sealing_key_id: Look[str | None] = UNREACHED
    accounts: Look[Sequence[str]] = UNREACHED
    enrolled: Look[Sequence[Enrolled]] = UNREACHED
    waiting_accounts: Look[Sequence[str]] = UNREACHED
    snapshot_ages_ms: Look[Mapping[str, int | None]] = UNREACHED


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that one examination saw."""

    client: Client
    server: Server
    fleet: Look[Fleet] = UNREACHED
    terminals: Sequence[Terminal] = ()
