"""Redis server time, told without asking the server each time."""

from __future__ import annotations

import anyio


class ServerClock:
    """The event loop's clock plus an offset learned from every heartbeat's answer."""

    def __init__(self) -> None:
        self._offset_ms = 0.0

    def observe(self, server_ms: int, asked_at: float, answered_at: float) -> None:
        """Learn from an answer that carried the server's time; the two are loop seconds."""
        self._offset_ms = server_ms - (asked_at + answered_at) / 2 * 1000

    def now_ms(self) -> int:
        """Epoch milliseconds of the server, to within half a round trip."""
        return self.at_ms(anyio.current_time())

    def at_ms(self, loop_seconds: float) -> int:
        return round(loop_seconds * 1000 + self._offset_ms)
