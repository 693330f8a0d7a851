"""From latencies that were measured on a terminal to the simulator's latencies.

Pure, and told seconds. What was measured fewer than `MIN_SAMPLES` times says nothing and is left
out, so that the simulator's default stays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

MIN_SAMPLES = 5
QUANTILES = 21  # 0 %, 5 %, ..., 100 %
_SHORTEST = 0.0001  # seconds; a log-normal has no median of 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Seconds, one for each time that it was measured.

    The last four count from a login's return. `old_account_shown` has only those logins after which
    the old account was seen, of `logins` in all; the others have 0 where nothing was waited for.
    """

    attach: Sequence[float] = ()
    login_same_account: Sequence[float] = ()
    login_same_server: Sequence[float] = ()
    login_other_server: Sequence[float] = ()
    refused: Sequence[float] = ()
    nobody_shown: Sequence[float] = ()
    old_account_shown: Sequence[float] = ()
    margin: Sequence[float] = ()
    lists: Sequence[float] = ()
    logins: int = 0


def quantile(ordered: Sequence[float], probability: float) -> float:
    """The value below which this share lies, in between two values by interpolation.

    Raises:
        ValueError: there is no value.
    """
    if not ordered:
        raise ValueError("no values, so no quantile")
    place = probability * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def profile_of(measured: Measured) -> dict[str, object]:
    """The fields of `Faults` that these measurements decide, as JSON has them."""
    fields: dict[str, object] = {}
    for name, seconds in (
        ("initialize_running_seconds", measured.attach),
        ("login_same_account_seconds", measured.login_same_account),
        ("wrong_password_seconds", measured.refused),
    ):
        if len(seconds) >= MIN_SAMPLES:
            fields[name] = _evenly(seconds)
    for name, seconds in (
        ("login_same_server", measured.login_same_server),
        ("login_other_server", measured.login_other_server),
    ):
        if len(seconds) >= MIN_SAMPLES:
            fields[name] = _by_quantiles(seconds)
    for name, seconds in (
        ("account_info_none_seconds", measured.nobody_shown),
        ("margin_zero_seconds", measured.margin),
        ("lists_empty_seconds", measured.lists),
    ):
        if len(seconds) >= MIN_SAMPLES:
            fields[name] = _rounded(median(seconds))
    return fields | _stale_logins(measured)


def _stale_logins(measured: Measured) -> dict[str, object]:
    if measured.logins < MIN_SAMPLES or not measured.old_account_shown:
        return {}
    return {
        "stale_login_probability": round(len(measured.old_account_shown) / measured.logins, 4),
        "stale_login_seconds": _rounded(median(measured.old_account_shown)),
    }


def _evenly(seconds: Sequence[float]) -> tuple[float, float]:
    """The even distribution with the same 5th and 95th percentile: outliers do not stretch it."""
    ordered = sorted(seconds)
    low, high = quantile(ordered, 0.05), quantile(ordered, 0.95)
    rest = (high - low) / 18
    return _rounded(max(0.0, low - rest)), _rounded(high + rest)


def _by_quantiles(seconds: Sequence[float]) -> dict[str, object]:
    ordered = sorted(seconds)
    return {
        "median": max(_SHORTEST, _rounded(quantile(ordered, 0.5))),
        "p95": max(_SHORTEST, _rounded(quantile(ordered, 0.95))),
        "quantiles": [
            _rounded(quantile(ordered, step / (QUANTILES - 1))) for step in range(QUANTILES)
        ],
    }


def _rounded(seconds: float) -> float:
    return round(seconds, 4)
