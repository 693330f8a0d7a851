"""How long requests took: buckets that add up, whoever wrote them."""

from __future__ import annotations

import msgspec
import pytest

from mt5relay_shared.timings import BOUNDS, Kind, Phase, Timings, decode_timings

KIND = Kind("wait", "positions", "ok")


def stored(timings: Timings) -> dict[bytes, bytes]:
    return {name.encode(): body for name, body in timings.fields().items()}


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(-1, 0), (0, 0), (0.001, 0), (0.0011, 1), (60, 14), (61, len(BOUNDS))]
)
def test_each_request_falls_into_one_bucket(seconds: float, bucket: int) -> None:
    timings = Timings()
    timings.observe(Phase.WAIT, "positions", "ok", seconds)
    counted = decode_timings(stored(timings))[KIND]
    assert counted.counts == [int(at == bucket) for at in range(len(BOUNDS) + 1)]
    assert counted.sum == max(0, seconds)


def test_phases_operations_and_outcomes_are_counted_apart() -> None:
    timings = Timings()
    for phase, operation, outcome in [KIND, ("wait", "orders", "ok"), ("read", "positions", "ok")]:
        timings.observe(Phase(phase), operation, outcome, 0.2)
    timings.observe(Phase.WAIT, "positions", "MT5_TIMEOUT", 0.2)
    timings.observe(Phase.WAIT, "positions", "ok", 0.3)
    found = decode_timings(stored(timings))
    assert len(found) == 4
    assert sum(found[KIND].counts) == 2
    assert found[KIND].sum == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        (b"wait positions ok", b"nonsense"),
        (b"wait positions ok", msgspec.json.encode({"counts": [1, 2], "sum": 1.0})),
        (b"wait positions", msgspec.json.encode({"counts": [0] * 16, "sum": 0.0})),
        (b"\xff \xff", b"{}"),
    ],
)
def test_what_another_version_wrote_otherwise_is_left_out(name: bytes, body: bytes) -> None:
    assert decode_timings({name: body}) == {}
