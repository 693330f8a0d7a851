"""What the adapter makes of the package's answers: data, "none", or an error, never a mixture."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.operations import (
    MAX_BROKER_TIME_MS,
    TIMEFRAMES,
    Arguments,
    HistoryArguments,
    Operation,
    RatesArguments,
    SymbolArguments,
)
from mt5relay_shared.records import (
    AccountInfo,
    Rate,
    SymbolInfo,
    Tick,
    TradeDeal,
    TradeOrder,
    TradePosition,
)
from mt5relay_shared.secret import Secret
from mt5relay_worker.terminal.failure import IdentityError, NotReadyError, TerminalError
from mt5relay_worker.terminal.metatrader5 import (
    MetaTrader5Adapter,
    load_metatrader5,
    timeframe_code,
)

if TYPE_CHECKING:
    from tests.worker.terminal.conftest import FakeBinding

ALICE = AccountId(11, "Broker-Demo")

SUCCESS = (1, "Success")
NOT_FOUND = (-4, "Terminal: Not found")
NO_CONNECTION = (-10004, "No IPC connection")
TIMED_OUT = (-10005, "IPC timeout")

# From the package's own constants, reference 5.0.6231.
PACKAGE_TIMEFRAMES = {
    "M1": 1,
    "M2": 2,
    "M3": 3,
    "M4": 4,
    "M5": 5,
    "M6": 6,
    "M10": 10,
    "M12": 12,
    "M15": 15,
    "M20": 20,
    "M30": 30,
    "H1": 16385,
    "H2": 16386,
    "H3": 16387,
    "H4": 16388,
    "H6": 16390,
    "H8": 16392,
    "H12": 16396,
    "D1": 16408,
    "W1": 32769,
    "MN1": 49153,
}

# Each operation with arguments, and the function of the package that answers it.
OPERATIONS: list[tuple[Operation, Arguments, str]] = [
    (Operation.ACCOUNT_INFO, Arguments(), "account_info"),
    (Operation.POSITIONS, Arguments(), "positions_get"),
    (Operation.ORDERS, Arguments(), "orders_get"),
    (Operation.DEALS, HistoryArguments(0, 60_000), "history_deals_get"),
    (Operation.HISTORY_ORDERS, HistoryArguments(0, 60_000), "history_orders_get"),
    (Operation.SYMBOL, SymbolArguments("EURUSD"), "symbol_info"),
    (Operation.TICK, SymbolArguments("EURUSD"), "symbol_info_tick"),
    (Operation.RATES, RatesArguments("EURUSD", "M5", 3), "copy_rates_from_pos"),
]
LISTS = [one for one in OPERATIONS if one[2].endswith("_get")]

every_operation = pytest.mark.parametrize(
    ("operation", "arguments", "call"), OPERATIONS, ids=[one[0].value for one in OPERATIONS]
)


@pytest.fixture(autouse=True)
def alice_is_logged_in(binding: FakeBinding) -> None:
    binding.knows(ALICE, positions=2, orders=1)
    binding.is_on(ALICE)


def failure_of(step: Callable[[], object]) -> TerminalError:
    with pytest.raises(TerminalError) as caught:
        step()
    return caught.value


def test_every_operation_has_its_case_here() -> None:
    assert {operation for operation, _, _ in OPERATIONS} == set(Operation)


# Data


@every_operation
def test_every_operation_gives_the_packages_own_fields(
    adapter: MetaTrader5Adapter, operation: Operation, arguments: Arguments, call: str
) -> None:
    kinds: dict[Operation, tuple[type[Any], int]] = {
        Operation.ACCOUNT_INFO: (AccountInfo, 1),
        Operation.POSITIONS: (TradePosition, 2),
        Operation.ORDERS: (TradeOrder, 1),
        Operation.DEALS: (TradeDeal, 1),
        Operation.HISTORY_ORDERS: (TradeOrder, 1),
        Operation.SYMBOL: (SymbolInfo, 1),
        Operation.TICK: (Tick, 1),
        Operation.RATES: (Rate, 3),
    }
    found = adapter.read(operation, arguments)
    rows = found if isinstance(found, list) else [found]
    kind, how_many = kinds[operation]
    assert [type(one) for one in rows] == [kind] * how_many


@pytest.mark.parametrize(("operation", "arguments", "call"), LISTS)
def test_nothing_is_said_only_where_the_terminal_said_nothing(
    adapter: MetaTrader5Adapter,
    binding: FakeBinding,
    operation: Operation,
    arguments: Arguments,
    call: str,
) -> None:
    binding.answers[call] = ()
    assert adapter.read(operation, arguments) == []


def test_fields_that_a_newer_terminal_adds_are_ignored(
    adapter: MetaTrader5Adapter, binding: FakeBinding, blank: Callable[..., Any]
) -> None:
    class NewerTick:
        def _asdict(self) -> dict[str, Any]:
            tick = blank(Tick, bid=1.5)
            return {name: getattr(tick, name) for name in tick.__struct_fields__} | {"new": 1}

    binding.answers["symbol_info_tick"] = NewerTick()
    assert adapter.read(Operation.TICK, SymbolArguments("EURUSD")) == blank(Tick, bid=1.5)


def test_bars_may_come_as_the_packages_array(
    adapter: MetaTrader5Adapter, binding: FakeBinding
) -> None:
    class Array:
        def tolist(self) -> list[tuple[Any, ...]]:
            return [(60, 1.0, 2.0, 0.5, 1.5, 10, 3, 0)]

    binding.answers["copy_rates_from_pos"] = Array()
    bars: Any = adapter.read(Operation.RATES, RatesArguments("EURUSD", "M1", 1))
    (bar,) = bars
    assert (bar.time, bar.high, bar.tick_volume, bar.spread) == (60, 2.0, 10, 3)


# Errors


@every_operation
def test_an_error_is_never_read_as_empty(
    adapter: MetaTrader5Adapter,
    binding: FakeBinding,
    operation: Operation,
    arguments: Arguments,
    call: str,
) -> None:
    for failure in (NO_CONNECTION, TIMED_OUT, NOT_FOUND, (-2, "?"), (-99, "?")):
        binding.fails(call, failure)
        error = failure_of(lambda: adapter.read(operation, arguments))
        assert error.mt5 == failure
        assert not isinstance(error, NotReadyError)


@every_operation
def test_a_terminal_that_died_is_an_error_of_the_link(
    adapter: MetaTrader5Adapter,
    binding: FakeBinding,
    operation: Operation,
    arguments: Arguments,
    call: str,
) -> None:
    binding.is_gone()
    assert failure_of(lambda: adapter.read(operation, arguments)).code == "MT5_CONNECTION_LOST"


@every_operation
def test_none_with_success_means_not_ready_and_is_asked_again_once(
    adapter: MetaTrader5Adapter,
    binding: FakeBinding,
    operation: Operation,
    arguments: Arguments,
    call: str,
) -> None:
    binding.fails(call, SUCCESS)
    adapter.read(operation, arguments)
    assert len(binding.called(call)) == 2


@every_operation
def test_none_with_success_twice_is_not_ready_rather_than_empty(
    adapter: MetaTrader5Adapter,
    binding: FakeBinding,
    operation: Operation,
    arguments: Arguments,
    call: str,
) -> None:
    binding.fails(call, SUCCESS, SUCCESS)
    with pytest.raises(NotReadyError):
        adapter.read(operation, arguments)
    assert len(binding.called(call)) == 2


@every_operation
def test_arguments_that_the_package_refuses_by_raising_are_the_requests_fault(
    adapter: MetaTrader5Adapter,
    binding: FakeBinding,
    operation: Operation,
    arguments: Arguments,
    call: str,
) -> None:
    binding.fails(call, SystemError)
    assert failure_of(lambda: adapter.read(operation, arguments)).code == "VALIDATION_FAILED"


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        ((-2, "Terminal: Invalid params"), "VALIDATION_FAILED"),
        ((-4, "Terminal: Not found"), "NOT_FOUND"),
        ((-6, "Terminal: Authorization failed"), "MT5_AUTH_FAILED"),
        ((-10001, "IPC send failed"), "MT5_CONNECTION_LOST"),
        ((-10002, "IPC recv failed"), "MT5_CONNECTION_LOST"),
        ((-10003, "IPC initialize failed"), "MT5_INIT_FAILED"),
        ((-10004, "No IPC connection"), "MT5_CONNECTION_LOST"),
        ((-10005, "IPC timeout"), "MT5_TIMEOUT"),
        ((-1, "Terminal: Call failed"), "MT5_CONNECTION_LOST"),
        ((-424242, "of a version to come"), "MT5_CONNECTION_LOST"),
    ],
)
def test_the_packages_codes_have_their_words_on_the_wire(
    adapter: MetaTrader5Adapter, binding: FakeBinding, failure: tuple[int, str], code: str
) -> None:
    binding.fails("positions_get", failure)
    error = failure_of(lambda: adapter.read(Operation.POSITIONS, Arguments()))
    assert (error.code, error.mt5) == (code, failure)


@pytest.mark.parametrize("failure", [TIMED_OUT, NO_CONNECTION, (-1, "Terminal: Call failed")])
def test_a_call_that_failed_without_a_link_to_the_broker_is_the_brokers_failure(
    adapter: MetaTrader5Adapter, binding: FakeBinding, failure: tuple[int, str]
) -> None:
    binding.info = binding.info._replace(connected=False)
    binding.fails("positions_get", failure)
    error = failure_of(lambda: adapter.read(Operation.POSITIONS, Arguments()))
    assert (error.code, error.mt5) == ("BROKER_UNAVAILABLE", failure)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["balance", "margin_level"])
def test_impossible_figures_are_an_error_never_data(
    adapter: MetaTrader5Adapter,
    binding: FakeBinding,
    blank: Callable[..., Any],
    value: float,
    field: str,
) -> None:
    binding.books[ALICE].info = blank(AccountInfo, login=11, server="Broker-Demo", **{field: value})
    error = failure_of(lambda: adapter.read(Operation.ACCOUNT_INFO, Arguments()))
    assert error.code == "MT5_DATA_INVALID"
    assert field in error.message


def test_a_record_of_another_shape_is_an_error_never_data(
    adapter: MetaTrader5Adapter, binding: FakeBinding, blank: Callable[..., Any]
) -> None:
    binding.answers["symbol_info_tick"] = TickWithoutPrices()
    error = failure_of(lambda: adapter.read(Operation.TICK, SymbolArguments("EURUSD")))
    assert error.code == "MT5_DATA_INVALID"


def test_a_bar_of_another_shape_is_an_error_never_data(
    adapter: MetaTrader5Adapter, binding: FakeBinding
) -> None:
    binding.answers["copy_rates_from_pos"] = [(60, 1.0, 2.0)]
    error = failure_of(lambda: adapter.read(Operation.RATES, RatesArguments("EURUSD", "M1", 1)))
    assert error.code == "MT5_DATA_INVALID"


class TickWithoutPrices:
    def _asdict(self) -> dict[str, Any]:
        return {"time": 1}


# What the package is asked


def test_history_is_asked_for_in_whole_seconds_that_cover_the_range(
    adapter: MetaTrader5Adapter, binding: FakeBinding
) -> None:
    span = HistoryArguments(1_700_000_000_400, 1_700_000_060_001)
    adapter.read(Operation.DEALS, span)
    adapter.read(Operation.HISTORY_ORDERS, span)
    expected = [(1_700_000_000, 1_700_000_061)]
    assert binding.called("history_deals_get") == expected
    assert binding.called("history_orders_get") == expected


def test_the_latest_date_on_the_wire_is_one_that_the_package_can_send(
    adapter: MetaTrader5Adapter, binding: FakeBinding
) -> None:
    adapter.read(Operation.DEALS, HistoryArguments(0, MAX_BROKER_TIME_MS))
    assert binding.called("history_deals_get") == [(1, 2**31 - 1)]


@pytest.mark.parametrize(("from_ms", "to_ms"), [(0, 0), (0, 999), (500, 1_000)])
def test_date_0_is_never_sent_for_the_package_would_send_whatever_is_in_its_memory(
    adapter: MetaTrader5Adapter, binding: FakeBinding, from_ms: int, to_ms: int
) -> None:
    adapter.read(Operation.DEALS, HistoryArguments(from_ms, to_ms))
    adapter.all_deals()
    assert binding.called("history_deals_get") == [(1, 1), (1, 2**31 - 1)]


def test_timeframes_are_the_packages_constants() -> None:
    assert {name: timeframe_code(name) for name in TIMEFRAMES} == PACKAGE_TIMEFRAMES


def test_bars_are_asked_for_by_position_the_running_one_included(
    adapter: MetaTrader5Adapter, binding: FakeBinding
) -> None:
    adapter.read(Operation.RATES, RatesArguments("EURUSD", "H4", 100))
    assert binding.called("copy_rates_from_pos") == [("EURUSD", 16388, 0, 100)]


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        (Operation.TICK, SymbolArguments("GBPJPY")),
        (Operation.RATES, RatesArguments("GBPJPY", "M1", 1)),
    ],
)
def test_prices_are_read_of_a_symbol_that_was_chosen_first(
    adapter: MetaTrader5Adapter, binding: FakeBinding, operation: Operation, arguments: Arguments
) -> None:
    adapter.read(operation, arguments)
    assert binding.calls[0][:2] == ("symbol_select", ("GBPJPY", True))


def test_an_unknown_symbol_is_not_found(adapter: MetaTrader5Adapter, binding: FakeBinding) -> None:
    binding.fails("symbol_select", NOT_FOUND)
    error = failure_of(lambda: adapter.read(Operation.TICK, SymbolArguments("NOPE")))
    assert error.code == "NOT_FOUND"


def test_a_symbol_that_is_not_chosen_without_a_reason_is_read_all_the_same(
    adapter: MetaTrader5Adapter, binding: FakeBinding
) -> None:
    binding.fails("symbol_select", SUCCESS)
    adapter.read(Operation.TICK, SymbolArguments("EURUSD"))


# Attaching


@pytest.mark.skipif(os.name == "nt", reason="the package may be installed here")
def test_without_the_package_the_remedy_is_named() -> None:
    error = failure_of(load_metatrader5)
    assert error.code == "MT5_INIT_FAILED"
    assert "MT5_TERMINAL=simulated" in error.message


def test_the_terminal_is_attached_to_by_its_path(
    adapter: MetaTrader5Adapter, binding: FakeBinding
) -> None:
    adapter.initialize("/mt5/terminal64.exe", 60_000)
    assert binding.calls == [("initialize", ("/mt5/terminal64.exe",), {"timeout": 60_000})]


def test_a_portable_terminal_is_started_as_one(binding: FakeBinding) -> None:
    adapter = MetaTrader5Adapter(binding, portable=True)
    adapter.initialize("/mt5/terminal64.exe", 60_000)
    given = {"timeout": 60_000, "portable": True}
    assert binding.calls == [("initialize", ("/mt5/terminal64.exe",), given)]


def test_a_terminal_that_cannot_be_attached_says_why(
    adapter: MetaTrader5Adapter, binding: FakeBinding
) -> None:
    binding.fails("initialize", TIMED_OUT)
    error = failure_of(lambda: adapter.initialize("/mt5/terminal64.exe", 60_000))
    assert (error.code, error.mt5) == ("MT5_INIT_FAILED", TIMED_OUT)


@pytest.mark.parametrize(
    ("is_running", "words"), [(True, "it runs: look for"), (False, "does not run"), (None, "")]
)
def test_a_terminal_that_cannot_be_attached_says_whether_it_runs(
    binding: FakeBinding, is_running: bool | None, words: str
) -> None:
    adapter = MetaTrader5Adapter(binding, is_running=lambda _: is_running)
    binding.fails("initialize", TIMED_OUT)
    error = failure_of(lambda: adapter.initialize("/mt5/terminal64.exe", 60_000))
    assert error.mt5 == TIMED_OUT
    assert words in error.message
    assert ("run" in error.message) is (is_running is not None)


def test_an_initialize_that_raises_is_a_failure_to_attach(
    adapter: MetaTrader5Adapter, binding: FakeBinding
) -> None:
    binding.fails("initialize", SystemError)
    assert failure_of(lambda: adapter.initialize(None, 60_000)).code == "MT5_INIT_FAILED"


def test_the_terminal_tells_its_build_path_and_ping(adapter: MetaTrader5Adapter) -> None:
    state = adapter.state()
    assert (state.build, state.path, state.ping_ms) == (5200, "/mt5", 12.5)
    assert adapter.package_version() == "5.0.6231"


def test_a_terminal_that_does_not_tell_its_state_is_an_error(
    adapter: MetaTrader5Adapter, binding: FakeBinding
) -> None:
    binding.is_gone()
    assert failure_of(adapter.state).code == "MT5_CONNECTION_LOST"


# Logging in


def test_a_login_always_carries_all_three(
    adapter: MetaTrader5Adapter, binding: FakeBinding
) -> None:
    adapter.login(ALICE, Secret("secret-11"), 60_000)
    given = {"password": "secret-11", "server": "Broker-Demo", "timeout": 60_000}
    assert binding.calls == [("login", (11,), given)]


def test_a_wrong_password_is_an_authorization_failure(adapter: MetaTrader5Adapter) -> None:
    error = failure_of(lambda: adapter.login(ALICE, Secret("wrong"), 60_000))
    assert error.code == "MT5_AUTH_FAILED"
    assert error.mt5 == (-6, "Terminal: Authorization failed")


def test_a_login_that_raises_names_no_password(
    adapter: MetaTrader5Adapter, binding: FakeBinding
) -> None:
    binding.fails("login", SystemError)
    error = failure_of(lambda: adapter.login(ALICE, Secret("planted-secret"), 60_000))
    assert error.code == "INTERNAL"
    assert error.__cause__ is None
    assert "planted" not in str(error)


@pytest.mark.parametrize("failure", [TIMED_OUT, NO_CONNECTION])
def test_a_login_that_times_out_without_a_broker_is_not_the_accounts_fault(
    adapter: MetaTrader5Adapter, binding: FakeBinding, failure: tuple[int, str]
) -> None:
    binding.info = binding.info._replace(connected=False)
    binding.fails("login", failure)
    error = failure_of(lambda: adapter.login(ALICE, Secret("secret-11"), 60_000))
    assert error.code == "BROKER_UNAVAILABLE"


# Who is logged in


def test_identity_is_login_and_server(adapter: MetaTrader5Adapter) -> None:
    assert adapter.identity() == ALICE


@pytest.mark.parametrize("shown", [{"login": 0}, {"login": 11, "server": ""}])
def test_an_account_without_login_or_server_is_nobody(
    adapter: MetaTrader5Adapter,
    binding: FakeBinding,
    blank: Callable[..., Any],
    shown: dict[str, Any],
) -> None:
    binding.books[ALICE].info = blank(AccountInfo, **shown)
    assert adapter.identity() is None


@pytest.mark.parametrize("code", [1, -6])
def test_nobody_is_known_to_be_logged_in_while_the_terminal_does_not_say(
    adapter: MetaTrader5Adapter, binding: FakeBinding, code: int
) -> None:
    binding.fails("account_info", (code, "?"))
    assert adapter.identity() is None


@pytest.mark.parametrize("code", [-10001, -10002, -10004])
def test_a_lost_link_is_not_taken_for_nobody_logged_in(
    adapter: MetaTrader5Adapter, binding: FakeBinding, code: int
) -> None:
    binding.info = None
    binding.fails("account_info", (code, "IPC"))
    assert failure_of(adapter.identity).code == "MT5_CONNECTION_LOST"


def test_totals_are_unknown_while_the_terminal_does_not_say(
    adapter: MetaTrader5Adapter, binding: FakeBinding
) -> None:
    binding.fails("orders_total", NO_CONNECTION)
    assert adapter.totals() is None


# Every function of the adapter: an error is never an empty or a zero answer

FAILURES = [NO_CONNECTION, TIMED_OUT, (-1, "Terminal: Call failed"), (-6, "?"), (-99, "?")]
every_failure = pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: str(failure[0]))


@every_failure
def test_an_initialize_that_fails_is_never_taken_for_attached(
    adapter: MetaTrader5Adapter, binding: FakeBinding, failure: tuple[int, str]
) -> None:
    binding.fails("initialize", failure)
    assert failure_of(lambda: adapter.initialize(None, 1_000)).mt5 == failure


@every_failure
def test_a_login_that_fails_is_never_taken_for_logged_in(
    adapter: MetaTrader5Adapter, binding: FakeBinding, failure: tuple[int, str]
) -> None:
    binding.fails("login", failure)
    assert failure_of(lambda: adapter.login(ALICE, Secret("secret-11"), 1_000)).mt5 == failure


@every_failure
def test_an_identity_that_fails_is_neither_nobody_nor_somebody_else(
    adapter: MetaTrader5Adapter, binding: FakeBinding, failure: tuple[int, str]
) -> None:
    binding.fails("account_info", failure)
    if failure[0] == -6:
        assert adapter.identity() is None
        return
    error = failure_of(adapter.identity)
    assert error.mt5 == failure
    assert not isinstance(error, IdentityError | NotReadyError)
    assert error.code in ("MT5_CONNECTION_LOST", "MT5_TIMEOUT")


@every_failure
def test_a_state_that_fails_is_never_a_disconnected_terminal(
    adapter: MetaTrader5Adapter, binding: FakeBinding, failure: tuple[int, str]
) -> None:
    binding.fails("terminal_info", failure)
    assert failure_of(adapter.state).mt5 == failure


@every_failure
@pytest.mark.parametrize("call", ["positions_total", "orders_total"])
def test_totals_that_fail_are_never_zero(
    adapter: MetaTrader5Adapter, binding: FakeBinding, call: str, failure: tuple[int, str]
) -> None:
    binding.fails(call, failure)
    assert adapter.totals() is None


@every_failure
def test_a_count_of_deals_that_fails_is_never_zero(
    adapter: MetaTrader5Adapter, binding: FakeBinding, failure: tuple[int, str]
) -> None:
    binding.fails("history_deals_total", failure)
    assert adapter.deals_total() is None


@every_failure
def test_account_info_that_fails_is_never_an_empty_account(
    adapter: MetaTrader5Adapter, binding: FakeBinding, failure: tuple[int, str]
) -> None:
    binding.fails("account_info", failure)
    assert failure_of(adapter.account_info).mt5 == failure


@every_failure
def test_held_symbols_that_fail_are_never_none_held(
    adapter: MetaTrader5Adapter, binding: FakeBinding, failure: tuple[int, str]
) -> None:
    binding.fails("positions_get", failure)
    assert failure_of(adapter.held_symbols).mt5 == failure


@every_failure
def test_a_tick_that_fails_has_no_time(
    adapter: MetaTrader5Adapter, binding: FakeBinding, failure: tuple[int, str]
) -> None:
    binding.fails("symbol_info_tick", failure)
    found: float | None = None
    with contextlib.suppress(TerminalError):
        found = adapter.tick_time("EURUSD")
    assert found is None


# Ticks and held symbols


def test_a_ticks_time_is_in_seconds(
    adapter: MetaTrader5Adapter, binding: FakeBinding, blank: Callable[..., Any]
) -> None:
    binding.answers["symbol_info_tick"] = blank(Tick, time_msc=1_700_000_000_250)
    assert adapter.tick_time("EURUSD") == 1_700_000_000.25


def test_a_symbol_that_never_ticked_has_no_time(
    adapter: MetaTrader5Adapter, binding: FakeBinding, blank: Callable[..., Any]
) -> None:
    binding.answers["symbol_info_tick"] = blank(Tick)
    assert adapter.tick_time("EURUSD") is None


def test_looking_for_a_tick_puts_nothing_into_market_watch(
    adapter: MetaTrader5Adapter, binding: FakeBinding
) -> None:
    adapter.tick_time("EURUSD")
    assert binding.called("symbol_select") == []


def test_held_symbols_are_those_of_the_positions_each_once(adapter: MetaTrader5Adapter) -> None:
    assert adapter.held_symbols() == ["EURUSD"]
