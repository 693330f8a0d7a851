"""The login governor: keeps the terminal from logging in so often that a broker would flag it.

A token bucket for each server, as a virtual schedule (GCRA): one number a server, the time at which
its bucket would be full again. What is not allowed yet is put off, never dropped.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from mt5relay_shared.accounts import AccountId

_MINUTE_MS = 60_000
_MINUTES = 60


@dataclass(frozen=True, slots=True)
class GovernorPolicy:
    """How often the terminal may log in.

    `per_minute` logins at each server in the long run, 0 for no limit; `burst` of them at once
    after a quiet time; `dwell_ms` on an account before it is left for another.
    """

    per_minute: float = 0.0
    burst: int = 1
    dwell_ms: float = 0.0

    @property
    def interval_ms(self) -> float:
        return _MINUTE_MS / self.per_minute if self.per_minute else 0.0


@dataclass(slots=True)
class LoginGovernor:
    """Says when a login is allowed, and is told of each. Times in milliseconds.

    `jitter` is a factor, at least 1, for the pause that a login costs its server, so that logins do
    not come as regularly as a machine's.
    """

    policy: GovernorPolicy
    jitter: Callable[[], float] = field(default=lambda: 1.0)
    _full_at_ms: dict[str, float] = field(default_factory=dict[str, float])
    dwells_until_ms: float = float("-inf")

    def allows_at_ms(self, account: AccountId, current: AccountId | None) -> float:
        """The earliest time for a visit to an account; long past where no login is needed."""
        return self._allows_at_ms(account, current, spared=0)

    def allows_follow_at_ms(self, account: AccountId, current: AccountId | None) -> float:
        """The earliest time for a login that nobody needs yet: half the burst is left to others."""
        return self._allows_at_ms(account, current, spared=self.policy.burst // 2)

    def _allows_at_ms(self, account: AccountId, current: AccountId | None, spared: int) -> float:
        if account == current:
            return float("-inf")
        tolerance_ms = (self.policy.burst - 1 - spared) * self.policy.interval_ms
        full_at_ms = self._full_at_ms.get(account.server, float("-inf"))
        return max(full_at_ms - tolerance_ms, self.dwells_until_ms)

    def logged_in(self, account: AccountId, now_ms: float) -> None:
        """A login was tried at this time; one that failed was seen by the broker as well."""
        self.dwells_until_ms = now_ms + self.policy.dwell_ms
        if self.policy.per_minute:
            full_at_ms = max(self._full_at_ms.get(account.server, now_ms), now_ms)
            self._full_at_ms[account.server] = full_at_ms + self.policy.interval_ms * self.jitter()

    def forecast(self) -> LoginGovernor:
        """A copy to play the next logins through on, without jitter."""
        return LoginGovernor(
            self.policy, _full_at_ms=dict(self._full_at_ms), dwells_until_ms=self.dwells_until_ms
        )


class LoginCounts:
    """How often each account was logged in to within the last hour, to the minute."""

    def __init__(self) -> None:
        self._minutes: deque[tuple[int, Counter[AccountId]]] = deque()
        self._totals: Counter[AccountId] = Counter()

    def add(self, account: AccountId, now_ms: float) -> None:
        minute = int(now_ms // _MINUTE_MS)
        if not self._minutes or self._minutes[-1][0] < minute:
            self._minutes.append((minute, Counter()))
        self._minutes[-1][1][account] += 1
        self._totals[account] += 1

    def of_last_hour(self, now_ms: float) -> Counter[AccountId]:
        """Logins by account; treat it as read-only."""
        oldest = int(now_ms // _MINUTE_MS) - _MINUTES
        while self._minutes and self._minutes[0][0] <= oldest:
            self._totals -= self._minutes.popleft()[1]
        return self._totals
