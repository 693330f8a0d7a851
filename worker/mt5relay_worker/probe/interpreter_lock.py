"""Whether a call lets other threads run: one ticks, and is missed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

TICK = 0.01  # seconds


class Silence(Protocol):
    """Tells how long nothing else of the process ran during a call."""

    def begin(self) -> None: ...

    def longest(self) -> float: ...


class TickingThread:
    """Ticks while the block runs. `longest()` is the longest time without a tick since `begin()`,
    in real seconds. It never touches the binding."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)
        self._last = self._longest = 0.0

    def begin(self) -> None:
        self._last, self._longest = self._clock(), 0.0

    def longest(self) -> float:
        return max(self._longest, self._clock() - self._last)

    def _tick(self) -> None:
        while not self._ended.wait(TICK):
            now = self._clock()
            self._longest = max(self._longest, now - self._last)
            self._last = now

    def __enter__(self) -> TickingThread:
        self.begin()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
