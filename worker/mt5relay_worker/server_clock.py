"""Redis server time, told without asking the server each time."""

from __future__ import annotations

import asyncio


class ServerClock:
    """The event loop's clock plus an offset learned from every heartbeat's answer.

    An answer says only that the server's time lies between asking and being answered. One that took
    long must not undo what a quick one taught, so the offset moves only when it is proved wrong.
    """

    def __init__(self) -> None:
        self._offset_ms: float | None = None

    def observe(self, server_ms: int, asked_at: float, answered_at: float) -> None:
        """Learn from an answer that carried the server's time; the two are loop seconds."""
        least, most = server_ms - answered_at * 1000, server_ms + 1 - asked_at * 1000
        if self._offset_ms is None or not least <= self._offset_ms <= most:
            self._offset_ms = (least + most - 1) / 2

    def now_ms(self) -> int:
        """Epoch milliseconds of the server, to within half of the quickest round trip so far."""
        return self.at_ms(asyncio.get_running_loop().time())

    def at_ms(self, loop_seconds: float) -> int:
        return round(loop_seconds * 1000 + (self._offset_ms or 0.0))
