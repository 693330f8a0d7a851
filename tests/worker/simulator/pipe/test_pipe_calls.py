"""A command is the call that the package made of it; literally, since both faces share the rest."""

from __future__ import annotations

from typing import Any

import pytest

from mt5relay_worker.simulator.pipe.calls import answer_of, package_call
from mt5relay_worker.simulator.pipe.codec import Parameter, Request
from mt5relay_worker.simulator.pipe.commands import Code
from mt5relay_worker.simulator.surface import CallError

NOW = 1_750_000_000.0
DAY = 86_400
ALL, MINUS_ONE = 0xFFFF_FFFF, 0xFFFF_FFFF


@pytest.mark.parametrize(
    ("code", "parameters", "function", "args"),
    [
        (Code.VERSION, (0,), "version", ()),
        (Code.POSITIONS_TOTAL, (), "positions_total", ()),
        (Code.SYMBOL_SELECT, ("EURUSD", 1), "symbol_select", ("EURUSD", 1)),
        (Code.DEALS, (5, 9), "history_deals_get", (5, 9)),
        (Code.DEALS_TOTAL, (-1, 1 << 40), "history_deals_total", (-1, (1 << 31) - 1)),
        (Code.PAST_ORDERS, (-(1 << 40), 9), "history_orders_get", (-(1 << 31), 9)),
        (
            Code.TICKS_FROM,
            ("EURUSD", 1_700_000_000_500, 3, ALL),
            "copy_ticks_from",
            ("EURUSD", 1_700_000_000, 3, -1),
        ),
        (
            Code.TICKS_RANGE,
            ("EURUSD", 1_749_999_990_000, 1_750_000_000_000, 2),
            "copy_ticks_range",
            ("EURUSD", 1_749_999_990.0, 1_750_000_000.0, 2),
        ),
        (
            Code.TICKS_RANGE,
            ("EURUSD", 0, 1_750_000_000_000, 1),
            "copy_ticks_range",
            ("EURUSD", 1_750_000_000 - 500_000, 1_750_000_000.0, 1),
        ),
        (Code.TICKS_FROM, ("E", 0, 1 << 30, 1), "copy_ticks_from", ("E", 0.0, 1_000_000, 1)),
        (
            Code.RATES_FROM,
            ("E", 1, 1_700_000_000, 5),
            "copy_rates_from",
            ("E", 1, 1_700_000_000, 5),
        ),
        (Code.RATES_FROM_POS, ("E", 1, 0, 1 << 30), "copy_rates_from_pos", ("E", 1, 0, 100_000)),
        (
            Code.RATES_FROM_POS,
            ("E", 1, MINUS_ONE, MINUS_ONE),
            "copy_rates_from_pos",
            ("E", 1, -1, -1),
        ),
        (
            Code.RATES_RANGE,
            ("E", 1, 0, 1 << 40),
            "copy_rates_range",
            ("E", 1, 1_750_000_000 + DAY - 6_000_000, 1_750_000_000 + DAY),
        ),
        (Code.RATES_RANGE, ("E", 32_769, 0, 9), "copy_rates_range", ("E", 32_769, 0, 9)),
        (Code.CALC_MARGIN, (1, "E", 0.5, 1.5), "order_calc_margin", (1, "E", 0.5, 1.5)),
    ],
)
def test_parameters_become_arguments(
    code: int, parameters: tuple[Parameter, ...], function: str, args: tuple[Any, ...]
) -> None:
    call = package_call(Request(code, parameters), NOW)
    assert (call.function, call.args, call.kwargs) == (function, args, {})


@pytest.mark.parametrize(
    ("code", "function", "keyword"),
    [
        (Code.POSITION, "positions_get", "ticket"),
        (Code.ORDER, "orders_get", "ticket"),
        (Code.POSITIONS_OF_SYMBOL, "positions_get", "symbol"),
        (Code.ORDERS_OF_SYMBOL, "orders_get", "symbol"),
        (Code.PAST_ORDER, "history_orders_get", "ticket"),
        (Code.DEAL_OF_ORDER, "history_deals_get", "ticket"),
        (Code.PAST_ORDERS_OF_POSITION, "history_orders_get", "position"),
        (Code.DEALS_OF_POSITION, "history_deals_get", "position"),
    ],
)
def test_filters_become_keywords(code: int, function: str, keyword: str) -> None:
    call = package_call(Request(code, (7,)), NOW)
    assert (call.function, call.args, call.kwargs) == (function, (), {keyword: 7})


@pytest.mark.parametrize(
    ("command", "found", "code", "status"),
    [
        (Code.POSITIONS, None, -10004, -10004),
        (Code.ACCOUNT_INFO, None, 1, -1),
        (Code.BOOK_ADD, False, 1, -4),
        (Code.POSITION, (), 1, -4),
        (Code.VERSION, (0, 0, ""), -10004, -10004),
    ],
)
def test_a_call_without_a_result_is_a_status(
    command: int, found: object, code: int, status: int
) -> None:
    with pytest.raises(CallError) as error:
        answer_of(command, found, code)
    assert error.value.code == status


def test_an_empty_list_is_an_answer_and_of_several_records_the_first_is_told() -> None:
    assert answer_of(Code.POSITIONS, (), 1) == ()
    assert answer_of(Code.DEAL_OF_ORDER, ("one", "two"), 1) == "one"
