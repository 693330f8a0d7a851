"""The worker tells Redis server time without asking for it each time."""

from __future__ import annotations

from mt5relay_worker.server_clock import ServerClock


def test_a_quick_answer_tells_the_time_to_within_its_round_trip() -> None:
    clock = ServerClock()
    clock.observe(1_000_000, asked_at=10.0, answered_at=10.002)
    assert abs(clock.at_ms(10.001) - 1_000_000) <= 1


def test_a_slow_answer_does_not_undo_what_a_quick_one_taught() -> None:
    clock = ServerClock()
    clock.observe(1_000_000, asked_at=10.0, answered_at=10.002)
    clock.observe(1_001_000, asked_at=11.0, answered_at=13.0)  # the answer was held up
    assert abs(clock.at_ms(11.001) - 1_001_000) <= 1


def test_an_answer_that_proves_the_clock_wrong_sets_it_right() -> None:
    clock = ServerClock()
    clock.observe(1_000_000, asked_at=10.0, answered_at=10.002)
    clock.observe(5_001_000, asked_at=11.0, answered_at=11.002)  # the server's clock was set
    assert abs(clock.at_ms(11.001) - 5_001_000) <= 1
