"""Nobody waits past their own deadline, whatever the terminal is doing."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from mt5relay_shared.errors import DeadlineExceededError
from mt5relay_worker.backlog import Backlog
from mt5relay_worker.fallback import Fallback
from mt5relay_worker.replies import Replies
from mt5relay_worker.server_clock import ServerClock
from mt5relay_worker.shadow_fifo import ShadowFifo

LONGEST_NAP = 0.25  # seconds; a new request may have a nearer deadline than all others


class Expiry:
    """Takes requests off the backlog when their time is over, also in the middle of a visit."""

    def __init__(
        self,
        backlog: Backlog,
        shadow: ShadowFifo,
        replies: Replies,
        fallback: Fallback,
        clock: ServerClock,
        *,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._backlog = backlog
        self._shadow = shadow
        self._replies = replies
        self._fallback = fallback
        self._clock = clock
        self._is_stopping = is_stopping

    async def run(self) -> None:
        while not self._is_stopping():
            await self.expire()
            await anyio.sleep(self._nap())

    async def expire(self) -> None:
        """Answer everybody whose deadline has passed."""
        now_ms = self._clock.now_ms()
        expired = self._backlog.expired(now_ms)
        for one in expired:
            self._shadow.leave(one.entry, now_ms)
        if expired:
            error = DeadlineExceededError("not answered in time; the work was not done")
            await self._replies.answer(await self._fallback.answers(expired, error))

    def _nap(self) -> float:
        deadline = self._backlog.next_deadline_ms()
        if deadline is None:
            return LONGEST_NAP
        return min(max((deadline - self._clock.now_ms()) / 1000, 0.001), LONGEST_NAP)
