"""What can be asked, with which arguments."""

from __future__ import annotations

from typing import Any

import pytest

from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.operations import (
    MAX_BROKER_TIME_MS,
    MAX_RATES,
    OPERATIONS,
    SNAPSHOT_OPERATIONS,
    TIMEFRAMES,
    Arguments,
    HistoryArguments,
    Operation,
    RatesArguments,
    SymbolArguments,
    parse_arguments,
    parse_operation,
)

EXAMPLES: dict[Operation, dict[str, Any]] = {
    Operation.ACCOUNT_INFO: {},
    Operation.POSITIONS: {},
    Operation.ORDERS: {},
    Operation.DEALS: {"from_ms": 0, "to_ms": 1},
    Operation.HISTORY_ORDERS: {"from_ms": 5, "to_ms": 5},
    Operation.SYMBOL: {"symbol": "EURUSD"},
    Operation.TICK: {"symbol": "EURUSD"},
    Operation.RATES: {"symbol": "EURUSD", "timeframe": "M5", "count": 10},
}


def test_the_table_knows_every_operation() -> None:
    assert set(OPERATIONS) == set(Operation) == set(EXAMPLES)


def test_one_full_read_answers_the_three_questions_about_the_account() -> None:
    assert [operation.value for operation in SNAPSHOT_OPERATIONS] == [
        "account_info",
        "positions",
        "orders",
    ]


@pytest.mark.parametrize("operation", Operation)
def test_an_operation_goes_by_its_name_on_the_wire(operation: Operation) -> None:
    assert parse_operation(operation.value) is operation


@pytest.mark.parametrize("text", ["", "ACCOUNT_INFO", "order_send", "x" * 10_000])
def test_an_unknown_operation_is_told_the_known_ones(text: str) -> None:
    with pytest.raises(MT5ValidationError, match=r"^operation: .*account_info.*rates$") as refused:
        parse_operation(text)
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize("operation", Operation)
def test_every_operation_reads_its_own_arguments(operation: Operation) -> None:
    arguments = parse_arguments(operation, EXAMPLES[operation])
    assert type(arguments) is OPERATIONS[operation].arguments


@pytest.mark.parametrize("operation", Operation)
def test_an_unknown_argument_is_refused_by_name(operation: Operation) -> None:
    with pytest.raises(MT5ValidationError, match=f"^arguments of {operation}: .*surprise"):
        parse_arguments(operation, {**EXAMPLES[operation], "surprise": 1})


@pytest.mark.parametrize(
    ("operation", "name"),
    [(operation, name) for operation, example in EXAMPLES.items() for name in example],
)
def test_a_missing_argument_is_refused_by_name(operation: Operation, name: str) -> None:
    example = {key: value for key, value in EXAMPLES[operation].items() if key != name}
    with pytest.raises(MT5ValidationError, match=f"^arguments of {operation}: .*{name}"):
        parse_arguments(operation, example)


@pytest.mark.parametrize(
    ("operation", "wrong"),
    [
        (Operation.DEALS, {"from_ms": 2, "to_ms": 1}),
        (Operation.DEALS, {"from_ms": -1, "to_ms": 1}),
        (Operation.DEALS, {"from_ms": 0, "to_ms": MAX_BROKER_TIME_MS + 1}),
        (Operation.DEALS, {"from_ms": "0", "to_ms": 1}),
        (Operation.HISTORY_ORDERS, {"from_ms": 0.5, "to_ms": 1}),
        (Operation.SYMBOL, {"symbol": ""}),
        (Operation.TICK, {"symbol": "x" * 32}),
        (Operation.TICK, {"symbol": None}),
        (Operation.RATES, {"symbol": "EURUSD", "timeframe": "M7", "count": 1}),
        (Operation.RATES, {"symbol": "EURUSD", "timeframe": "M5", "count": 0}),
        (Operation.RATES, {"symbol": "EURUSD", "timeframe": "M5", "count": MAX_RATES + 1}),
        (Operation.RATES, {"symbol": "EURUSD", "timeframe": "M5", "count": True}),
        (Operation.POSITIONS, []),
    ],
)
def test_an_argument_out_of_bounds_is_refused(operation: Operation, wrong: object) -> None:
    with pytest.raises(MT5ValidationError, match=f"^arguments of {operation}: "):
        parse_arguments(operation, wrong)


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_every_timeframe_of_the_package_can_be_asked_for(timeframe: str) -> None:
    asked = {"symbol": "EURUSD", "timeframe": timeframe, "count": MAX_RATES}
    assert isinstance(parse_arguments(Operation.RATES, asked), RatesArguments)


def test_equal_arguments_are_one_question() -> None:
    assert len({SymbolArguments("EURUSD"), SymbolArguments("EURUSD"), SymbolArguments("X")}) == 2
    assert HistoryArguments(1, 2) == HistoryArguments(1, 2)
    assert Arguments() == Arguments()
