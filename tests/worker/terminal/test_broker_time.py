"""A server's offset from UTC is found from live ticks only, and None is said until it is sure."""

from __future__ import annotations

import pickle
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt5relay_worker.terminal.broker_time import (
    LONGEST_GAP,
    LOOK_AGAIN,
    SHORTEST_GAP,
    SYMBOLS_A_LOOK,
    TRUSTED,
    BrokerTime,
    Sight,
    offset_of,
)

SERVER = "Broker-Demo"
NOW = 1_760_000_000.0
HOUR = 3600


def watch(known: BrokerTime, sights: list[tuple[float, float]], symbol: str = "EURUSD") -> None:
    """Looks, as (UTC, time of the latest tick on the server's clock)."""
    for now, tick in sights:
        known.looked(SERVER, symbol, tick, now)


def live(offset: float, times: int = 3, gap: float = 30.0, age: float = 1.0) -> BrokerTime:
    known = BrokerTime()
    moments = [NOW + gap * number for number in range(times)]
    watch(known, [(now, now + offset - age) for now in moments])
    return known


# What proves an offset


@pytest.mark.parametrize("hours", [-5, 0, 2, 3, 5.5, 5.75, 12, 14])
def test_ticks_that_move_with_the_clock_prove_it(hours: float) -> None:
    assert live(hours * HOUR).offset(SERVER, NOW + 60) == hours * HOUR


def test_two_looks_are_not_enough() -> None:
    assert live(3 * HOUR, times=2).offset(SERVER, NOW) is None


@given(
    quarters=st.integers(-56, 56),
    gaps=st.lists(st.floats(2, 600), min_size=2, max_size=8),
    ages=st.lists(st.floats(0, 15), min_size=9, max_size=9),
)
def test_whatever_live_ticks_say_is_right(
    quarters: int, gaps: list[float], ages: list[float]
) -> None:
    known, now = BrokerTime(), NOW
    for gap, age in zip([0.0, *gaps], ages, strict=False):
        now += gap
        known.looked(SERVER, "EURUSD", now + quarters * 900 - age, now)
    assert known.offset(SERVER, now) in (None, quarters * 900)


@given(
    closed=st.floats(0, 3 * 86_400),
    gaps=st.lists(st.floats(2, 4_000), min_size=2, max_size=30),
)
def test_a_market_that_closed_never_proves_anything(closed: float, gaps: list[float]) -> None:
    """The last tick stands still, however long ago it was: half an hour looks like a time zone."""
    known, now = BrokerTime(), NOW
    last_tick = NOW - closed + 3 * HOUR
    for gap in gaps:
        known.looked(SERVER, "EURUSD", last_tick, now)
        now += gap
    assert known.offset(SERVER, now) is None


@pytest.mark.parametrize("late_by", [1.0, 20.0, 900.0, 1_800.0, 86_400.0])
def test_a_tick_of_last_time_followed_by_the_true_last_one_proves_nothing(late_by: float) -> None:
    """After a login the terminal shows what it had, then what it missed; the market is closed."""
    known = BrokerTime()
    last = NOW - 1_800 + 3 * HOUR
    watch(known, [(NOW, last - late_by), *[(NOW + 5 * n, last) for n in range(1, 20)]])
    assert known.offset(SERVER, NOW) is None


def test_history_that_arrives_step_by_step_proves_nothing() -> None:
    last = NOW - 1_800 + 3 * HOUR
    known = BrokerTime()
    watch(known, [(NOW + 5 * n, last - (5 - n) * HOUR) for n in range(6)])
    assert known.offset(SERVER, NOW) is None


def test_looks_too_far_apart_prove_nothing() -> None:
    assert live(2 * HOUR, times=9, gap=LONGEST_GAP + 1).offset(SERVER, NOW) is None


