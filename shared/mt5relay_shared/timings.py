"""How long requests took, counted into buckets by the worker and told as Prometheus histograms."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, NamedTuple

import msgspec

from mt5relay_shared.decoding import UnreadableError, read_json

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the buckets in seconds; one more bucket holds what took longer."""


class Phase(StrEnum):
    """A part of a request's life at the worker: until its visit, its visit's login, its read; and
    from its arrival to its reply."""

    WAIT = "wait"
    SWITCH = "switch"
    READ = "read"
    TOTAL = "total"


class Kind(NamedTuple):
    """`outcome` is `ok`, `stale` or an error code."""

    phase: str
    operation: str
    outcome: str


class Counted(msgspec.Struct):
    """How many fell into each bucket, and their sum in seconds."""

    counts: list[Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]]
    sum: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class Timings:
    """The worker's counts since its start."""

    def __init__(self) -> None:
        self._counted: dict[Kind, Counted] = {}

    def observe(self, phase: Phase, operation: str, outcome: str, seconds: float) -> None:
        kind = Kind(phase, operation, outcome)
        counted = self._counted.get(kind)
        if counted is None:
            counted = self._counted[kind] = Counted([0] * (len(BOUNDS) + 1))
        counted.counts[bisect_left(BOUNDS, seconds)] += 1
        counted.sum += max(0.0, seconds)

    def fields(self) -> dict[str, bytes]:
        """As they stand in the hash `timings`: `phase operation outcome` → JSON."""
        return {" ".join(kind): msgspec.json.encode(one) for kind, one in self._counted.items()}


def decode_timings(fields: Mapping[bytes, bytes]) -> dict[Kind, Counted]:
    """Read the hash; what another version wrote otherwise is left out."""
    found: dict[Kind, Counted] = {}
    for name, body in fields.items():
        words = name.decode("utf-8", "replace").split(" ")
        try:
            counted = read_json(body, Counted)
        except UnreadableError:
            continue
        if len(words) == len(Kind._fields) and len(counted.counts) == len(BOUNDS) + 1:
            found[Kind(*words)] = counted
    return found
