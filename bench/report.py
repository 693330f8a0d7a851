"""The Markdown that a run leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from bench.measuring import FLOOR, RELAY, Cell, Sample
from bench.results import Results, p50_ms, p99_ms, per_second, total_cpu_us, verdicts

NAMES = {RELAY: "**mt5relay**", FLOOR: "floor (bare redis-py echo)"}


def markdown(results: Results) -> str:
    parts = [
        "# Benchmark",
        f"{results.taken_at}, commit {results.commit}. {results.machine} Medians of"
        f" {results.rounds} rounds in which all contestants took turns. The load column says what"
        " else the machine did; CPU a request is what such load disturbs least.",
        "## Targets",
        _targets(results),
        "## Answers a second",
        _by_cell(results, per_second, "{:,.0f}".format),
        "## Latency: p50 / p99, ms",
        _latency(results),
        "## CPU of all processes, µs a request",
        _by_cell(results, total_cpu_us, "{:,.0f}".format),
        "## CPU by process, µs a request",
        _by_role(results, lambda one: one.cpu_us, "{:,.0f}".format),
        "## Resident memory at its peak, MiB",
        _by_role(results, lambda one: one.peak_mib, "{:,.0f}".format),
        "## Redis, a request",
        _redis(results),
        "## What a step of the worker's decisions costs, µs",
        _pure(results),
        "## CPU a request with many waiting, µs",
        _backlog(results),
        *(["## Soak", _soak(results)] if results.soak else []),
        "## Versions",
        _versions(results),
        *(["## Not measured", _failures(results)] if results.failures else []),
    ]
    return "\n\n".join(parts) + "\n"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def label(cell: Cell) -> str:
    what = "one account" if cell.scenario == "ticks" else "a switch each"
    gateways = "" if cell.gateways == 1 else f", {cell.gateways} gateways"
    return f"{what}, {cell.in_flight} in flight{gateways}"


def _named(name: str) -> str:
    return NAMES.get(name, name)


def _targets(results: Results) -> str:
    met = {True: "yes", False: "**no**", None: "-"}
    rows = [[one.target, one.found, met[one.met]] for one in verdicts(results)]
    return _table(["target", "found", "met"], rows)


def _by_cell(
    results: Results, figure: Callable[[Sample], float], show: Callable[[float], str]
) -> str:
    cells = results.cells()
    rows: list[list[str]] = []
    for name in results.contestants():
        medians = [results.median(name, cell, figure) for cell in cells]
        rows.append([_named(name), *("-" if one is None else show(one) for one in medians)])
    return _table(["", *map(label, cells)], rows)


def _latency(results: Results) -> str:
    cells = results.cells()
    rows: list[list[str]] = []
    for name in results.contestants():
        row = [_named(name)]
        for cell in cells:
            middle, high = results.median(name, cell, p50_ms), results.median(name, cell, p99_ms)
            missing = middle is None or high is None
            row.append("-" if missing else f"{middle:,.1f} / {high:,.1f}")
        rows.append(row)
    return _table(["", *map(label, cells)], rows)


def _by_role(
    results: Results, figures: Callable[[Sample], dict[str, float]], show: Callable[[float], str]
) -> str:
    roles = ["worker", "terminal", "gateway 1", "gateway 2", "redis"]
    rows: list[list[str]] = []
    for name in results.contestants():
        for cell in results.cells():
            row = [f"{_named(name)}, {label(cell)}"]
            for role in roles:
                median = results.median(name, cell, lambda one: figures(one).get(role, -1.0))  # noqa: B023 - called here
                row.append("-" if median is None or median < 0 else show(median))
            if row[1:] != ["-"] * len(roles):
                rows.append(row)
    return _table(["", *roles], rows)


def _redis(results: Results) -> str:
    rows: list[list[str]] = []
    figures: list[Callable[[Sample], float]] = [
        lambda one: one.commands,
        lambda one: one.bytes_in,
        lambda one: one.bytes_out,
        lambda one: one.load,
    ]
    for name in results.contestants():
        for cell in results.cells():
            medians = [results.median(name, cell, figure) for figure in figures]
            if medians[0] is not None:
                shown = ["-" if one is None else f"{one:,.1f}" for one in medians]
                rows.append([f"{_named(name)}, {label(cell)}", *shown])
    return _table(["", "commands, scripts' own included", "bytes in", "bytes out", "load"], rows)


def _pure(results: Results) -> str:
    ordered = sorted(results.pure, key=lambda one: (one.of, one.step.split(",")[0], one.size))
    rows = [[one.step, f"{one.size:,} {one.of}", f"{one.microseconds:,.2f}"] for one in ordered]
    return _table(["step", "waiting", "µs"], rows)


def _backlog(results: Results) -> str:
    rows = [
        [f"{one.size:,} {one.of}", f"{one.worker_us:,.0f}", f"{one.terminal_us:,.0f}",
         f"{one.answered:,}"]
        for one in results.backlog
    ]  # fmt: skip
    return _table(["waiting", "worker", "terminal", "answered"], rows)


def _soak(results: Results) -> str:
    roles = list(results.soak[0].mib)
    rows = [
        [f"{one.requests:,}", f"{one.per_second:,.0f}", *(f"{one.mib[role]:.1f}" for role in roles)]
        for one in results.soak
    ]
    return _table(["requests", "a second", *(f"{role}, MiB" for role in roles)], rows)


def _versions(results: Results) -> str:
    rows = [
        [_named(name), ", ".join(f"{what} {which}" for what, which in versions.items())]
        for name, versions in results.versions.items()
    ]
    return _table(["", "versions"], rows)


def _failures(results: Results) -> str:
    rows = [[one.contestant, str(one.round + 1), one.reason.splitlines()[-1][:200]]
            for one in results.failures if one.reason]  # fmt: skip
    return _table(["contestant", "round", "reason"], rows)
