"""What the bench tells a client process to ask, and what it hears back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.world import Scenario


@dataclass(frozen=True, slots=True)
class Order:
    """Ask `count` questions, every `step`-th from `first` on, so that two clients share a series.

    `limit` in seconds: a run that takes longer has failed.
    """

    scenario: Scenario
    first: int
    step: int
    count: int
    in_flight: int
    limit: float

    def numbers(self) -> Iterator[int]:
        return iter(range(self.first, self.first + self.step * self.count, self.step))


@dataclass(frozen=True, slots=True)
class Outcome:
    """`began` and `ended` by the machine's monotonic clock in seconds; `took_us` microseconds.

    `cpu` is the seconds that the process used for asking, without making up the questions.
    """

    began: float
    ended: float
    cpu: float
    took_us: list[int]
