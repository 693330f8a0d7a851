from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

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
            "timeframe: 'M7' is not known; known: M1, M2",
        ),
        (
            {"operation": "rates", "arguments": {"symbol": "X", "timeframe": "m1", "count": 1}},
            "timeframe: 'm1' is not known; did you mean M1?",
        ),
        ({"timeout": "5"}, "timeout: '5' is a str; give seconds as a number"),
        ({"timeout": True}, "timeout: True is a bool"),
        ({"max_age": None}, "max_age: None is a NoneType"),
        ({"account": 7}, "account: 7 is a int; give LOGIN@SERVER"),
        ({"arguments": [1]}, "arguments: [1] is a list"),
        ({"operation": 5}, "operation: 5 is a int"),
        ({"traceparent": 5}, "traceparent: 5 is a int"),
    ],
)
def test_a_wrong_parameter_is_named(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(MT5ValidationError) as caught:
        composed(**parameters)
    assert str(caught.value).startswith(message)


def test_an_unknown_option_is_told_with_the_one_that_was_meant() -> None:
    with pytest.raises(MT5ValidationError, match=r"time_out: no such option; did you mean timeout"):
        composed(time_out=1)
    with pytest.raises(MT5ValidationError, match=r"patience: no such option; known: max_age, "):
        composed(patience=1)


@pytest.mark.parametrize("tzinfo", [None, UTC])
def test_a_moment_is_the_brokers_clock_dressed_as_utc(tzinfo: Any) -> None:
    assert broker_time_ms("to", datetime(2026, 1, 1, tzinfo=tzinfo)) == 1_767_225_600_000


def test_a_moment_in_another_zone_is_refused_rather_than_guessed() -> None:
    with pytest.raises(MT5ValidationError, match=r"from_: .*wall clock"):
        broker_time_ms("from_", datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2))))


@pytest.mark.parametrize("month", [1, 7])
def test_a_zone_that_is_utc_in_winter_alone_is_refused_all_year(month: int) -> None:
    with pytest.raises(MT5ValidationError, match="time zone"):
        broker_time_ms("to", datetime(2026, month, 1, tzinfo=ZoneInfo("Europe/London")))


@pytest.mark.parametrize("zone", ["UTC", "Etc/UTC", "Africa/Abidjan"])
def test_a_zone_that_is_utc_all_year_is_utc(zone: str) -> None:
    moment = datetime(2026, 1, 1, tzinfo=ZoneInfo(zone))
    assert broker_time_ms("to", moment) == 1_767_225_600_000


@pytest.mark.parametrize("moment", [date(2026, 11, 1), "2026-11-01", 1_767_225_600, None])
def test_what_is_no_datetime_is_refused_by_name(moment: Any) -> None:
    with pytest.raises(MT5ValidationError, match=r"^to: .* give a datetime"):
        broker_time_ms("to", moment)
