"""An event loop for tests of deadlines before real servers."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any


class _SlowSelector:
    """Waits longer than it is told, by the factor by which the loop's clock is slow."""

    def __init__(self, rate: float) -> None:
        self._real = selectors.DefaultSelector()
        self._rate = rate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def select(self, timeout: float | None = None) -> list[Any]:
        return self._real.select(None if timeout is None else timeout / self._rate)


class PatientLoop(asyncio.SelectorEventLoop):
    """An event loop before real servers whose clock is slow, and is put forward by the test.

    Each limit of the product lasts 30 times as long, so a busy machine reaches none of them;
    what a test wants to be over is over when `let_time_pass` says so.
    """

    RATE = 1 / 30

    def __init__(self) -> None:
        self._passed = 0.0
        super().__init__(_SlowSelector(self.RATE))  # type: ignore[arg-type]

    def time(self) -> float:
        return super().time() * self.RATE + self._passed

    def let_time_pass(self, seconds: float) -> None:
        self._passed += seconds


def let_time_pass(seconds: float) -> None:
    """Put the clock of this loop forward; what falls due meanwhile happens at once."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, PatientLoop)
    loop.let_time_pass(seconds)


def patient_backend() -> tuple[str, dict[str, Any]]:
    return ("asyncio", {"loop_factory": PatientLoop})
