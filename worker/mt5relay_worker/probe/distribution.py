"""Many latencies as a few figures. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from mt5relay_worker.simulator.profile import quantile

# Seconds: 1, 2, 5 and so on, up to what a call was ever seen to take and more.
BOUNDS = tuple(digit * 10.0**power for power in range(-4, 3) for digit in (1, 2, 5))


class Bucket(msgspec.Struct, frozen=True):
    """How many were longer than the bucket before and not longer than this; None: any longer."""

    up_to: float | None
    count: int


class Distribution(msgspec.Struct, frozen=True):
    """Seconds; `seconds` has all of them in order of length."""

    count: int
    mean: float
    min: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float
    histogram: list[Bucket]
    seconds: list[float]


def distribution(seconds: Sequence[float]) -> Distribution | None:
    """None where nothing was measured."""
    if not seconds:
        return None
    ordered = sorted(round(one, 5) for one in seconds)
    middle, p90, p95, p99 = (round(quantile(ordered, share), 5) for share in (0.5, 0.9, 0.95, 0.99))
    return Distribution(
        count=len(ordered),
        mean=round(sum(ordered) / len(ordered), 5),
        min=ordered[0],
        p50=middle,
        p90=p90,
        p95=p95,
        p99=p99,
        max=ordered[-1],
        histogram=_histogram(ordered),
        seconds=ordered,
    )


def _histogram(ordered: Sequence[float]) -> list[Bucket]:
    """Those that are not empty."""
    buckets: list[Bucket] = []
    counted = 0
    for bound in BOUNDS:
        below = sum(one <= bound for one in ordered)
        if below > counted:
            buckets.append(Bucket(round(bound, 4), below - counted))
        counted = below
    if counted < len(ordered):
        buckets.append(Bucket(None, len(ordered) - counted))
    return buckets
