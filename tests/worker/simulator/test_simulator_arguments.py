"""What the package was measured to answer without a terminal, and to wrong arguments."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from mt5relay_worker.simulator import SimulatedMetaTrader5, generate_book

NO_CONNECTION = (-10004, "No IPC connection")


@pytest.fixture
def mt5() -> SimulatedMetaTrader5:
    return SimulatedMetaTrader5(generate_book(2), speed=0)


def call(mt5: SimulatedMetaTrader5, name: str, *args: Any, **kwargs: Any) -> Any:
    return getattr(mt5, name)(*args, **kwargs)


def test_before_any_call_there_is_no_error(mt5: SimulatedMetaTrader5) -> None:
    assert mt5.last_error() == (0, "")


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("account_info", ()),
        ("terminal_info", ()),
        ("positions_get", ()),
        ("positions_total", ()),
        ("orders_get", ()),
        ("orders_total", ()),
        ("history_deals_get", (0, 1)),
        ("history_deals_total", (0, 1)),
        ("history_orders_get", (0, 1)),
        ("history_orders_total", (0, 1)),
        ("symbol_info", ("EURUSD",)),
        ("symbol_info_tick", ("EURUSD",)),
        ("copy_rates_from_pos", ("EURUSD", 1, 0, 1)),
        ("copy_rates_from", ("EURUSD", 1, 0, 1)),
        ("copy_rates_range", ("EURUSD", 1, 0, 1)),
        ("copy_ticks_from", ("EURUSD", 0, 1, -1)),
        ("copy_ticks_range", ("EURUSD", 0, 1, -1)),
        ("order_calc_margin", (0, "EURUSD", 0.1, 1.1)),
        ("order_calc_profit", (0, "EURUSD", 0.1, 1.1, 1.2)),
        ("market_book_get", ("EURUSD",)),
    ],
)
def test_reads_without_a_link_are_none(
    mt5: SimulatedMetaTrader5, name: str, args: tuple[Any, ...]
) -> None:
    assert call(mt5, name, *args) is None
    assert mt5.last_error() == NO_CONNECTION
    assert mt5.initialize()
    assert mt5.shutdown()
    assert call(mt5, name, *args) is None
    assert mt5.last_error() == NO_CONNECTION


def test_the_answers_without_a_link_that_differ(mt5: SimulatedMetaTrader5) -> None:
    assert mt5.version() == (0, 0, "")
    assert mt5.last_error() == NO_CONNECTION
    assert mt5.login(123, password="x", server="y") is False
    assert mt5.last_error() == NO_CONNECTION
    assert mt5.symbol_select("EURUSD", True) is False
    assert mt5.last_error() == NO_CONNECTION
    assert mt5.symbols_total() is None
    assert mt5.last_error()[0] == -5
    assert mt5.symbols_get() is None
    assert mt5.last_error()[0] == -5


def test_the_build_of_a_terminal_is_remembered_once_it_was_attached(
    mt5: SimulatedMetaTrader5,
) -> None:
    mt5.shutdown()
    assert (mt5.symbols_total(), mt5.last_error()[0]) == (None, -5)
    mt5.initialize()
    mt5.shutdown()
    for call in (mt5.symbols_total, mt5.symbols_get):
        assert (call(), mt5.last_error()) == (None, NO_CONNECTION)
    assert mt5.market_book_add("EURUSD") is False
    assert mt5.last_error() == (1, "Success")
    assert mt5.shutdown() is True
    assert mt5.last_error() == (1, "Success")


@pytest.mark.parametrize(
    ("name", "value"),
    [("login", "1"), ("password", None), ("server", None), ("path", None), ("timeout", 1.5)],
)
def test_initialize_names_the_argument_it_refuses(
    mt5: SimulatedMetaTrader5, name: str, value: object
) -> None:
    assert mt5.initialize(**{name: value}) is False
    assert mt5.last_error() == (-2, f'Invalid "{name}" argument')


def test_login_needs_a_number(mt5: SimulatedMetaTrader5) -> None:
    assert mt5.login() is False
    assert mt5.last_error() == (-2, 'Invalid "login" argument')
    assert mt5.login("123") is False
    assert mt5.last_error() == (-2, "Invalid 1st unnamed argument")


@pytest.mark.parametrize("arguments", [{"login": -1}, {"timeout": -1}])
def test_a_negative_unsigned_number_raises(
    mt5: SimulatedMetaTrader5, arguments: dict[str, int]
) -> None:
    with pytest.raises(SystemError):
        mt5.initialize(**arguments)
    assert mt5.last_error()[0] == -2
    with pytest.raises(SystemError):
        mt5.login(1, timeout=-1)


def test_unknown_keywords_are_ignored(mt5: SimulatedMetaTrader5) -> None:
    assert mt5.initialize(unknown=1)
    assert mt5.positions_get(unknown=1) == ()


def test_filters_of_positions_have_names(mt5: SimulatedMetaTrader5) -> None:
    assert mt5.positions_get("EURUSD") is None
    assert mt5.last_error()[0] == -2
    assert mt5.history_deals_get() is None
    assert mt5.last_error()[0] == -2


def logged_in(mt5: SimulatedMetaTrader5) -> SimulatedMetaTrader5:
    account = generate_book(2).accounts[0]
    assert mt5.initialize()
    assert mt5.login(account.login, password=account.password, server=account.server)
    return mt5


@pytest.mark.parametrize("until", [2**31, -(2**31) - 1, 2**63])
def test_a_whole_number_beyond_32_bits_raises_although_the_call_was_made(
    mt5: SimulatedMetaTrader5, until: int
) -> None:
    logged_in(mt5)
    with pytest.raises(SystemError):
        mt5.history_deals_get(0, until)
    assert mt5.last_error() == (1, "Success")


@pytest.mark.parametrize("until", [datetime(2040, 1, 1, tzinfo=UTC), float(2**31), float("inf")])
def test_other_dates_beyond_32_bits_are_sent_as_less_than_0(
    mt5: SimulatedMetaTrader5, until: object
) -> None:
    assert logged_in(mt5).history_deals_get(0, 2**31 - 1)
    assert mt5.history_deals_get(0, until) == ()


def test_a_date_is_cut_to_whole_seconds(mt5: SimulatedMetaTrader5) -> None:
    found = logged_in(mt5).history_deals_get(1, 2**31 - 1)
    assert found
    deal = found[-1]
    both = (deal.time + 0.9, deal.time + 0.1)
    assert deal in (mt5.history_deals_get(*both) or ())
    as_datetimes = [datetime.fromtimestamp(at, UTC) for at in both]
    assert mt5.history_deals_get(*as_datetimes) == mt5.history_deals_get(*both)
    ticks = mt5.copy_ticks_range("EURUSD", *both, mt5.COPY_TICKS_ALL)
    whole = mt5.copy_ticks_range("EURUSD", deal.time, deal.time, mt5.COPY_TICKS_ALL)
    assert list(ticks or ()) == list(whole or ()) != []


@pytest.mark.parametrize("early_or_late", [datetime(1970, 1, 1), datetime(3002, 1, 1)])  # noqa: DTZ001
def test_a_date_without_a_zone_that_windows_cannot_convert_raises(
    mt5: SimulatedMetaTrader5, early_or_late: datetime
) -> None:
    with pytest.raises(SystemError):
        logged_in(mt5).history_deals_get(0, early_or_late)
    assert mt5.last_error() == (-2, "Invalid arguments")


def test_a_date_without_a_zone_is_local_time() -> None:
    program = """
