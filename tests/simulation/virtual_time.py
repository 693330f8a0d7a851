"""An event loop without sockets, whose sleeps take no time and whose order is the same each run."""

from __future__ import annotations

import asyncio
import itertools
import selectors
from collections.abc import Callable, Coroutine, Generator, Mapping
from typing import Any

MOST_TURNS = 300_000  # of the loop in one seed; a healthy one takes a tenth


class StuckError(RuntimeError):
    """Nothing will ever happen again, or the same thing for ever."""


class _Leaps(selectors.BaseSelector):
    """Nothing comes from outside: where nothing is ready, time leaps to the next timer."""

    def __init__(self, on_leap: Callable[[float], None]) -> None:
        self.now = 0.0
        self._on_leap = on_leap
        self._turns = 0
        self._keys: dict[int, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        return self._keys[fd]

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj if isinstance(fileobj, int) else fileobj.fileno())

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._turns += 1
        if self._turns > MOST_TURNS:
            raise StuckError(f"more than {MOST_TURNS} turns of the loop, now at {self.now:.3f} s")
        if timeout is None:
            raise StuckError(f"everybody waits, and nothing will ever happen, at {self.now:.3f} s")
        if timeout > 0:
            self.now += timeout
            self._on_leap(timeout)
        return []


class _NumberedTask(asyncio.Task[Any]):
    """Hashed by birth, not by address: sets of tasks are walked in the same order each run."""

    def __init__(self, number: int, *args: Any, **options: Any) -> None:
        self._number = number
        super().__init__(*args, **options)

    def __hash__(self) -> int:
        return self._number


class _NumberedFuture(asyncio.Future[Any]):
    """The same for futures."""

    def __init__(self, number: int, *, loop: asyncio.AbstractEventLoop) -> None:
        self._number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.SelectorEventLoop):
    """`on_leap` is told by how many seconds each leap moves the clock."""

    def __init__(self, on_leap: Callable[[float], None]) -> None:
        self._leaps = _Leaps(on_leap)
        self._numbers = itertools.count()
        super().__init__(self._leaps)
        self.set_task_factory(self._numbered_task)

    def time(self) -> float:
        return self._leaps.now

    def create_future(self) -> asyncio.Future[Any]:
        return _NumberedFuture(next(self._numbers), loop=self)

    def _numbered_task(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        **options: Any,
    ) -> asyncio.Task[Any]:
        return _NumberedTask(next(self._numbers), work, loop=loop, **options)
