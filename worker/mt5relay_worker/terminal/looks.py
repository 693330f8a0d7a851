"""Looking again until something is so: the terminal tells nobody when it has got there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from mt5relay_worker.terminal.failure import NotReadyError

FoundT = TypeVar("FoundT")


class Looks:
    """Looks are `poll` seconds apart. The clock may be any that counts seconds."""

    def __init__(
        self,
        poll: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._poll = poll
        self.now = clock
        self._sleep = sleep

    def pause(self) -> None:
        self._sleep(self._poll)

    def got(self, limit: float, get: Callable[[], FoundT]) -> FoundT:
        """Return what `get` finds, asked again while it is not ready, for `limit` seconds at most.

        Raises:
            NotReadyError: the last one.
        """
        end = self.now() + limit
        while True:
            try:
                return get()
            except NotReadyError:
                if self.now() >= end:
                    raise
            self.pause()

    def until(self, limit: float, is_so: Callable[[], bool]) -> bool:
        """Look until it is so, for `limit` seconds at most; not ready counts as not so."""
        end = self.now() + limit
        while True:
            try:
                if is_so():
                    return True
            except NotReadyError:
                pass
            if self.now() >= end:
                return False
            self.pause()
