"""The pool of logical sessions: whose credential the terminal process may keep unsealed."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from mt5relay_shared.accounts import AccountId


@dataclass(frozen=True, slots=True)
class Session:
    """A login that may be repeated without unsealing again. `last_used` in the caller's seconds."""

    account: AccountId
    fingerprint: str
    last_used: float


class SessionPool:
    """At most `limit` sessions, the least recently used out first, idle ones out after
    `idle_timeout` seconds.

    The binding has no logout, so to evict a session is to forget its credential: every method that
    evicts returns the accounts to forget.
    """

    def __init__(self, limit: int, idle_timeout: float) -> None:
        self.limit = limit
        self.idle_timeout = idle_timeout
        self.idle_evictions = 0
        self._sessions: OrderedDict[AccountId, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def __contains__(self, account: AccountId) -> bool:
        return account in self._sessions

    def use(self, account: AccountId, fingerprint: str, now: float) -> list[AccountId]:
        """Note a login; returns who had to make room."""
        self._sessions[account] = Session(account, fingerprint, now)
        self._sessions.move_to_end(account)
        evicted: list[AccountId] = []
        while len(self._sessions) > self.limit:
            evicted.append(self._sessions.popitem(last=False)[0])
        return evicted

    def evict_idle(self, now: float) -> list[AccountId]:
        """Drop every session that was last used `idle_timeout` seconds ago or earlier."""
        evicted: list[AccountId] = []
        while self._sessions and self._oldest().last_used + self.idle_timeout <= now:
            evicted.append(self._sessions.popitem(last=False)[0])
        self.idle_evictions += len(evicted)
        return evicted

    def next_expiry(self) -> float | None:
        """When the next session will have been idle for too long, if there is one."""
        return self._oldest().last_used + self.idle_timeout if self._sessions else None

    def forget(self, account: AccountId) -> None:
        self._sessions.pop(account, None)

    def clear(self) -> None:
        """The terminal process is gone, and every unsealed credential with it."""
        self._sessions.clear()

    def _oldest(self) -> Session:
        return next(iter(self._sessions.values()))

    def __repr__(self) -> str:
        return f"<SessionPool {len(self)}/{self.limit}, {self.idle_evictions} idle evictions>"
