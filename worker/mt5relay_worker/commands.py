"""What an operator may command of a running worker."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import msgspec

from mt5relay_shared.logs import get_logger
from mt5relay_shared.operator import OperatorCommand
from mt5relay_worker.breaker import CircuitBreaker
from mt5relay_worker.event_log import EventLog

log = get_logger("commands")


class Commands:
    """Obeys, and says so in the events stream."""

    def __init__(
        self, breaker: CircuitBreaker, events: EventLog, *, wake_everybody: Callable[[], None]
    ) -> None:
        self._breaker = breaker
        self._events = events
        self._wake_everybody = wake_everybody

    async def obey(self, body: bytes) -> None:
        try:
            command = msgspec.json.decode(body, type=OperatorCommand)
        except msgspec.DecodeError as error:
            log.warning("command.unreadable", error=str(error))
            return
        message = self._carry_out(command)
        self._events.command_done(command.id, command.command, "ok", message)
        self._wake_everybody()

    def _carry_out(self, command: OperatorCommand) -> str:
        now = anyio.current_time()
        if command.command == "breaker.reset":
            self._breaker.reset("an operator said so", now)
            return "the breaker is closed"
        if self._breaker.is_closed:
            return "the breaker is closed; there is nothing to probe"
        self._breaker.allow_probe_now(now)
        return "the probe starts now"
