"""Benchmarks of the path, next to its peers.

    python3 run.py bench [--quick] [--only NAME ...] [--soak N] [--http]

Everything is simulated and on loopback; every process is ended by its id.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench import backlog_cost, http_layer, plot, pure, soak
from bench.environments import pythons
from bench.measuring import FLOOR, FULL, PEERS, QUICK, RELAY, Failure, Plan, Sample, measure
from bench.processes import ROOT, environment
from bench.report import markdown
from bench.results import Results

CONTESTANTS = (FLOOR, RELAY, *PEERS)
SAY_VERSIONS = "import json; from bench.client import versions; print(json.dumps(versions()))"


def main() -> int:
    parsed = _arguments()
    if parsed.http:
        return _http(parsed.out, rounds=1 if parsed.quick else parsed.rounds)
    interpreters = pythons(tuple(parsed.only))
    results = Results(
        taken_at=_now(),
        commit=_commit(),
        machine=f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}.",
        versions={name: _versions(python) for name, python in interpreters.items()},
        rounds=1 if parsed.quick else parsed.rounds,
    )
    if parsed.soak:
        results.soak = soak.soaked(parsed.soak, Path(sys.executable), tell)
    else:
        _compare(results, interpreters, is_quick=parsed.quick)
        if RELAY in interpreters:
            _look_inside(results, is_quick=parsed.quick)
    _write(results, parsed.out, with_plot=not parsed.soak)
    return 1 if results.failures else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.py bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke test of a minute")
    parser.add_argument("--rounds", type=int, default=3, help="of the full run")
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, default=CONTESTANTS)
    parser.add_argument("--soak", type=int, metavar="N", help="N requests, memory all the way")
    parser.add_argument("--http", action="store_true", help="what the HTTP gateway adds")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    return parser.parse_args()


def _http(folder: Path, *, rounds: int) -> int:
    found = list(http_layer.measured(rounds, tell))
    folder.mkdir(parents=True, exist_ok=True)
    text = f"{http_layer.markdown(found)}\nCommit {_commit()}, {_now()}.\n"
    (folder / "http.md").write_text(text, "utf-8")
    figures = json.dumps([asdict(one) for one in found], indent=1)
    (folder / "http.json").write_text(figures + "\n", "utf-8")
    print(text)
    return 0


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _commit() -> str:
    """What was measured, with a plus where files differ from it."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    said = subprocess.run(
        [git, "describe", "--always", "--dirty=+"], cwd=ROOT, capture_output=True, check=False
    )
    return said.stdout.decode().strip() or "unknown"


def _compare(results: Results, interpreters: dict[str, Path], *, is_quick: bool) -> None:
    plan = Plan(interpreters, QUICK if is_quick else FULL, results.rounds, limit=60.0)
    for found in measure(plan, tell):
        if isinstance(found, Sample):
            results.samples.append(found)
        else:
            results.failures.append(found)


def _look_inside(results: Results, *, is_quick: bool) -> None:
    tell("the worker's decisions")
    results.pure = pure.measured(budget=0.02 if is_quick else 0.2)
    waiting, accounts = ((100,), (10,)) if is_quick else (pure.WAITING, pure.ACCOUNTS)
    costs = (*backlog_cost.by_waiting(waiting, tell), *backlog_cost.by_accounts(accounts, tell))
    for found in costs:
        if isinstance(found, Failure):
            results.failures.append(found)
        else:
            results.backlog.append(found)


def _versions(python: Path) -> dict[str, str]:
    said = subprocess.run(
        [python, "-c", SAY_VERSIONS], env=environment(), check=True, capture_output=True
    )
    found: dict[str, str] = json.loads(said.stdout)
    return found


def _write(results: Results, folder: Path, *, with_plot: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = markdown(results)
    (folder / "results.md").write_text(text, "utf-8")
    (folder / "results.json").write_text(json.dumps(asdict(results), indent=1) + "\n", "utf-8")
    if with_plot:
        plot.draw(results, folder / "throughput.svg")
    print(text)
    tell(f"written to {folder}")


def tell(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
