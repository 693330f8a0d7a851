"""What an operator may command of a running worker."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.decoding import UnreadableError, read_json
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.logs import get_logger
from mt5relay_shared.operator import OperatorCommand
from mt5relay_worker.breaker import CircuitBreaker
from mt5relay_worker.event_log import EventLog
from mt5relay_worker.lockout import Lockout

log = get_logger("commands")


class Commands:
    """Obeys, and says so in the events stream."""

    def __init__(
        self,
        breaker: CircuitBreaker,
        lockout: Lockout,
        events: EventLog,
        *,
        wake_everybody: Callable[[], None],
    ) -> None:
        self._breaker = breaker
        self._lockout = lockout
        self._events = events
        self._wake_everybody = wake_everybody

    async def obey(self, body: bytes) -> None:
        try:
            command = read_json(body, OperatorCommand)
        except UnreadableError as error:
            log.warning("command.unreadable", error=str(error))
            return
        try:
            result, message = "ok", self._carry_out(command)
        except MT5ValidationError as error:
            result, message = "refused", str(error)
        self._events.command_done(command.id, command.command, result, message)
        self._wake_everybody()

    def _carry_out(self, command: OperatorCommand) -> str:
        now = anyio.current_time()
        if command.command == "account.unlock":
            return self._unlock(AccountId.parse(command.account or ""))
        if command.command == "breaker.reset":
            self._breaker.reset("an operator said so", now)
            return "the breaker is closed"
        if self._breaker.is_closed:
            return "the breaker is closed; there is nothing to probe"
        self._breaker.allow_probe_now(now)
        return "the probe starts now"

    def _unlock(self, account: AccountId) -> str:
        if self._lockout.unlock(account):
            return f"{account} may be tried again"
        return f"{account} was not locked out"