from datetime import UTC, datetime
from mt5relay_worker.simulator import SimulatedMetaTrader5, generate_book
mt5 = SimulatedMetaTrader5(generate_book(1), speed=0)
mt5.initialize()
bars = [mt5.copy_rates_from("EURUSD", mt5.TIMEFRAME_H1, when, 1)[0]["time"]
        for when in (datetime(2025, 6, 2, 12), datetime(2025, 6, 2, 12, tzinfo=UTC))]
print(bars[1] - bars[0])
"""
    seen = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TZ": "JST-9"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert seen.stdout.strip() == str(9 * 3600)


def test_copy_functions_raise_for_a_wrong_type(mt5: SimulatedMetaTrader5) -> None:
    with pytest.raises(SystemError):
        mt5.copy_rates_from_pos("EURUSD", "M1", 0, 10)


@pytest.mark.parametrize(
    "wrong",
    [
        {"volume": 1},
        {"sl": 0},
        {"magic": 1.0},
        {"comment": None},
        {"comment": "c" * 30},
        {"symbol": 1},
    ],
)
def test_fields_of_a_request_are_not_converted(
    mt5: SimulatedMetaTrader5, wrong: dict[str, object]
) -> None:
    assert mt5.order_send(wrong) is None
    assert mt5.last_error() == (-2, f'Invalid "{next(iter(wrong))}" argument')


@pytest.mark.parametrize("wrong", [{"magic": -1}, {"magic": 2**64}, {"action": -1}])
def test_numbers_of_a_request_must_fit(mt5: SimulatedMetaTrader5, wrong: dict[str, int]) -> None:
    with pytest.raises(SystemError):
        mt5.order_send(wrong)


def test_a_request_is_a_dictionary_or_keywords(mt5: SimulatedMetaTrader5) -> None:
    assert mt5.order_send({}, volume=0.1) is None
    assert mt5.last_error() == (-2, "Unnamed arguments not allowed")
