"""Whatever fails, in whatever order, the promises hold; and a failure can be played again.

A few seeds only: `python3 run.py simulate` plays many, without the cost of coverage.
"""

from __future__ import annotations

import os

import pytest
from tests.simulation.run import MANY, MUST_OCCUR, explain, missing_from, play_all

pytestmark = pytest.mark.integration

SEEDS = int(os.environ.get("MT5RELAY_SIMULATION_SEEDS") or 40)


def test_no_seed_breaks_a_promise() -> None:
    seen: set[str] = set()
    failed: list[str] = []
    for result in play_all(range(SEEDS)):
        seen.update(result.outcomes, result.faults)
        if result.violations:
            failed.append(explain(result))
    if failed:
        pytest.fail("\n".join(failed[:20]))
    assert not missing_from(SEEDS, seen)


def test_a_seed_plays_the_same_each_time() -> None:
    seeds = range(7, 15)
    first, second = ([one.digest for one in play_all(seeds, 1)] for _ in range(2))
    assert first == second


def test_many_seeds_without_a_kind_of_fault_show_nothing() -> None:
    assert missing_from(MANY, MUST_OCCUR - {"outage"}) == {"outage"}
    assert not missing_from(MANY - 1, set())
