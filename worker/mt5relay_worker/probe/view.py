"""The report as tables for a person."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from mt5relay_worker.probe.distribution import Distribution
from mt5relay_worker.probe.report import InterpreterLock, Report, Sightings
from mt5relay_worker.terminal.metatrader5 import SUCCESS

PIPE_WIDTH = 160  # columns; a pipe has none, and tables cut to 80 would lose figures
_LOGINS = {
    "same_account": "login, same account",
    "same_server": "login, same server",
    "other_server": "login, other server",
    "nobody": "login from nobody",
}


def console() -> Console:
    """Standard output; a Windows code page that lacks a letter must not end the probe."""
    reconfigure: Callable[..., None] | None = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(markup=False, emoji=False, highlight=False, width=width)


def report_view(report: Report) -> RenderableType:
    return Group(
        Text(_headline(report)),
        _latencies(report),
        Text("Seconds. The histogram has how many were that long at most, e.g. 2:7 for 1 to 2 s."),
        Text(_lock(report.interpreter_lock)),
        Text(_sightings(report.sightings)),
        _failures(report) if report.failures else Text("No call failed."),
    )


def _headline(report: Report) -> str:
    host = report.host
    what = f"{host.binding}, package {host.package}, terminal build {host.terminal_build}"
    state = "complete" if report.complete else "INCOMPLETE"
    return f"{state} after {report.took:.0f} s: {report.ended}. {what}, {host.system}."


def _latencies(report: Report) -> Table:
    table = Table("", *("n", "min", "p50", "p90", "p95", "p99", "max"), "histogram")
    if report.initialize.first is not None:
        table.add_row("initialize, the first", "1", *[""] * 5, _figure(report.initialize.first))
    rows: list[tuple[str, Distribution | None]] = [
        ("initialize, again", report.initialize.again),
        *((_LOGINS[kind], found) for kind, found in report.login.items()),
        ("login refused (-6)", report.refused),
        ("to the account", report.after_login.identity),
        ("to its margin", report.after_login.margin),
        ("to lists at rest", report.after_login.lists),
        ("to the journal's line", report.after_login.journal),
        *report.reads.items(),
    ]
    for name, found in rows:
        if found is not None:
            table.add_row(name, *_cells(found))
    return table


def _cells(found: Distribution) -> list[str]:
    figures = (found.min, found.p50, found.p90, found.p95, found.p99, found.max)
    histogram = " ".join(
        f"{'more' if bucket.up_to is None else format(bucket.up_to, 'g')}:{bucket.count}"
        for bucket in found.histogram
    )
    return [str(found.count), *map(_figure, figures), histogram]


def _figure(seconds: float) -> str:
    return f"{seconds:.4f}" if seconds < 0.1 else f"{seconds:.2f}"


def _lock(lock: InterpreterLock) -> str:
    if lock.longest is None:
        return "Interpreter lock: not measured, no call took 0.2 s."
    return (
        f"Interpreter lock: {lock.verdict} during {lock.calls} calls of 0.2 s and more;"
        f" in the longest, {lock.longest:.2f} s, no other thread ran for {lock.silence:.2f} s."
    )


def _sightings(seen: Sightings) -> str:
    what = {
        "account_info() was None": seen.account_info_none,
        "the old account was shown": seen.old_account_shown,
        "the margin came later": seen.margin_late,
        "the lists came later": seen.lists_late,
        "the account changed again": seen.account_lost,
        "the account never came": seen.no_identity,
        "the margin never came": seen.no_margin,
        "the journal said nothing": seen.no_journal_line,
    }
    told = ", ".join(f"{name} {times}" for name, times in what.items() if times)
    return f"After {seen.logins} logins: {told or 'everything was there at the first look'}."


def _failures(report: Report) -> Table:
    """Grouped: when each happened is in the file."""
    times: Counter[tuple[str, int, str, str, str]] = Counter()
    for one in report.failures:
        times[one.call, one.code, one.text, one.during, one.reason] += one.times
    table = Table("failed call", "code", "text", "during", "the journal's reason", "times")
    for (call, code, text, during, reason), count in times.most_common():
        said = "None, not ready yet" if code == SUCCESS else text
        table.add_row(call, str(code), said, during, reason, str(count))
    return table
