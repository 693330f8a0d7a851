"""The last good full read of an account, and when it may answer a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.decoding import LATEST_MS, read_json
from mt5relay_shared.messages import OkReply, Request, Synchronized
from mt5relay_shared.operations import Operation

FIELDS = ("data", "as_of", "synchronized")


class SnapshotData(msgspec.Struct, frozen=True):
    """One full read, each part still JSON."""

    account_info: msgspec.Raw
    positions: msgspec.Raw
    orders: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A stored full read. `as_of_ms` is Redis server time, when the read began."""

    account: AccountId
    data: SnapshotData
    as_of_ms: int
    synchronized: Synchronized

    def age_ms(self, now_ms: int) -> int:
        return max(0, now_ms - self.as_of_ms)

    def part(self, operation: Operation) -> msgspec.Raw:
        return getattr(self.data, operation.value)  # type: ignore[no-any-return]


def decode_snapshot(account: AccountId, fields: Mapping[str, bytes | None]) -> Snapshot | None:
    """Read the hash at `snapshot:<account>`, or None where there is none that can be read.

    A stored read of another account is never returned, whatever key it was found under.
    """
    data, as_of = fields.get("data"), fields.get("as_of")
    if data is None or as_of is None:
        return None
    try:
        parts = read_json(data, SnapshotData)
        owner = read_json(parts.account_info, _Owner)
        as_of_ms = int(as_of)
    except ValueError:  # of a version to come, or somebody else's; the next visit writes it anew
        return None
    if (owner.login, owner.server) != (account.login, account.server):
        return None
    if not 0 <= as_of_ms <= LATEST_MS:
        return None
    synchronized: Synchronized = (
        "confirmed" if fields.get("synchronized") == b"confirmed" else "assumed"
    )
    return Snapshot(account, parts, as_of_ms, synchronized)


class _Owner(msgspec.Struct, frozen=True):
    login: int
    server: str


def fresh_reply(
    request: Request, operation: Operation, snapshot: Snapshot, now_ms: int
) -> OkReply | None:
    """Answer from a snapshot that is young enough for `max_age_ms`, or None."""
    if request.max_age_ms == 0 or snapshot.age_ms(now_ms) > request.max_age_ms:
        return None
    return snapshot_reply(request, operation, snapshot, now_ms)


def stale_reply(
    request: Request, operation: Operation, snapshot: Snapshot, now_ms: int, reason: str
) -> OkReply | None:
    """Answer from an old snapshot instead of the error `reason`, where its age is allowed."""
    if snapshot.age_ms(now_ms) > request.stale_if_error_ms:
        return None
    return snapshot_reply(request, operation, snapshot, now_ms, reason)


def snapshot_reply(
    request: Request,
    operation: Operation,
    snapshot: Snapshot,
    now_ms: int,
    reason: str | None = None,
) -> OkReply:
    return OkReply(
        id=request.id,
        account=request.account,
        operation=request.operation,
        data=snapshot.part(operation),
        as_of_ms=snapshot.as_of_ms,
        age_ms=snapshot.age_ms(now_ms),
        source="snapshot",
        stale=reason is not None,
        reason=reason,
        synchronized=snapshot.synchronized,
    )
