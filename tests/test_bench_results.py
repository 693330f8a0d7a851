"""The benchmark's verdicts: a target is met by medians, and never by what is missing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from bench.backlog_cost import BacklogCost
from bench.measuring import FLOOR, RELAY, Cell, Failure, Sample
from bench.results import Results, verdicts

SEQUENCE, MANY, MOST = (Cell("ticks", in_flight, 1, 100) for in_flight in (1, 128, 1024))
SWITCHES = Cell("switches", 128, 1, 100)

THROUGHPUT = "128 in flight: at least 10 times the best peer"
OF_FLOOR = "128 in flight: at least half of the floor"
LATENCY = "one after another: p50 at most 2.5 times the floor's"
MEMORY = "worker, terminal process and gateway together below 150 MB"
BACKLOG = "worker CPU a request the same to a fifth, with 100 to 100,000 requests"


def sample(
    contestant: str,
    cell: Cell,
    *,
    per_second: float = 100.0,
    p50_ms: float = 1.0,
    mib: float = 40.0,
    number: int = 0,
) -> Sample:
    return Sample(
        contestant=contestant,
        cell=cell,
        round=number,
        per_second=per_second,
        p50_ms=p50_ms,
        p99_ms=p50_ms,
        cpu_us={"worker": 1.0},
        peak_mib={"worker": mib, "terminal": mib, "gateway 1": mib, "redis": 1_000.0},
        commands=1.0,
        calls=1.0,
        bytes_in=1.0,
        bytes_out=1.0,
        load=0.0,
    )


def met(*samples: Sample, backlog: tuple[BacklogCost, ...] = ()) -> dict[str, bool | None]:
    results = Results("now", "c0ffee", "here", {}, 1, list(samples), backlog=list(backlog))
    return {one.target: one.met for one in verdicts(results)}


@pytest.mark.parametrize(("ours", "is_met"), [(1_000, True), (999, False)])
def test_the_best_peer_counts_not_the_first(ours: float, *, is_met: bool) -> None:
    found = met(
        sample(RELAY, MANY, per_second=ours),
        sample("arq", MANY, per_second=50),
        sample("dramatiq", MANY, per_second=100),
        sample("celery", MANY, per_second=20),
    )
    assert found[THROUGHPUT] is is_met


def test_the_median_of_the_rounds_counts() -> None:
    rounds = [
        sample(RELAY, MANY, per_second=figure, number=number)
        for number, figure in enumerate((10_000, 400, 500))
    ]
    assert met(*rounds, sample(FLOOR, MANY, per_second=1_001))[OF_FLOOR] is False
    assert met(*rounds, sample(FLOOR, MANY, per_second=1_000))[OF_FLOOR] is True


@pytest.mark.parametrize(("p50_ms", "is_met"), [(2.5, True), (2.6, False)])
def test_latency_is_better_when_it_is_less(p50_ms: float, *, is_met: bool) -> None:
    found = met(sample(RELAY, SEQUENCE, p50_ms=p50_ms), sample(FLOOR, SEQUENCE, p50_ms=1.0))
    assert found[LATENCY] is is_met


def test_what_was_not_measured_is_not_met() -> None:
    assert met(sample(RELAY, MANY))[THROUGHPUT] is None
    assert (
        met(sample(RELAY, SWITCHES))["a switch for every request: at least 4 times the best peer"]
        is None
    )
    assert met(sample(RELAY, MANY))[MEMORY] is None


@pytest.mark.parametrize(("mib", "is_met"), [(47.0, True), (48.0, False)])
def test_memory_is_the_peak_of_three_processes_in_megabytes(mib: float, *, is_met: bool) -> None:
    quiet = sample(RELAY, MOST, mib=10)
    assert met(quiet, sample(RELAY, MOST, mib=mib, number=1))[MEMORY] is is_met


@pytest.mark.parametrize(("last", "is_met"), [(140.0, True), (160.0, False)])
def test_a_backlog_may_not_make_requests_dearer(last: float, *, is_met: bool) -> None:
    costs = [
        BacklogCost("requests", 100, 100.0, 1.0, 100),
        BacklogCost("requests", 100_000, last, 1.0, 100),
    ]
    assert met(backlog=tuple(costs))[BACKLOG] is is_met


def test_a_size_that_failed_is_not_as_cheap() -> None:
    cost = BacklogCost("requests", 100, 100.0, 1.0, 100)
    results = Results("now", "c0ffee", "here", {}, 1, backlog=[cost, replace(cost, size=1_000)])
    results.failures.append(Failure("100,000 requests waiting", 0, "too slow"))
    assert [one.met for one in verdicts(results) if one.target.startswith("worker CPU")] == [False]
