"""Which requests were made over HTTP, for whom, and where their answers are to be sent."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import msgspec

from mt5relay_gateway.batch import CommandBatch
from mt5relay_shared.decoding import UnreadableError, read_json
from mt5relay_shared.keys import FleetKeys
from mt5relay_shared.operations import Operation

KEPT_MS = 60_000  # past the deadline, as the reply is
GRACE_MS = 1_000  # past the deadline for a reply that is on its way


class _Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """What stands in Redis."""

    account: str
    operation: Operation
    webhook: str | None = None


@dataclass(frozen=True, slots=True)
class SubmittedRequest:
    """A request that somebody may collect. `is_overdue`: no answer will come any more."""

    request_id: str
    account: str
    operation: Operation
    webhook: str | None = None
    is_overdue: bool = False


class Ledger:
    """One string for each request, which expires with the reply."""

    def __init__(self, batch: CommandBatch, keys: FleetKeys) -> None:
        self._batch = batch
        self._keys = keys

    async def note(self, request: SubmittedRequest, timeout: float) -> None:
        """Write down a request that was submitted; again changes nothing. `timeout` in seconds."""
        key = self._keys.submitted(request.request_id)
        note = msgspec.json.encode(_Note(request.account, request.operation, request.webhook))
        kept_ms = round(timeout * 1000) + KEPT_MS
        await self._batch.call("SET", key, note, "PX", kept_ms, "NX")

    async def find(self, request_id: str) -> SubmittedRequest | None:
        """None: never made over HTTP, or expired."""
        key = self._keys.submitted(request_id)
        body, left_ms = await asyncio.gather(
            self._batch.call("GET", key), self._batch.call("PTTL", key)
        )
        if body is None:
            return None
        try:
            note = read_json(body, _Note)
        except UnreadableError:  # of a version to come
            return None
        is_overdue = 0 <= left_ms < KEPT_MS - GRACE_MS
        return SubmittedRequest(request_id, note.account, note.operation, note.webhook, is_overdue)
