"""Who the terminal is logged in to, and how much of them can be seen yet.

After `login` returned True a terminal passes through stages, each observed in production: the old
account is still shown, or none; the margin is not computed; positions and orders are not loaded;
the history is incomplete. A session knows when each of its stages ends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from mt5relay_worker.simulator.book import AccountKey
from mt5relay_worker.simulator.faults import Faults

Access = Literal["full", "investor"]
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Session:
    """One login. Times are seconds since 1970; until then the stage lasts."""

    account: AccountKey | None = None
    access: Access = "full"
    began: float = 0.0
    shown_instead: Session | None = None
    old_shown_until: float = 0.0
    info_none_until: float = 0.0
    margin_zero_until: float = 0.0
    lists_empty_until: float = 0.0
    history_full_at: float = 0.0

    @property
    def synchronized_at(self) -> float:
        """When its lists are really there to be read; infinite where they will not be."""
        shown_at = self.began if self.shown_instead is None else self.old_shown_until
        return max(self.began, shown_at, self.lists_empty_until)

    def shown(self, now: float) -> Session:
        """The session that a reader sees: this one, or the one before it."""
        if self.shown_instead is not None and now < self.old_shown_until:
            return self.shown_instead
        return self

    def loaded_history(self, rows: Sequence[Row], now: float) -> Sequence[Row]:
        """The part of a history that has arrived; it grows evenly."""
        if now >= self.history_full_at:
            return rows
        part = (now - self.began) / (self.history_full_at - self.began)
        return rows[: int(len(rows) * part)]


NOBODY = Session()


def begin_session(
    account: AccountKey,
    access: Access,
    *,
    before: Session,
    faults: Faults,
    is_stale: bool,
    now: float,
) -> Session:
    """The session that a successful login starts.

    Lists that would stay empty for good come with the second login to the same account.
    """
    is_second = before.account == account and before.lists_empty_until == math.inf
    empty_seconds = 0.0 if is_second else faults.lists_empty_seconds
    return Session(
        account=account,
        access=access,
        began=now,
        shown_instead=replace(before, shown_instead=None) if is_stale else None,
        old_shown_until=_end(now, faults.stale_login_seconds),
        info_none_until=now + faults.account_info_none_seconds,
        margin_zero_until=now + faults.margin_zero_seconds,
        lists_empty_until=_end(now, empty_seconds),
        history_full_at=now + faults.history_short_seconds,
    )


def _end(now: float, seconds: float | None) -> float:
    return math.inf if seconds is None else now + seconds
