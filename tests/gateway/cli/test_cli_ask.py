"""`mt5relay ask`."""

from __future__ import annotations

from typing import Any

import pytest

from mt5relay_shared.errors import MT5AuthError
from mt5relay_shared.operations import Operation
from mt5relay_shared.records import AccountInfo, TradePosition

ACCOUNT = "25115284@MetaQuotes-Demo"
DETAILS = {
    "symbol": ("--symbol", "EURUSD"),
    "tick": ("--symbol", "EURUSD"),
    "rates": ("--symbol", "EURUSD", "--timeframe", "H1", "--count", "5"),
}
OPERATIONS = tuple(operation.value for operation in Operation)


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_every_operation_can_be_asked_by_its_name(
    cli: Any, worker: Any, operation: str
) -> None:
    ended = await cli("ask", operation, ACCOUNT, *DETAILS.get(operation, ()))
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith(f"{operation} of {ACCOUNT}: from the terminal as of 2025-06-15T")
    assert worker.asked[0].operation == operation


async def test_json_is_one_object_with_data_in_the_package_s_field_order(
    cli: Any, worker: Any
) -> None:
    ended = await cli("ask", "account_info", ACCOUNT, "--json")
    answer = ended.json()
    assert list(answer["data"]) == list(AccountInfo.__struct_fields__)
    assert answer["account"] == ACCOUNT
    assert (answer["status"], answer["source"], answer["stale"]) == ("ok", "terminal", False)
    assert (answer["as_of"], answer["age"]) == ("2025-06-15T15:06:40.000Z", 1.5)
    listed = await cli("ask", "positions", ACCOUNT, "--json")
    assert list(listed.json()["data"][0]) == list(TradePosition.__struct_fields__)


async def test_an_empty_list_is_said_to_be_none(cli: Any, worker: Any) -> None:
    assert (await cli("ask", "orders", ACCOUNT)).out.splitlines()[1] == "none"


async def test_numbers_that_stand_for_names_are_shown_as_names(cli: Any, worker: Any) -> None:
    assert " sell " in (await cli("ask", "positions", ACCOUNT)).out
    past = (await cli("ask", "history_orders", ACCOUNT)).out
    assert "buy limit" in past
    assert "filled" in past
    deals = (await cli("ask", "deals", ACCOUNT)).out
    assert " out " in deals
    assert " 99 " in deals  # a type of a terminal to come
    assert "2023-11-14 22:13:20" in deals


async def test_a_trader_s_name_can_neither_colour_nor_move_the_terminal(
    cli: Any, worker: Any
) -> None:
    shown = (await cli("ask", "account_info", ACCOUNT)).out
    assert "Ada [bold]Example" in shown
    assert "\x1b" not in shown


async def test_the_range_of_a_history_is_by_default_the_last_thirty_days(
    cli: Any, worker: Any
) -> None:
    await cli("ask", "deals", ACCOUNT)
    await cli("ask", "deals", ACCOUNT, "--from", "2025-01-01", "--to", "2025-01-02T12:00:00")
    default, given = (request.arguments for request in worker.asked)
    assert default["to_ms"] - default["from_ms"] == 31 * 86_400_000  # clocks ahead of UTC included
    assert given == {"from_ms": 1_735_689_600_000, "to_ms": 1_735_819_200_000}


async def test_seconds_given_as_options_travel_as_milliseconds(cli: Any, worker: Any) -> None:
    options = ("--timeout", "250.5", "--max-age", "3", "--stale-if-error", "60")
    await cli("ask", "positions", ACCOUNT, *options)
    asked = worker.asked[0]
    assert (asked.max_age_ms, asked.stale_if_error_ms) == (3000, 60_000)
    assert 200_000 < asked.timeout_ms <= 250_500  # what is left of it when it is sent


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (("positions", "nobody"), "account: 'nobody' is not LOGIN@SERVER"),
        (("position", ACCOUNT), 'Did you mean "positions"?'),
        (("positions", ACCOUNT, "--symbol", "EURUSD"), "--symbol: positions does not take it"),
        (("rates", ACCOUNT, "--symbol", "EURUSD"), "--count: rates needs it"),
        (("positions", ACCOUNT, "--timeout", "0"), "timeout: 0.0 s is not above 0"),
        (("deals", ACCOUNT, "--from", "yesterday"), 'unable to convert "yesterday"'),
        (("deals", ACCOUNT, "--from", "2025-01-02", "--to", "2025-01-01"), "`from_ms` is after"),
    ],
)
async def test_a_wrong_question_is_refused_in_one_line_that_names_the_field(
    cli: Any, worker: Any, given: tuple[str, ...], complaint: str
) -> None:
    ended = await cli("ask", *given)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("mt5relay: ")
    assert complaint in ended.err
    assert ended.err.count("\n") == 1
    assert worker.asked == []


async def test_an_error_reply_is_one_line_with_its_code_and_when_to_come_back(
    cli: Any, worker: Any
) -> None:
    worker.fails_with = MT5AuthError("refused", retry_after=60.0, mt5_error=(-6, "failed"))
    ended = await cli("ask", "positions", ACCOUNT)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == ("mt5relay: MT5_AUTH_FAILED: refused (MT5 -6: failed); try again in 60 s\n")


async def test_without_a_worker_the_question_is_refused_at_once(cli: Any) -> None:
    ended = await cli("ask", "positions", ACCOUNT)
    assert ended.status == 1
    assert "NO_WORKER" in ended.err
