"""What the order of visits is worth: policies next to each other, in simulated time.

    python -m bench.scheduling [--quick]

Writes `bench/results/scheduling.md`, `.json` and, where matplotlib is installed, `.svg`.
"""

from __future__ import annotations

import argparse
import bisect
import importlib
import importlib.util
import itertools
import json
import math
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

if __package__ in (None, ""):  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.offline_optimum import fewest_logins, least_total_wait_ms
from bench.policies import POLICIES, Load, Served, strict_fifo, waits_ms

RESULTS = Path(__file__).with_name("results")
TRADERS = 300
READ_MS = 20
LOADS = (0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.3, 1.6, 2.0, 3.0, 5.0, 10.0, 20.0)
LIMITS_S = (10, 60)  # p99 waits; the default timeout of a request is 10 s
SHARING = ("mt5relay", "longest queue first")


@dataclass(frozen=True, slots=True)
class Effort:
    """How long it may take."""

    seeds: int
    logins: int  # as long as so many take, each run lasts
    bisections: int
    small_cases: int


FULL = Effort(seeds=3, logins=1_500, bisections=4, small_cases=300)
QUICK = Effort(seeds=1, logins=200, bisections=1, small_cases=20)


@dataclass(frozen=True, slots=True)
class Market:
    """300 traders; `zipf` is the exponent of their popularity, 0 for equal."""

    login_ms: int
    zipf: float

    @property
    def name(self) -> str:
        return f"{'uniform' if not self.zipf else f'Zipf({self.zipf})'}, login {self.login_s} s"

    @property
    def login_s(self) -> float:
        return self.login_ms / 1000

    @property
    def visit_s(self) -> float:
        return (self.login_ms + READ_MS) / 1000

    @property
    def round_s(self) -> float:
        """One visit to each account."""
        return TRADERS * self.visit_s

    def load(self, rate: float, seed: int, logins: int) -> Load:
        """Poisson arrivals, `rate` a second, for as long as so many logins take."""
        random = Random(f"{self.name} {seed}")
        weights = [(rank + 1) ** -self.zipf for rank in range(TRADERS)]
        popularity = list(itertools.accumulate(weights))
        length_ms, at_ms, arrivals = logins * self.visit_s * 1000, 0.0, list[tuple[int, int]]()
        while (at_ms := at_ms + random.expovariate(rate / 1000)) < length_ms:
            account = bisect.bisect(popularity, random.random() * popularity[-1])
            arrivals.append((round(at_ms), min(account, TRADERS - 1)))
        return Load(arrivals, self.login_ms, READ_MS)


