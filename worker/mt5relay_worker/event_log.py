"""Transitions on their way to the events stream; the next heartbeat takes them along."""

from __future__ import annotations

import anyio
import msgspec

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.logs import get_logger
from mt5relay_shared.operator import Event
from mt5relay_worker.breaker import BreakerChange
from mt5relay_worker.server_clock import ServerClock
from mt5relay_worker.state import Transition

log = get_logger("events")

_MOST_PENDING = 1_000


class EventLog:
    """Collects events, logs each, and wakes whoever publishes them."""

    def __init__(self, clock: ServerClock) -> None:
        self._clock = clock
        self._pending: list[Event] = []
        self._news = anyio.Event()

    async def wait(self) -> None:
        """Return when there is something to publish."""
        if not self._pending:
            self._news = anyio.Event()
            await self._news.wait()

    def state_changed(self, change: Transition) -> None:
        self._add(
            Event(
                self._clock.at_ms(change.at),
                "state",
                change.source,
                change.target,
                detail=change.detail,
                cause=change.cause,
            )
        )

    def breaker_changed(self, change: BreakerChange) -> None:
        self._add(
            Event(
                self._clock.at_ms(change.at),
                "breaker",
                change.source,
                change.target,
                cause=change.cause,
            )
        )

    def lease_changed(self, target: str, cause: str) -> None:
        self._add(Event(self._clock.now_ms(), "lease", target=target, cause=cause))

    def command_done(self, command_id: str, command: str, result: str, message: str) -> None:
        self._add(
            Event(
                self._clock.now_ms(),
                "command",
                id=command_id,
                command=command,
                result=result,
                message=message,
            )
        )

    def credential_refused(self, account: AccountId, why: str) -> None:
        """`why` is `replayed`, `trading_rights` or `server_name`."""
        now_ms = self._clock.now_ms()
        self._add(Event(now_ms, "credential", target="refused", detail=str(account), cause=why))

    def credentials_resealed(self, count: int, key_id: str) -> None:
        now_ms, cause = self._clock.now_ms(), f"for key {key_id}"
        self._add(Event(now_ms, "credential", target="resealed", detail=str(count), cause=cause))

    def _add(self, event: Event) -> None:
        fields = msgspec.to_builtins(event)
        del fields["at_ms"]
        log.info(f"{fields.pop('kind')}.changed", **fields)
        self._pending = [*self._pending[-_MOST_PENDING:], event]
        self._news.set()

    def pending(self) -> list[Event]:
        return list(self._pending)

    def published(self, events: list[Event]) -> None:
        """These are in Redis now."""
        self._pending = [event for event in self._pending if event not in events]
