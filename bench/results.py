"""From samples to the figures that are shown: medians, ratios, and whether the targets are met."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from bench.backlog_cost import BacklogCost
from bench.measuring import FLOOR, PEERS, RELAY, Cell, Failure, Sample
from bench.pure import Cost
from bench.soak import Look


@dataclass
class Results:
    """Everything that one run found."""

    taken_at: str
    commit: str
    machine: str
    versions: dict[str, dict[str, str]]
    rounds: int
    samples: list[Sample] = field(default_factory=list[Sample])
    failures: list[Failure] = field(default_factory=list[Failure])
    pure: list[Cost] = field(default_factory=list[Cost])
    backlog: list[BacklogCost] = field(default_factory=list[BacklogCost])
    soak: list[Look] = field(default_factory=list[Look])

    def cells(self) -> list[Cell]:
        """What was measured, in the order of the plan."""
        return list(dict.fromkeys(sample.cell for sample in self.samples))

    def contestants(self) -> list[str]:
        return list(dict.fromkeys(sample.contestant for sample in self.samples))

    def median(self, name: str, cell: Cell, figure: Callable[[Sample], float]) -> float | None:
        """The median over the rounds, or None where there is none."""
        found = [figure(one) for one in self.samples if one.contestant == name and one.cell == cell]
        return statistics.median(found) if found else None

    def best_peer(
        self,
        cell: Cell,
        figure: Callable[[Sample], float],
        best: Callable[[Iterable[float]], float],
    ) -> tuple[str, float] | None:
        found = {name: self.median(name, cell, figure) for name in PEERS}
        known = {name: value for name, value in found.items() if value is not None}
        if not known:
            return None
        wanted = best(known.values())
        return next((name, value) for name, value in known.items() if value == wanted)


def per_second(sample: Sample) -> float:
    return sample.per_second


def p50_ms(sample: Sample) -> float:
    return sample.p50_ms


def p99_ms(sample: Sample) -> float:
    return sample.p99_ms


def total_cpu_us(sample: Sample) -> float:
    """Of all processes. What a shared machine disturbs least."""
    return sum(sample.cpu_us.values())


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target and what was found; `met` is None where nothing was measured."""

    target: str
    found: str
    met: bool | None


def verdicts(results: Results) -> list[Verdict]:
    """The targets, one by one."""
    return [
        *_of_throughput(results),
        *_of_switches(results),
        *_of_latency(results),
        _of_memory(results),
        *_of_backlog(results),
    ]


def _cells(results: Results, scenario: str, sizes: Sequence[int] | None = None) -> list[Cell]:
    return [
        cell
        for cell in results.cells()
        if cell.scenario == scenario
        and cell.gateways == 1
        and (sizes is None or cell.in_flight in sizes)
    ]


def _of_throughput(results: Results) -> list[Verdict]:
    found: list[Verdict] = []
    for cell in _cells(results, "ticks", (128, 1024)):
        ours = results.median(RELAY, cell, per_second)
        floor = results.median(FLOOR, cell, per_second)
        found.append(
            _ratio(
                f"{cell.in_flight} in flight: at least 10 times the best peer",
                ours,
                results.best_peer(cell, per_second, max),
                lambda ratio: ratio >= 10,
            )
        )
        found.append(
            _ratio(
                f"{cell.in_flight} in flight: at least half of the floor",
                ours,
                (FLOOR, floor) if floor else None,
                lambda ratio: ratio >= 0.5,
            )
        )
    return found


def _of_switches(results: Results) -> list[Verdict]:
    return [
        _ratio(
            "a switch for every request: at least 4 times the best peer",
            results.median(RELAY, cell, per_second),
            results.best_peer(cell, per_second, max),
            lambda ratio: ratio >= 4,
        )
        for cell in _cells(results, "switches")
    ]


def _of_latency(results: Results) -> list[Verdict]:
    found: list[Verdict] = []
    for cell in _cells(results, "ticks", (1,)):
        ours, floor = results.median(RELAY, cell, p50_ms), results.median(FLOOR, cell, p50_ms)
        peer = results.best_peer(cell, p50_ms, min)
        found.append(
            _ratio("one after another: p50 at most half of the best peer's", ours, peer,
                   lambda ratio: ratio <= 0.5)
        )  # fmt: skip
        found.append(
            _ratio("one after another: p50 at most 2.5 times the floor's", ours,
                   (FLOOR, floor) if floor else None, lambda ratio: ratio <= 2.5)
        )  # fmt: skip
    return found


def _ratio(
    target: str,
    ours: float | None,
    other: tuple[str, float] | None,
    is_met: Callable[[float], bool],
) -> Verdict:
    if ours is None or other is None:
        return Verdict(target, "not measured", None)
    name, theirs = other
    ratio = ours / theirs
    return Verdict(target, f"{ratio:.2f} times {name} ({ours:,.4g} : {theirs:,.4g})", is_met(ratio))


def _of_memory(results: Results) -> Verdict:
    target = "worker, terminal process and gateway together below 150 MB"
    peaks = [
        sum(mib for role, mib in one.peak_mib.items() if role != "redis")
        for one in results.samples
        if one.contestant == RELAY and one.cell.gateways == 1 and one.cell.in_flight >= 1024
    ]
    if not peaks:
        return Verdict(target, "not measured", None)
    megabytes = max(peaks) * 1.048_576
    return Verdict(target, f"{megabytes:.0f} MB at the peak", megabytes < 150)


def _of_backlog(results: Results) -> list[Verdict]:
    found: list[Verdict] = []
    for of in dict.fromkeys(cost.of for cost in results.backlog):
        costs = [cost for cost in results.backlog if cost.of == of]
        mean = statistics.mean(cost.worker_us for cost in costs)
        spread = max(abs(cost.worker_us - mean) / mean for cost in costs)
        sizes = f"{costs[0].size:,} to {costs[-1].size:,} {of}"
        told = ", ".join(f"{cost.worker_us:,.0f}" for cost in costs)
        target = f"worker CPU a request the same to a fifth, with {sizes}"
        failed = [one for one in results.failures if one.contestant.endswith(f" {of} waiting")]
        if failed:  # a size that could not be measured is no size that was as cheap
            told = f"{told}; with {failed[0].contestant}: {failed[0].reason}"
        found.append(Verdict(target, f"{told} (µs)", spread <= 0.2 and not failed))
    return found
