"""HTTP's own words for how old an answer may be and how long one waits."""

from __future__ import annotations

import pytest

from mt5relay_gateway.http.freshness import (
    Freshness,
    Patience,
    entity_tag,
    is_known,
    requested_freshness,
    requested_patience,
)


@pytest.mark.parametrize(
    ("header", "meant"),
    [
        (None, Freshness()),
        ("", Freshness()),
        ("max-age=5", Freshness(5)),
        ("Max-Age = 5 , STALE-IF-ERROR=60", Freshness(5, 60)),
        ('max-age="5"', Freshness(5)),
        ("max-age=5, no-cache", Freshness(0)),
        ("no-store, max-age=5, stale-if-error=9", Freshness(0, 9)),
        ("max-age=5, max-age=7", Freshness(5)),
        ("max-age=-5", Freshness(0)),
        ("max-age=5.5", Freshness(0)),
        ("max-age=\u0665", Freshness(0)),
        ("max-age=999999999999", Freshness(604_800)),
        ("only-if-cached, x=1, =", Freshness()),
    ],
)
def test_cache_control_is_read_as_rfc_9111_has_it(header: str | None, meant: Freshness) -> None:
    assert requested_freshness(header) == meant


@pytest.mark.parametrize(
    ("header", "meant"),
    [
        (None, Patience()),
        ("wait=10", Patience(10)),
        ("respond-async, wait=10", Patience(10, respond_async=True)),
        ("respond-async; foo=bar", Patience(None, respond_async=True)),
        ("wait=x", Patience()),
        ("wait", Patience()),
        ("wait=99999", Patience(3600)),
        ("return=minimal", Patience()),
    ],
)
def test_prefer_is_read_as_rfc_7240_has_it(header: str | None, meant: Patience) -> None:
    assert requested_patience(header) == meant


def test_a_tag_stands_for_what_is_said() -> None:
    tag = entity_tag(b"data", False)
    assert tag == entity_tag(b"data", False)
    assert len({tag, entity_tag(b"data", True), entity_tag(b"other", False)}) == 3
    assert is_known(tag, tag)
    assert is_known(tag, f'"x", {tag}')
    assert is_known(tag, tag.removeprefix("W/"))
    assert is_known(tag, "*")
    assert not is_known(tag, None)
    assert not is_known(tag, '"x"')
