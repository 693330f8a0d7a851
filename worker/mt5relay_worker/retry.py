"""How long to wait before trying a failed terminal again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass


def no_jitter() -> float:
    return 1.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`limit` tries after the first one, `first_delay` seconds before the first of them, then
    twice as long each time: 1, 2, 4 s by default. `jitter` gives a factor near 1."""

    limit: int = 3
    first_delay: float = 1.0
    longest_delay: float = 30.0
    jitter: Callable[[], float] = no_jitter

    def delays(self, limit: int | None = None) -> Iterator[float]:
        for attempt in range(self.limit if limit is None else limit):
            yield min(self.first_delay * 2**attempt, self.longest_delay) * self.jitter()