MARKETS = tuple(Market(login_ms, zipf) for login_ms in (500, 2_000) for zipf in (0.0, 1.1))


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one run. Waits in seconds; those of the first fifth, while the line builds up, are out."""

    rate: float
    p50_s: float
    p99_s: float
    max_s: float
    logins_per_request: float
    late_s: float  # the largest lateness against strict FIFO


def measure(load: Load, served: Served, fifo: Served, rate: float) -> Figures:
    waits = list(waits_ms(load, served))
    settled = sorted(waits[len(waits) // 5 :])
    late_ms = max(a - b for a, b in zip(served.finished_ms, fifo.finished_ms, strict=True))
    return Figures(
        rate,
        _percentile(settled, 0.5) / 1000,
        _percentile(settled, 0.99) / 1000,
        max(waits) / 1000,
        served.logins / len(waits),
        max(0.0, late_ms / 1000),
    )


def _percentile(ordered: Sequence[float], fraction: float) -> float:
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))]


@dataclass(frozen=True, slots=True)
class Trial:
    """One policy in one market with one seed: its curve, and the rates that keep the limits."""

    market: str
    policy: str
    curve: list[Figures]
    sustainable: dict[int, float]  # requests a second, by limit of p99 in seconds
    capacity: float | None  # above which the line grows without end; None: at no rate


class _Experiment:
    def __init__(self, market: Market, policy: str, seed: int, effort: Effort) -> None:
        self._market, self._policy, self._seed, self._effort = market, policy, seed, effort

    def run(self) -> Trial:
        curve = [self._figures(load / self._market.visit_s) for load in LOADS]
        sustainable = {limit_s: self._sustainable(curve, limit_s) for limit_s in LIMITS_S}
        capacity = self._fifo_capacity() if self._policy not in SHARING else None
        return Trial(self._market.name, self._policy, curve, sustainable, capacity)

    def _figures(self, rate: float) -> Figures:
        load = self._market.load(rate, self._seed, self._effort.logins)
        return measure(load, POLICIES[self._policy](load), strict_fifo(load), rate)

    def _sustainable(self, curve: Sequence[Figures], limit_s: float) -> float:
        """The highest rate whose p99 wait keeps the limit, by bisection in the curve."""
        good = bad = 0.0
        for figures in curve:
            if figures.p99_s > limit_s:
                bad = figures.rate
                break
            good = figures.rate
        if not good or not bad:
            return good
        for _ in range(self._effort.bisections):
            middle = math.sqrt(good * bad)
            if self._figures(middle).p99_s <= limit_s:
                good = middle
            else:
                bad = middle
        return good

    def _fifo_capacity(self) -> float:
        """Requests a second of a terminal that is never idle."""
        load = self._market.load(20 / self._market.visit_s, self._seed, self._effort.logins)
        served = strict_fifo(load)
        busy_ms = served.logins * load.login_ms + len(load.arrivals) * load.read_ms
        return len(load.arrivals) / busy_ms * 1000


def _run(job: tuple[Market, str, int, Effort]) -> Trial:
    return _Experiment(*job).run()


@dataclass(frozen=True, slots=True)
class Summary:
    """Medians over the seeds; the largest waits and latenesses are the largest of all."""

    market: str
    policy: str
    capacity: float | None
    sustainable: dict[int, float]
    curve: list[Figures]


def summarise(trials: Sequence[Trial]) -> Summary:
    first = trials[0]
    capacities = [one.capacity for one in trials if one.capacity is not None]
    return Summary(
        first.market,
        first.policy,
        statistics.median(capacities) if capacities else None,
        {
            limit_s: statistics.median(one.sustainable[limit_s] for one in trials)
            for limit_s in LIMITS_S
        },
        [_median(points) for points in zip(*(one.curve for one in trials), strict=True)],
    )


def _median(points: Sequence[Figures]) -> Figures:
    return Figures(
        points[0].rate,
        statistics.median(one.p50_s for one in points),
        statistics.median(one.p99_s for one in points),
        max(one.max_s for one in points),
        statistics.median(one.logins_per_request for one in points),
        max(one.late_s for one in points),
    )


def compare(effort: Effort) -> list[Summary]:
    """Every policy in every market; each trial in a process of its own."""
    kinds = [(market, policy) for market in MARKETS for policy in POLICIES]
    jobs = [(*kind, seed, effort) for kind in kinds for seed in range(effort.seeds)]
    with ProcessPoolExecutor(
        os.cpu_count(), mp_context=multiprocessing.get_context("spawn")
    ) as pool:
        trials = list(pool.map(_run, jobs))
    seeds = effort.seeds
    return [summarise(trials[at : at + seeds]) for at in range(0, len(trials), seeds)]


@dataclass(frozen=True, slots=True)
class AgainstOptimum:
    """How a policy compares with those that know the future, over many small cases."""

    policy: str
    mean_wait_s: float  # of a request
    wait_ratio: float  # to the least possible, over all cases
    asked_wait_ratio: float  # to the least possible without a login before somebody has asked
    login_ratio: float  # to the fewest with which nobody is later than under strict FIFO
    most_extra_logins: int
    optimal_logins: float  # share of the cases with no more than those
    late_cases: float  # share of the cases in which somebody is later than under strict FIFO
    worst_late_s: float


@dataclass(frozen=True, slots=True)
class _SmallCase:
    load: Load
    fifo: Served
    least_wait_ms: float
    least_asked_wait_ms: float
    fewest_logins: int


def _small_case(seed: int) -> _SmallCase:
    load = _small_load(Random(seed))
    fifo = strict_fifo(load)
    return _SmallCase(
        load,
        fifo,
        least_total_wait_ms(load),
        least_total_wait_ms(load, logs_in_ahead=False),
        fewest_logins(load, fifo.finished_ms),
    )


def against_optimum(cases: int) -> list[AgainstOptimum]:
    """At most 8 accounts and 10 requests, of the same seeds for every policy."""
    known = [_small_case(seed) for seed in range(cases)]
    return [_against(policy, known) for policy in POLICIES]


def _against(policy: str, cases: Sequence[_SmallCase]) -> AgainstOptimum:
    served = [POLICIES[policy](one.load) for one in cases]
    pairs = list(zip(cases, served, strict=True))
    wait_ms = sum(sum(waits_ms(one.load, its)) for one, its in pairs)
    extra = [its.logins - one.fewest_logins for one, its in pairs]
    late_s = [measure(one.load, its, one.fifo, 0).late_s for one, its in pairs]
    return AgainstOptimum(
        policy,
        mean_wait_s=wait_ms / sum(len(one.load.arrivals) for one in cases) / 1000,
        wait_ratio=wait_ms / sum(one.least_wait_ms for one in cases),
        asked_wait_ratio=wait_ms / sum(one.least_asked_wait_ms for one in cases),
        login_ratio=sum(its.logins for its in served) / sum(one.fewest_logins for one in cases),
        most_extra_logins=max(extra),
        optimal_logins=sum(one <= 0 for one in extra) / len(cases),
        late_cases=sum(one > 0 for one in late_s) / len(cases),
        worst_late_s=max(late_s),
    )


def _small_load(random: Random) -> Load:
    accounts, requests = random.randint(2, 8), random.randint(3, 10)
    login_ms = random.choice((500, 2_000))
    span_ms = login_ms * random.choice((1, 4, 10))
    at_ms = sorted(random.randint(0, span_ms) for _ in range(requests))
    return Load([(one, random.randrange(accounts)) for one in at_ms], login_ms, READ_MS)


def report(summaries: Iterable[Summary], optimum: Iterable[AgainstOptimum]) -> str:
    """The tables, as Markdown."""
    by_market = {
        name: list(group)
        for name, group in itertools.groupby(summaries, key=lambda one: one.market)
    }
    lines = ["# Scheduling, in simulated time", ""]
    lines += [
        f"{TRADERS} traders, read {READ_MS} ms. Rates in requests a second; waits in seconds.",
        "",
        "## Highest sustainable rates",
        "",
        "| market | policy | line stays bounded up to |"
        + "".join(f" p99 wait within {limit_s} s up to |" for limit_s in LIMITS_S),
        "|---|---|---:|" + "---:|" * len(LIMITS_S),
    ]
    for name, group in by_market.items():
        lines += [_sustainable_row(name, one) for one in group]
    for name, group in by_market.items():
        lines += ["", f"## {name}", ""]
        lines += ["| rate | policy | p50 | p99 | max | logins a request | late vs FIFO |"]
        lines += ["|---:|---|---:|---:|---:|---:|---:|"]
        for figures in zip(*(one.curve for one in group), strict=True):
            lines += [_row(one.policy, point) for one, point in zip(group, figures, strict=True)]
    return "\n".join([*lines, "", *_optimum_lines(optimum), ""])


def _sustainable_row(market: str, one: Summary) -> str:
    highest = one.curve[-1].rate
    capacity = "every rate" if one.capacity is None else f"{one.capacity:.2f}"
    kept = [
        f"{'≥ ' if rate >= highest else ''}{rate:.2f}" if rate else f"< {one.curve[0].rate:.2f}"
        for rate in one.sustainable.values()
    ]
    return f"| {market} | {one.policy} | {capacity} | {' | '.join(kept)} |"


def _row(policy: str, one: Figures) -> str:
    return (
        f"| {one.rate:.2f} | {policy} | {one.p50_s:.2f} | {one.p99_s:.1f} | {one.max_s:.1f} |"
        f" {one.logins_per_request:.3f} | {one.late_s:.2f} |"
    )


def _optimum_lines(optimum: Iterable[AgainstOptimum]) -> Iterator[str]:
    yield "## Against who knows the future"
    yield ""
    yield "At most 8 accounts and 10 requests. Waits as a multiple of the least possible, with and"
    yield "without logins before anybody has asked; logins as a multiple of the fewest with which"
    yield "nobody is later than under strict FIFO."
    yield ""
    yield (
        "| policy | mean wait | of the least | of the least without logins ahead | logins |"
        " most extra | no extra | cases with somebody late | latest |"
    )
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    for one in optimum:
        yield (
            f"| {one.policy} | {one.mean_wait_s:.2f} s | {one.wait_ratio:.2f} |"
            f" {one.asked_wait_ratio:.2f} | {one.login_ratio:.2f} | {one.most_extra_logins} |"
            f" {one.optimal_logins:.0%} | {one.late_cases:.0%} | {one.worst_late_s:.2f} s |"
        )


_INK = "#7d8590"  # reads on white and on black
_COLOURS = {"mt5relay": "#2f81f7", "strict FIFO": "#db6d28", "longest queue first": "#3fb950"}


def plot(summaries: Sequence[Summary], path: Path) -> bool:
    """p99 wait against request rate, a panel for each market; False without matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        return False
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("svg")
    names = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    settings: Mapping[str, Any] = dict.fromkeys(names, _INK) | {
        "font.size": 8,
        "svg.fonttype": "none",
        "svg.hashsalt": "scheduling",
        "grid.color": _INK,
        "grid.alpha": 0.25,
    }
    with matplotlib.rc_context(settings):
        pyplot: Any = importlib.import_module("matplotlib.pyplot")
        figure, panels = pyplot.subplots(2, 2, figsize=(7.2, 5.0), sharey=True)
        for market, panel in zip(MARKETS, panels.flat, strict=True):
            _draw(panel, market, [one for one in summaries if one.market == market.name])
        handles, labels = panels.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=3, frameon=False)
        figure.tight_layout(rect=(0, 0.05, 1, 1))
        figure.savefig(path, transparent=True, metadata={"Date": None})
        pyplot.close(figure)
    return True


