"""The trading week of foreign exchange, from Sunday to Friday 22:00 UTC."""

from __future__ import annotations

_DAY = 86_400
_WEEK = 7 * _DAY
_FIRST_OPENING = 3 * _DAY + 22 * 3_600  # 1970 began on a Thursday
_OPEN_FOR = 5 * _DAY


def last_open(at: float) -> float:
    """The last moment of trade up to `at`: itself, or the end of Friday's session.

    >>> last_open(1_750_000_000) == 1_750_000_000 - (15 * 3600 + 6 * 60 + 40 + 2 * 3600 + 86_400)
    True
    """
    since_opening = (at - _FIRST_OPENING) % _WEEK
    return at - max(0.0, since_opening - _OPEN_FOR)
