"""The table that a demonstration shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from mt5relay_gateway.answers import Answer
from mt5relay_gateway.cli.demo_traffic import Look
from mt5relay_gateway.cli.live import Board, board_view, quantile
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5TimeoutError
from mt5relay_shared.operations import Operation

ACCOUNT = AccountId(25115284, "MetaQuotes-Demo")
NOW = datetime(2025, 6, 15, tzinfo=UTC)


def look(operation: Operation, data: Any, *, reason: str | None = None) -> Look:
    answer = Answer(
        data=data,
        account=ACCOUNT,
        operation=operation,
        as_of=NOW - timedelta(seconds=3),
        age=0.0,
        source="snapshot" if reason else "terminal",
        stale=reason is not None,
        reason=reason,
        synchronized="confirmed",
        request_id="1",
    )
    return Look(ACCOUNT, operation, 0.25, answer)


@pytest.fixture
def board() -> Board:
    return Board([ACCOUNT])


def shown(board: Board, health: Any) -> str:
    console = Console(width=100, markup=False, highlight=False)
    with console.capture() as captured:
        console.print(board_view(board, health, NOW))
    return captured.get()


def test_the_last_answers_of_an_account_add_up_in_its_row(
    board: Board, worker_health: Any, account_info: Any
) -> None:
    board.saw(look(Operation.ACCOUNT_INFO, account_info(balance=10_000.0, equity=9_999.5)))
    board.saw(look(Operation.POSITIONS, [1, 2]))
    board.saw(look(Operation.TICK, None))
    text = shown(board, worker_health())
    assert "25115284@MetaQuotes-Demo 10,000.00 9,999.50 USD    2 terminal 3.00 s  0.25 s" in text
    assert "answers 3  errors 0  latency p50 0.25 s  p95 0.25 s" in text


def test_an_error_is_shown_and_leaves_what_is_known(
    board: Board, worker_health: Any, account_info: Any
) -> None:
    board.saw(look(Operation.ACCOUNT_INFO, account_info(balance=10_000.0)))
    board.saw(Look(ACCOUNT, Operation.POSITIONS, 1.0, MT5TimeoutError("hung")))
    text = shown(board, worker_health())
    assert "MT5_TIMEOUT" in text
    assert "10,000.00" in text
    assert "errors 1" in text


def test_stale_is_said_to_be_stale(board: Board, worker_health: Any) -> None:
    board.saw(look(Operation.ORDERS, [], reason="CIRCUIT_OPEN"))
    assert " stale " in shown(board, worker_health())


def test_without_a_worker_the_header_says_so(board: Board) -> None:
    assert shown(board, None).startswith("no worker\n")


def test_a_quantile_of_nothing_is_unknown() -> None:
    assert quantile([], 0.5) is None
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 3.0
    assert quantile([1.0, 2.0], 1.0) == 2.0


def test_a_failed_look_up_is_a_line_with_its_code() -> None:
    failed = Look(ACCOUNT, Operation.TICK, 0.51, MT5TimeoutError("hung"))
    assert failed.fields() == {
        "account": str(ACCOUNT),
        "operation": "tick",
        "status": "error",
        "code": "MT5_TIMEOUT",
        "message": "hung",
        "latency": 0.51,
    }
