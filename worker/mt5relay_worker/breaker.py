"""The circuit breaker: stops asking a terminal that is known to be down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mt5relay_shared.errors import Outcome
from mt5relay_shared.health import BreakerState


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """Pauses in seconds. Each failed probe doubles the pause up to `longest_pause`."""

    failure_threshold: int = 1
    first_pause: float = 30.0
    longest_pause: float = 600.0


@dataclass(frozen=True, slots=True)
class BreakerChange:
    source: BreakerState
    target: BreakerState
    cause: str
    at: float


class CircuitBreaker:
    """CLOSED lets everything through, OPEN nothing, HALF_OPEN one probe.

    A neutral outcome (a wrong password, the caller's own deadline) says nothing about the terminal:
    it moves no counter and gives a probe's permit back.

    ==========  =======================================  =========================================
    state       event                                    next
    ==========  =======================================  =========================================
    CLOSED      failure, for the threshold-th time       OPEN for the first pause
    OPEN        `try_probe` after the pause              HALF_OPEN
    HALF_OPEN   success                                  CLOSED, pauses start anew
    HALF_OPEN   failure                                  OPEN for twice the pause
    HALF_OPEN   neutral                                  OPEN, the next probe may start at once
    any         `reset`                                  CLOSED
    ==========  =======================================  =========================================
    """

    def __init__(
        self,
        policy: BreakerPolicy,
        *,
        on_change: Callable[[BreakerChange], None],
        jitter: Callable[[], float] = lambda: 1.0,
    ) -> None:
        self.state = BreakerState.CLOSED
        self.retry_at: float | None = None
        self._policy = policy
        self._on_change = on_change
        self._jitter = jitter  # a factor near 1 for each pause
        self._failures = 0
        self._pause = policy.first_pause

    @property
    def is_closed(self) -> bool:
        return self.state is BreakerState.CLOSED

    def retry_after(self, now: float) -> float:
        """Seconds until somebody may try again; 0 when closed."""
        return max(0.0, (self.retry_at or now) - now)

    def try_probe(self, now: float) -> bool:
        """Take the one permit of HALF_OPEN, if the pause is over and nobody holds it."""
        if self.state is not BreakerState.OPEN or self.retry_after(now) > 0:
            return False
        self._enter(BreakerState.HALF_OPEN, "the pause is over", now)
        return True

    def record(self, outcome: Outcome, cause: str, now: float) -> None:
        """Count what became of a visit or a probe."""
        match outcome, self.state:
            case Outcome.SUCCESS, BreakerState.HALF_OPEN:
                self._close(cause, now)
            case Outcome.SUCCESS, BreakerState.CLOSED:
                self._failures = 0
            case Outcome.FAILURE, BreakerState.HALF_OPEN:
                self._pause = min(2 * self._pause, self._policy.longest_pause)
                self._open(cause, now)
            case Outcome.FAILURE, BreakerState.CLOSED:
                self._failures += 1
                if self._failures >= self._policy.failure_threshold:
                    self._open(cause, now)
            case Outcome.NEUTRAL, BreakerState.HALF_OPEN:
                self.retry_at = now
                self._enter(BreakerState.OPEN, cause, now)
            case _:
                pass  # late news of work that began before the breaker opened

    def reset(self, cause: str, now: float) -> None:
        """A person says that the terminal is well."""
        self._close(cause, now)

    def allow_probe_now(self, now: float) -> None:
        """A person wants to know now: end the pause early."""
        if self.state is BreakerState.OPEN:
            self.retry_at = now

    def _open(self, cause: str, now: float) -> None:
        self.retry_at = now + min(self._pause * self._jitter(), self._policy.longest_pause)
        self._enter(BreakerState.OPEN, cause, now)

    def _close(self, cause: str, now: float) -> None:
        self._failures, self._pause, self.retry_at = 0, self._policy.first_pause, None
        self._enter(BreakerState.CLOSED, cause, now)

    def _enter(self, target: BreakerState, cause: str, now: float) -> None:
        source, self.state = self.state, target
        if source is not target:
            self._on_change(BreakerChange(source, target, cause, now))

    def __repr__(self) -> str:
        return f"<CircuitBreaker {self.state} retry_at={self.retry_at} failures={self._failures}>"
