"""Which credentials are taken for old ones that somebody put back."""

from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st

from mt5relay_shared.envelopes import Envelope
from mt5relay_worker.terminal.replays import SKEW_MS, Mark, opened, removed, why_refused

NOON = 1_700_000_000_000
LATER = NOON + SKEW_MS + 1


def envelope(text: str, at_ms: int, *, version: int = 2) -> Envelope:
    return Envelope(version, "key", at_ms, base64.b64encode(text.encode()).decode())


def refusal(mark: Mark | None, found: Envelope) -> str | None:
    return why_refused(mark, found, accepts_v1=True)


def seen(*envelopes: Envelope, now_ms: int = LATER) -> Mark:
    mark: Mark | None = None
    for one in envelopes:
        mark = opened(mark, one, now_ms)
    assert mark is not None
    return mark


def test_what_is_seen_for_the_first_time_is_used() -> None:
    assert refusal(None, envelope("a", 0)) is None


def test_what_was_opened_last_may_be_opened_again() -> None:
    assert refusal(seen(envelope("a", NOON)), envelope("a", NOON)) is None


def test_what_was_sealed_earlier_is_refused_though_it_was_never_seen() -> None:
    assert "older" in (refusal(seen(envelope("new", LATER)), envelope("old", NOON)) or "")


def test_clocks_of_two_servers_may_differ_a_little() -> None:
    assert refusal(seen(envelope("new", NOON + SKEW_MS)), envelope("other", NOON)) is None


def test_what_was_replaced_is_refused_whatever_time_it_claims() -> None:
    mark = seen(envelope("first", NOON, version=1), envelope("second", NOON + 1, version=1))
    assert "replaced" in (refusal(mark, envelope("first", LATER, version=1)) or "")
    assert refusal(mark, envelope("second", NOON + 1, version=1)) is None


def test_what_was_removed_is_refused_and_what_is_enrolled_anew_is_used() -> None:
    mark = removed(seen(envelope("a", NOON)))
    assert "removed" in (refusal(mark, envelope("a", NOON)) or "")
    assert refusal(mark, envelope("b", NOON + 1)) is None
    assert removed(mark) == mark


def test_version_1_may_be_refused_altogether() -> None:
    old = envelope("a", NOON, version=1)
    assert "MT5_OLD_ENVELOPES" in (why_refused(None, old, accepts_v1=False) or "")
    assert why_refused(None, envelope("a", NOON), accepts_v1=False) is None


def test_a_time_in_the_future_does_not_make_every_later_enrolment_old() -> None:
    a_year_ahead = envelope("a", NOON + 365 * 86_400_000)
    assert refusal(seen(a_year_ahead, now_ms=NOON), envelope("b", LATER)) is None


@given(st.lists(st.integers(0, 2 * SKEW_MS), min_size=2, max_size=40))
def test_nothing_that_was_in_use_lately_comes_back_once_it_was_replaced(ages: list[int]) -> None:
    """However the times run: the last fifteen that another took the place of are refused."""
    envelopes = [envelope(f"{index}", NOON + age) for index, age in enumerate(ages)]
    mark = seen(*envelopes)
    assert all(refusal(mark, one) is not None for one in envelopes[-16:-1])
    assert refusal(mark, envelopes[-1]) is None


@given(st.lists(st.integers(0, 10 * SKEW_MS), min_size=1))
def test_the_newest_time_is_never_forgotten(ages: list[int]) -> None:
    envelopes = [envelope(f"{index}", NOON + age) for index, age in enumerate(ages)]
    mark = seen(*envelopes, now_ms=NOON + 20 * SKEW_MS)
    assert mark.sealed_at_ms == NOON + max(ages)