def _draw(panel: Any, market: Market, summaries: Iterable[Summary]) -> None:
    for one in summaries:
        rates = [point.rate for point in one.curve]
        waits = [point.p99_s for point in one.curve]
        panel.plot(rates, waits, color=_COLOURS[one.policy], label=one.policy, marker=".", lw=1.5)
    panel.axhline(market.round_s, color=_INK, lw=0.8, ls=":")
    panel.annotate(
        "one round of all accounts",
        (0.02, market.round_s),
        xycoords=("axes fraction", "data"),
        va="bottom",
        fontsize=6,
    )
    panel.set(
        title=market.name,
        xscale="log",
        yscale="log",
        xlabel="requests a second",
        ylabel="p99 wait, s",
    )
    panel.grid(visible=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scheduling", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke test, within 15 s")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    asked = parser.parse_args()
    began, effort = time.perf_counter(), QUICK if asked.quick else FULL
    summaries, optimum = compare(effort), against_optimum(effort.small_cases)
    asked.results.mkdir(parents=True, exist_ok=True)
    tables = report(summaries, optimum)
    (asked.results / "scheduling.md").write_text(tables, "utf-8")
    figures = {
        "effort": asdict(effort),
        "markets": [asdict(one) for one in summaries],
        "optimum": [asdict(one) for one in optimum],
    }
    (asked.results / "scheduling.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    is_drawn = plot(summaries, asked.results / "scheduling.svg")
    print(tables)
    drawn = "" if is_drawn else "; no plot: matplotlib is not installed"
    print(f"{time.perf_counter() - began:.0f} s, written to {asked.results}{drawn}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
