"""Whatever fails, in whatever order, the promises hold; and a failure can be played again."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from tests.simulation.run import explain, play_all
from tests.simulation.scenario import TROUBLES

SEEDS = int(os.environ.get("MT5RELAY_SIMULATION_SEEDS") or 200)


def test_no_seed_breaks_a_promise() -> None:
    outcomes: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    failed: list[str] = []
    for result in play_all(range(SEEDS)):
        outcomes.update(result.outcomes)
        faults.update(result.faults)
        if result.violations:
            failed.append(explain(result))
    if failed:
        pytest.fail("\n".join(failed[:20]))
    if SEEDS >= 100:  # or the run would show nothing
        assert {"ok terminal", "ok snapshot", "ok stale", "CIRCUIT_OPEN"} <= set(outcomes)
        assert set(TROUBLES) <= set(faults)


def test_a_seed_plays_the_same_each_time() -> None:
    seeds = range(7, 27)
    first, second = ([one.digest for one in play_all(seeds, 1)] for _ in range(2))
    assert first == second
