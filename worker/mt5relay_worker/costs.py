"""What a switch and a read cost on this terminal, learned as it works."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.operations import OPERATIONS, SNAPSHOT_OPERATIONS, Operation

DEFAULT_SWITCH_MS = 2_000.0  # no latency distribution of `login` is published; 2-4 s is assumed
DEFAULT_READ_MS = 20.0
_WEIGHT = 0.2  # of the newest observation in the running mean
_KNOWN_ACCOUNTS = 10_000
_RECENT = 512
_FEW = 4
_ANYWHERE = None  # stands for whatever account on whatever server


class Costs:
    """Smoothed costs in milliseconds: by account, else by server, else of all, else a default."""

    def __init__(self) -> None:
        self._switches: OrderedDict[Hashable, float] = OrderedDict()
        self._reads: dict[Operation, float] = {}
        self.overhead_ms = 0.0  # of a visit beside the terminal: the pipe, Redis
        self._recent_switches: deque[float] = deque(maxlen=_RECENT)
        self._recent_reads: deque[float] = deque(maxlen=_RECENT)

    def switch_ms(self, account: AccountId) -> float:
        for known in (account, account.server, _ANYWHERE):
            if known in self._switches:
                return self._switches[known]
        return DEFAULT_SWITCH_MS

    @property
    def is_learned(self) -> bool:
        """Whether the terminal has made a switch yet, or all is guessed."""
        return bool(self._recent_switches)

    def read_ms(self, operation: Operation) -> float:
        return self._reads.get(operation, DEFAULT_READ_MS)

    def answer_ms(self, operation: Operation) -> float:
        """The reads that answer an operation: the full read where it is part of that."""
        return self.snapshot_ms() if OPERATIONS[operation].in_snapshot else self.read_ms(operation)

    def snapshot_ms(self) -> float:
        """The full read of an account."""
        return sum(self.read_ms(operation) for operation in SNAPSHOT_OPERATIONS)

    def observe_switch(self, account: AccountId, took_ms: float) -> None:
        self._recent_switches.append(took_ms)
        for key in (account, account.server, _ANYWHERE):
            self._switches[key] = _smooth(self._switches.get(key), took_ms)
            self._switches.move_to_end(key)
        while len(self._switches) > _KNOWN_ACCOUNTS:
            self._switches.popitem(last=False)

    def observe_overhead(self, took_ms: float, served: int) -> None:
        """Only small visits tell: what a large one takes is mostly for the many it serves."""
        if served <= _FEW:
            self.overhead_ms = _smooth(self.overhead_ms or None, took_ms)

    def observe_read(self, operation: Operation, took_ms: float) -> None:
        self._recent_reads.append(took_ms)
        self._reads[operation] = _smooth(self._reads.get(operation), took_ms)

    def switch_percentile(self, fraction: float) -> int | None:
        return _percentile(self._recent_switches, fraction)

    def read_percentile(self, fraction: float) -> int | None:
        return _percentile(self._recent_reads, fraction)


def _smooth(mean: float | None, value: float) -> float:
    return value if mean is None else mean + _WEIGHT * (value - mean)


def _percentile(values: deque[float], fraction: float) -> int | None:
    if not values:
        return None
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(fraction * len(ordered)))])
