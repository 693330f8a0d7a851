"""The connection state: one table of transitions, one place that moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.health import ConnectionState


class Detail(StrEnum):
    """What the terminal is busy with inside a state."""

    IDLE = "idle"
    STARTING = "starting"
    SWITCHING = "switching"
    READING = "reading"
    PROBING = "probing"
    WEDGED = "wedged"
    ALGO_OFF = "algo_off"
    BROKER_DOWN = "broker_down"
    STOPPED = "stopped"


_S = ConnectionState

TRANSITIONS: dict[ConnectionState, frozenset[ConnectionState]] = {
    _S.DISCONNECTED: frozenset({_S.CONNECTED, _S.RECONNECTING}),
    _S.CONNECTED: frozenset({_S.DISCONNECTED, _S.RECONNECTING}),
    _S.RECONNECTING: frozenset({_S.CONNECTED, _S.ERROR, _S.DISCONNECTED}),
    _S.ERROR: frozenset({_S.RECONNECTING, _S.DISCONNECTED}),
}


class ImpossibleTransitionError(RuntimeError):
    """A defect: the worker says so and exits."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of state. `at` is in the seconds of whoever moved it."""

    source: ConnectionState
    target: ConnectionState
    detail: Detail
    cause: str
    at: float


class ConnectionStatus:
    """The state with its detail, its cause and since when. Never asks the clock or the terminal."""

    def __init__(self, now: float, on_change: Callable[[Transition], None]) -> None:
        self.state = _S.DISCONNECTED
        self.detail = Detail.STOPPED
        self.cause = "not started"
        self.since = now
        self.current_account: AccountId | None = None  # None also where it is not known
        self._on_change = on_change

    def move(self, target: ConnectionState, detail: Detail, cause: str, now: float) -> None:
        """Enter `target`; staying where one is changes only the detail.

        Raises:
            ImpossibleTransitionError: the table has no such transition.
        """
        source = self.state
        if target is source:
            self.detail = detail
            return
        if target not in TRANSITIONS[source]:
            raise ImpossibleTransitionError(f"{source} -> {target}: {cause}")
        self.state, self.detail, self.cause, self.since = target, detail, cause, now
        self._on_change(Transition(source, target, detail, cause, now))

    def busy_with(self, detail: Detail) -> None:
        self.detail = detail

    def __repr__(self) -> str:
        return f"<ConnectionStatus {self.state} ({self.detail}): {self.cause}>"
