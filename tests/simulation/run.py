"""`python -m tests.simulation.run --seeds N`: plays seeds on every core; says how to replay."""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

import stamina.instrumentation
import structlog
from tests.simulation.play import Result, play
from tests.simulation.scenario import TROUBLES

MUST_OCCUR = frozenset({"ok terminal", "ok snapshot", "ok stale", "CIRCUIT_OPEN", *TROUBLES})
"""Answers and faults that so many seeds together must have seen, or they show nothing."""
MANY = 100  # seeds
REPLAY = "python -m tests.simulation.run --seed {seed}"


def prepare_process() -> None:
    """A process of the pool: its logs are nobody's, and retries are not counted."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    stamina.instrumentation.set_on_retry_hooks([])


def play_briefly(seed: int) -> Result:
    """Without the trace, which is long."""
    result = play(seed)
    result.trace.clear()
    return result


def play_all(seeds: Sequence[int], processes: int | None = None) -> Iterator[Result]:
    """Play seeds in processes of their own, as many as there are cores."""
    with ProcessPoolExecutor(
        processes or os.cpu_count(),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=prepare_process,
    ) as pool:
        yield from pool.map(play_briefly, seeds, chunksize=5)


def explain(result: Result) -> str:
    """Why a seed failed, and the command that plays it again."""
    lines = [f"seed {result.seed} ({result.digest}): {REPLAY.format(seed=result.seed)}"]
    return "\n  ".join([*lines, *result.violations[:5]])


def missing_from(seeds: int, seen: Iterable[str]) -> set[str]:
    """What never occurred although it should have; nothing where the seeds are few."""
    return set(MUST_OCCUR.difference(seen)) if seeds >= MANY else set()


def main() -> int:
    arguments = _parser().parse_args()
    if arguments.seed is not None:
        return _replay(arguments.seed)
    began, failed = time.perf_counter(), 0
    outcomes: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    seeds = range(arguments.start, arguments.start + arguments.seeds)
    for result in play_all(seeds, arguments.processes):
        outcomes.update(result.outcomes)
        faults.update(result.faults)
        if result.violations:
            failed += 1
            print(explain(result), flush=True)
    print(f"{arguments.seeds} seeds in {time.perf_counter() - began:.0f} s, {failed} failed")
    print("answers:", dict(outcomes.most_common()))
    print("faults: ", dict(faults.most_common()))
    if missing := missing_from(len(seeds), (*outcomes, *faults)):
        print(f"this shows nothing: never occurred {sorted(missing)}")
    return 1 if failed or missing else 0


def _replay(seed: int) -> int:
    prepare_process()
    result = play(seed)
    print("\n".join(result.trace))
    print(explain(result))
    return 1 if result.violations else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.run", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many to play")
    parser.add_argument("--from", dest="start", type=int, default=0, help="the first of them")
    parser.add_argument("--processes", type=int, help="how many at once; default: as many as cores")
    parser.add_argument("--seed", type=int, help="play this one alone and print its trace")
    return parser


if __name__ == "__main__":
    sys.exit(main())
