"""Whatever stands in Redis, a journal or a pipe, who reads it answers or says what is wrong.

A few hundred inputs each, the same in every run; `python -m tests.fuzz.run --minutes 10` makes as
many as there is time for. MT5RELAY_FUZZ_EXAMPLES sets how many are made here.
"""

from __future__ import annotations

import os
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fuzz.regressions import ABSURD, REGRESSIONS, Absurd
from tests.fuzz.run import TARGETS
from tests.fuzz.target import Target

EXAMPLES = int(os.environ.get("MT5RELAY_FUZZ_EXAMPLES", "150"))
BY_NAME = {target.name: target for target in TARGETS}


@pytest.mark.parametrize("name", BY_NAME)
def test_hostile_input_is_read_or_refused(name: str) -> None:
    target = BY_NAME[name]

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(st.randoms(use_true_random=False))
    def holds(random: Random) -> None:
        target.check(target.make(random))

    holds()


@pytest.mark.parametrize(("name", "found"), REGRESSIONS.items())
def test_what_was_found_once_is_not_found_again(name: str, found: list[Any]) -> None:
    for one in found:
        BY_NAME[name].check(one)


@pytest.mark.parametrize("absurd", ABSURD, ids=lambda one: one.name)
def test_what_is_absurdly_large_is_refused_soon_and_in_little_memory(absurd: Absurd) -> None:
    seconds, memory = absurd.measure(BY_NAME[absurd.target])
    assert seconds < 10
    assert memory < 3 * absurd.size + 8_000_000


def test_a_check_that_fails_says_which_input_it_was() -> None:
    def refuse(made: bytes) -> None:
        assert made == b"", "it is not empty"

    target = Target("demanding", lambda random: random.randbytes(4), refuse)
    with pytest.raises(AssertionError) as failed:
        target.play(7)
    assert failed.value.__notes__ == [f"target demanding, seed 7, input {Random(7).randbytes(4)!r}"]


def test_the_same_seed_makes_the_same_input() -> None:
    for target in TARGETS:
        assert target.make(Random(3)) == target.make(Random(3))
