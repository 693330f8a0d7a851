"""Broker servers that take no logins are left alone for a while, and they only."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_PAUSE = 5.0  # seconds; each further refusal doubles it
LONGEST_PAUSE = 60.0


@dataclass(frozen=True, slots=True)
class _Pause:
    length: float
    until: float


class ServerPauses:
    """A server that throttles counts every try against who tries, so it is asked ever less often
    until it lets somebody in. Seconds of the event loop's clock."""

    def __init__(self) -> None:
        self._pauses: dict[str, _Pause] = {}

    def remaining(self, server: str, now: float) -> float:
        """Seconds until a login to the server may be tried again; 0: now."""
        pause = self._pauses.get(server)
        return 0.0 if pause is None else max(0.0, pause.until - now)

    def refused(self, server: str, now: float) -> float:
        """Note that it took no login; returns the pause in seconds."""
        earlier = self._pauses.get(server)
        length = FIRST_PAUSE if earlier is None else min(2 * earlier.length, LONGEST_PAUSE)
        self._pauses[server] = _Pause(length, now + length)
        return length

    def accepted(self, server: str) -> None:
        """It let somebody in."""
        self._pauses.pop(server, None)

    def __repr__(self) -> str:
        return f"<ServerPauses {sorted(self._pauses)}>"
