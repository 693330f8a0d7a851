from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from mt5relay_gateway import MT5ValidationError
from mt5relay_gateway.composing import Ask, broker_time_ms, compose


def composed(**changes: Any) -> Ask:
    given: dict[str, Any] = {"operation": "positions", "account": "1@S", "arguments": None}
    given.update(default_timeout=10.0)
    given.update(changes)
    return compose(**given)


def test_seconds_become_milliseconds_on_the_wire() -> None:
    request = composed(timeout=1.5, max_age=0.25, stale_if_error=60).request
    assert (request.timeout_ms, request.max_age_ms, request.stale_if_error_ms) == (
        1500,
        250,
        60_000,
    )


def test_a_tiny_timeout_is_still_one_millisecond() -> None:
    assert composed(timeout=1e-9).request.timeout_ms == 1


def test_an_account_is_spelled_one_way_only() -> None:
    assert composed(account="007@S").request.account == "7@S"


def test_each_request_has_an_id_of_its_own() -> None:
    assert composed().request.id != composed().request.id


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"account": "Bob"}, "account: 'Bob'"),
        ({"operation": "buy"}, "operation: 'buy'"),
        ({"timeout": -1}, "timeout: -1 s"),
        ({"timeout": float("inf")}, "timeout: inf s"),
        ({"max_age": -0.1}, "max_age: -0.1 s"),
        ({"max_age": float("nan")}, "max_age: nan s"),
        ({"stale_if_error": 604_801}, "stale_if_error: 604801 s"),
        ({"request_id": "a/b"}, "request_id: 'a/b'"),
        ({"request_id": ""}, "request_id: ''"),
        ({"arguments": {"symbol": "X"}}, "arguments of positions: "),
        ({"operation": "tick", "arguments": {}}, "arguments of tick: "),
        ({"operation": "tick", "arguments": {"symbol": "\ud800"}}, "arguments of tick: "),
        (
            {"operation": "rates", "arguments": {"symbol": "X", "timeframe": "M7", "count": 1}},
            "arguments of rates: ",
        ),
    ],
)
def test_a_wrong_parameter_is_named(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(MT5ValidationError) as caught:
        composed(**parameters)
    assert str(caught.value).startswith(message)


def test_an_unknown_option_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="time_out"):
        composed(time_out=1)


@pytest.mark.parametrize("tzinfo", [None, UTC])
def test_a_moment_is_the_brokers_clock_dressed_as_utc(tzinfo: Any) -> None:
    assert broker_time_ms("to", datetime(2026, 1, 1, tzinfo=tzinfo)) == 1_767_225_600_000


def test_a_moment_in_another_zone_is_refused_rather_than_guessed() -> None:
    with pytest.raises(MT5ValidationError, match=r"from_: .*wall clock"):
        broker_time_ms("from_", datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2))))
