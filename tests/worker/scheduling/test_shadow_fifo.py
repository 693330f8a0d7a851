"""Strict FIFO running beside the real schedule, as the judge of its promise."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.worker.scheduling.conftest import known_costs

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.operations import Operation
from mt5relay_worker.shadow_fifo import ShadowFifo

A, B = AccountId(1, "Demo"), AccountId(2, "Demo")
SWITCH_MS, READ_MS = 1_000, 20


def shadow(*arrivals: tuple[AccountId, float]) -> ShadowFifo:
    """A line of requests, with entries "1", "2", … in order of arrival."""
    line = ShadowFifo(known_costs([A, B], switch_ms=SWITCH_MS, read_ms=READ_MS))
    for order, (account, at_ms) in enumerate(arrivals, 1):
        line.arrive(str(order), account, Operation.POSITIONS, at_ms)
    return line


def serve(line: ShadowFifo, finished: Sequence[tuple[int, float]]) -> None:
    for order, now_ms in finished:
        line.serve(str(order), now_ms, SWITCH_MS, READ_MS)


def test_a_newcomer_is_told_when_strict_fifo_would_be_done_with_it() -> None:
    line = shadow()
    expected = [
        line.arrive(entry, account, Operation.TICK, at_ms)
        for entry, account, at_ms in [("1", A, 100), ("2", A, 100), ("3", B, 200), ("4", A, 9_000)]
    ]
    assert expected == [1_120, 1_140, 2_160, 10_020]


def test_who_is_served_in_order_is_not_late() -> None:
    line = shadow((A, 0), (B, 0), (A, 0))
    serve(line, [(1, 1_020), (2, 2_040), (3, 3_060)])
    assert line.late_ms == 0


def test_who_is_served_sooner_makes_nobody_late() -> None:
    line = shadow((A, 0), (B, 0), (A, 0))
    serve(line, [(1, 1_020), (3, 1_020), (2, 2_040)])
    assert line.late_ms == 0


def test_who_is_overtaken_at_a_cost_is_late_by_that_cost() -> None:
    line = shadow((A, 0), (B, 0))
    serve(line, [(2, 1_020), (1, 2_040)])
    assert line.late_ms == 1_020


def test_what_was_measured_counts_not_what_was_expected() -> None:
    line = shadow((A, 0))
    line.serve("1", 5_000, 4_900, 100)  # a slow login is slow under strict FIFO, too
    assert line.late_ms == 0


def test_logins_are_those_that_strict_fifo_would_have_made() -> None:
    line = shadow((A, 0), (B, 0), (A, 0), (A, 0))
    serve(line, [(1, 1), (3, 1), (4, 1), (2, 2)])
    assert line.logins == 3


def test_only_what_is_settled_counts() -> None:
    line = shadow((A, 0), (B, 0))
    serve(line, [(2, 1_020)])
    assert (line.logins, line.late_ms, len(line)) == (0, 0, 2)
    serve(line, [(1, 2_040)])
    assert (line.logins, len(line)) == (2, 0)


def test_a_newcomer_to_an_empty_line_is_told_by_what_was_measured() -> None:
    line = shadow((A, 0), (B, 0), (A, 0))
    for entry in ("1", "3", "2"):  # each login took twice what was expected
        line.serve(entry, 4_040, 2 * SWITCH_MS, READ_MS)
    assert line.arrive("4", A, Operation.TICK, 4_040) == 3 * (2 * SWITCH_MS + READ_MS) + READ_MS


def test_who_left_took_strict_fifo_nowhere() -> None:
    line = shadow((A, 0), (B, 0))
    serve(line, [(1, 1_020)])
    line.leave("2", 1_000)
    told = line.arrive("3", B, Operation.TICK, 9_000)
    assert told == 9_000 + SWITCH_MS + READ_MS


def test_who_left_before_their_turn_costs_strict_fifo_nothing() -> None:
    line = shadow((A, 0), (B, 0))
    line.leave("2", 500)
    serve(line, [(1, 1_020)])
    assert (line.logins, line.late_ms, len(line)) == (1, 0, 0)


def test_to_who_left_in_the_middle_of_their_turn_strict_fifo_had_gone() -> None:
    line = shadow((A, 0), (B, 0))
    line.leave("1", 500)
    serve(line, [(2, 2_040)])
    assert (line.logins, line.late_ms, len(line)) == (2, 0, 0)


def test_who_was_refused_costs_strict_fifo_nothing() -> None:
    line = shadow((A, 0), (B, 0))
    line.refuse("1")
    serve(line, [(2, 1_020)])
    assert (line.logins, line.late_ms, len(line)) == (1, 0, 0)


def test_while_the_terminal_is_down_strict_fifo_waits_as_well() -> None:
    line = shadow((A, 0))
    line.stall(60_000)
    serve(line, [(1, 61_020)])
    assert line.late_ms == 0


@pytest.mark.parametrize("unknown", ["9", ""])
def test_a_request_it_never_saw_changes_nothing(unknown: str) -> None:
    line = shadow((A, 0))
    line.serve(unknown, 1, 1, 1)
    line.leave(unknown, 1)
    assert (len(line), line.late_ms) == (1, 0)


def test_one_bad_moment_is_forgotten_after_a_thousand_good_ones() -> None:
    line = shadow((A, 0))
    serve(line, [(1, 99_000)])
    assert line.late_ms > 0
    for order in range(2, 1_026):
        line.arrive(str(order), A, Operation.TICK, 200_000 + order * 100)
        serve(line, [(order, 200_000 + order * 100 + READ_MS)])
    assert line.late_ms == 0
