"""Strict first-in-first-out, running beside the real schedule without a terminal.

It serves the same arrivals one at a time at the costs the real terminal had, so that "nobody is
served later than under strict FIFO" is a figure in production, not a belief.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.operations import Operation
from mt5relay_worker.costs import Costs

_REMEMBERED = 1024


@dataclass(slots=True)
class _Place:
    account: AccountId
    operation: Operation
    arrived_ms: float
    served_ms: float | None = None
    switch_ms: float = 0.0
    read_ms: float = 0.0
    left: bool = False


class _Line:
    """When a strict-FIFO terminal is free again, and who it is logged in to then."""

    def __init__(self) -> None:
        self.free_ms = 0.0
        self.account: AccountId | None = None
        self.logins = 0

    def starts_ms(self, place: _Place) -> float:
        return max(self.free_ms, place.arrived_ms)

    def serve(self, place: _Place, switch_ms: float, read_ms: float) -> float:
        self.free_ms = max(self.free_ms, place.arrived_ms) + read_ms
        if place.account != self.account:
            self.free_ms += switch_ms
            self.logins += 1
        self.account = place.account
        return self.free_ms


class ShadowFifo:
    """Times in milliseconds of Redis server time. A step costs the same however many wait."""

    def __init__(self, costs: Costs) -> None:
        self._costs = costs
        self._places: dict[str, _Place] = {}
        self._line: deque[_Place] = deque()
        self._settled = _Line()  # at the costs that were measured
        self._expected = _Line()  # at the costs that are expected, for those still waiting
        self._lateness: deque[float] = deque(maxlen=_REMEMBERED)

    def arrive(
        self, entry: str, account: AccountId, operation: Operation, arrived_ms: float
    ) -> float:
        """Queue up; returns when strict FIFO would probably be done with this request."""
        place = self._places[entry] = _Place(account, operation, arrived_ms)
        if not self._line:
            self._expected.free_ms = self._settled.free_ms
            self._expected.account = self._settled.account
        self._line.append(place)
        return self._expected.serve(place, self._costs.switch_ms(account), self._visit_ms(place))

    def serve(self, entry: str, now_ms: float, switch_ms: float, read_ms: float) -> None:
        """The real terminal answered a request; its switch and read took so long."""
        if place := self._places.pop(entry, None):
            place.served_ms, place.switch_ms, place.read_ms = now_ms, switch_ms, read_ms
            self._settle()

    def leave(self, entry: str, now_ms: float) -> None:
        """A caller gave up. Strict FIFO would perhaps have gone to their account by then."""
        self._go(entry, now_ms)

    def refuse(self, entry: str) -> None:
        """A request needed no terminal, or could not have it: strict FIFO would not have gone."""
        self._go(entry, float("-inf"))

    def _go(self, entry: str, left_ms: float) -> None:
        if place := self._places.pop(entry, None):
            place.left, place.served_ms = True, left_ms
            self._settle()

    def stall(self, now_ms: float) -> None:
        """The terminal was down until now; strict FIFO would have waited as well."""
        self._settled.free_ms = max(self._settled.free_ms, now_ms)

    @property
    def logins(self) -> int:
        """How many logins strict FIFO would have made for what was answered so far."""
        return self._settled.logins

    @property
    def late_ms(self) -> int:
        """The worst lateness among the last thousand answers; 0 is as promised."""
        return max(0, round(max(self._lateness, default=0.0)))

    def _settle(self) -> None:
        while self._line and self._line[0].served_ms is not None:
            place = self._line.popleft()
            if not place.left:
                finish = self._settled.serve(place, place.switch_ms, place.read_ms)
                self._lateness.append(place.served_ms - finish)  # type: ignore[operator]
            elif self._settled.starts_ms(place) < place.served_ms:  # type: ignore[operator]
                switch_ms = self._costs.switch_ms(place.account)
                self._settled.serve(place, switch_ms, self._visit_ms(place))

    def _visit_ms(self, place: _Place) -> float:
        """Strict FIFO makes a visit for each request."""
        return self._costs.answer_ms(place.operation) + self._costs.overhead_ms

    def __len__(self) -> int:
        return len(self._line)
