"""Time for a terminal that must not block: what it waits for is told, and kept by others."""

from __future__ import annotations

import math
from collections.abc import Callable

MANY_WAITS = 1_000
AS_GOOD_AS_NEVER_SECONDS = 1e6


class SilenceError(Exception):
    """A call never returns: whoever asked gets no answer."""


class AheadClock:
    """A clock that runs ahead of the real one by what was slept, until that catches up.

    A call that waits is over at once, and `ahead` says when its answer is due, in seconds since
    1970. A wait without end moves nothing: after one, `is_endless` is True until `begin_call`.
    """

    def __init__(self, real: Callable[[], float]) -> None:
        self._real = real
        self._waits = 0
        self.ahead = -math.inf
        self.is_endless = False

    def time(self) -> float:
        return max(self._real(), self.ahead)

    def begin_call(self) -> None:
        self._waits = 0
        self.is_endless = False

    def sleep(self, seconds: float) -> None:
        """Wait, within a call.

        Raises:
            SilenceError: this call waits again and again; it would never return.
        """
        self._waits += 1
        if self._waits > MANY_WAITS:
            raise SilenceError
        if seconds >= AS_GOOD_AS_NEVER_SECONDS:
            self.is_endless = True
        else:
            self.ahead = self.time() + seconds

    def __repr__(self) -> str:
        return f"<AheadClock, {max(0.0, self.ahead - self._real()):.3f} s ahead>"
