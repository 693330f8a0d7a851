"""The registry of terminals that serve accounts together, as it stands in Redis.

Operators write it, clients route by it, workers know nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from mt5relay_shared.accounts import AccountId, shorten
from mt5relay_shared.assignment import assign
from mt5relay_shared.decoding import UnreadableError, complaint, read_json
from mt5relay_shared.errors import MT5DataError
from mt5relay_shared.keys import check_terminal_id


class TerminalState(StrEnum):
    ACTIVE = "active"
    DRAINING = "draining"  # finishes what waits there and is given nothing new


class RegisteredTerminal(msgspec.Struct, frozen=True):
    """A value of the hash `terminals`. `since_ms` is Redis server time."""

    state: TerminalState
    since_ms: int


@dataclass(frozen=True, slots=True)
class Fleet:
    """All registered terminals by id, and the pins: `login@server` to terminal id.

    `version` grows with every change; 0 means that there never was one.
    """

    version: int = 0
    terminals: Mapping[str, RegisteredTerminal] = field(
        default_factory=dict[str, RegisteredTerminal]
    )
    pins: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def active(self) -> list[str]:
        return [
            terminal
            for terminal, registered in self.terminals.items()
            if registered.state is TerminalState.ACTIVE
        ]

    def terminal_of(self, account: AccountId) -> str:
        """The active terminal that serves the account.

        Raises:
            NoWorkerError: no terminal is active.
        """
        return assign(account, self.active, self.pins)


def decode_fleet(
    version: bytes | None, terminals: Mapping[bytes, bytes], pins: Mapping[bytes, bytes]
) -> Fleet:
    """Read the registry's three keys.

    Raises:
        MT5DataError: something there can't be read. A guess would route accounts elsewhere.
    """
    try:
        return Fleet(
            decode_version(version),
            {_terminal(name): _registered(name, body) for name, body in terminals.items()},
            {account.decode(): terminal.decode() for account, terminal in pins.items()},
        )
    except ValueError as error:
        raise MT5DataError(f"registry of terminals: unreadable: {complaint(error)}") from None


def decode_version(version: bytes | None) -> int:
    """Read the registry's version; 0 where there is none.

    Raises:
        MT5DataError: it is no number.
    """
    try:
        return int(version or 0)
    except ValueError:
        quoted = _quoted(version or b"")
        raise MT5DataError(f"registry of terminals: version {quoted} is no number") from None


def _terminal(name: bytes) -> str:
    return check_terminal_id(name.decode())


def _registered(name: bytes, body: bytes) -> RegisteredTerminal:
    try:
        return read_json(body, RegisteredTerminal)
    except UnreadableError as error:
        raise ValueError(f"{_quoted(name)}: {error}") from None


def _quoted(text: bytes) -> str:
    return repr(shorten(text[:400].decode(errors="replace")))