def test_a_symbol_that_ticks_seldom_is_still_good() -> None:
    known = BrokerTime()
    moments = [NOW + 5 * number for number in range(60)]
    watch(known, [(now, (now + 2 * HOUR) // 40 * 40) for now in moments])
    assert known.offset(SERVER, NOW) == 2 * HOUR


def test_two_symbols_do_not_prove_it_together() -> None:
    known = BrokerTime()
    for number, symbol in enumerate(["EURUSD", "USDJPY", "EURUSD", "USDJPY"]):
        now = NOW + 30 * number
        known.looked(SERVER, symbol, now + HOUR, now)
    assert known.offset(SERVER, NOW) is None


@pytest.mark.parametrize("lead", [3 * HOUR + 200, 3 * HOUR - 300, 15 * HOUR, -30 * HOUR])
def test_a_lead_that_no_time_zone_has_is_not_an_offset(lead: float) -> None:
    assert offset_of(Sight(NOW + lead, NOW)) is None
    assert live(lead, age=0).offset(SERVER, NOW) is None


def test_a_clock_that_jumps_back_starts_it_anew() -> None:
    known = BrokerTime()
    watch(known, [(NOW, NOW), (NOW + 30, NOW + 30), (NOW - 900, NOW - 900)])
    assert known.offset(SERVER, NOW) is None


# How long it is believed


def test_another_proof_replaces_it() -> None:
    """Summer time ends."""
    known = live(3 * HOUR)
    later = NOW + 2 * LOOK_AGAIN
    watch(known, [(later + 30 * n, later + 30 * n + 2 * HOUR) for n in range(3)])
    assert known.offset(SERVER, later + 60) == 2 * HOUR


def test_it_is_believed_for_a_day() -> None:
    known = live(3 * HOUR)
    assert known.offset(SERVER, NOW + TRUSTED) == 3 * HOUR
    assert known.offset(SERVER, NOW + TRUSTED + 61) is None


def test_servers_are_told_apart() -> None:
    assert live(3 * HOUR).offset("Other-Live", NOW) is None


# When, and at what, to look


def test_a_known_offset_is_left_alone_for_an_hour() -> None:
    known = live(3 * HOUR)
    assert not known.wants_a_look(SERVER, NOW + 60 + LOOK_AGAIN - 1)
    assert known.wants_a_look(SERVER, NOW + 60 + LOOK_AGAIN)


def test_looks_have_time_between_them() -> None:
    known = BrokerTime()
    assert known.wants_a_look(SERVER, NOW)
    known.looked(SERVER, "EURUSD", NOW, NOW)
    assert not known.wants_a_look(SERVER, NOW + SHORTEST_GAP / 2)
    assert known.wants_a_look(SERVER, NOW + SHORTEST_GAP)


def test_symbols_that_the_server_does_not_have_are_given_up() -> None:
    known = BrokerTime()
    asked: set[str] = set()
    while symbols := known.symbols(SERVER):
        assert len(symbols) <= SYMBOLS_A_LOOK
        assert not asked & set(symbols)
        asked |= set(symbols)
        for symbol in symbols:
            known.looked(SERVER, symbol, None, NOW)
    known.suggest(SERVER, ["EURUSD", "EURUSD.m"])
    assert known.symbols(SERVER) == ["EURUSD.m"]


def test_a_symbol_is_kept_to_until_it_proved_something_whatever_is_suggested() -> None:
    known = BrokerTime()
    known.looked(SERVER, "EURUSD", NOW, NOW)
    known.suggest(SERVER, [f"SYMBOL{number}" for number in range(3)])
    assert known.symbols(SERVER) == ["EURUSD"]


def test_symbols_that_stand_still_make_room_for_others() -> None:
    known, first = BrokerTime(), set(BrokerTime().symbols(SERVER))
    for now in (NOW, NOW + LONGEST_GAP + 1):
        for symbol in first:
            known.looked(SERVER, symbol, NOW, now)
    assert not first & set(known.symbols(SERVER))


def test_what_is_suggested_cannot_fill_the_memory() -> None:
    known, sizes = BrokerTime(), list[int]()
    for number in range(3_000):
        known.suggest(SERVER, [f"S{number:04}"])
        known.looked(SERVER, f"S{number:04}", None if number % 3 else NOW, NOW + number)
        sizes.append(len(pickle.dumps(known)))
    assert max(sizes[1_000:]) <= max(sizes[:1_000])


def test_gaps_between_looks_are_shorter_than_what_tells_two_offsets_apart() -> None:
    offsets = sorted({offset_of(Sight(NOW + lead, NOW)) or 0 for lead in range(0, 7_200, 10)})
    assert {later - earlier for earlier, later in pairwise(offsets)} == {900}
