"""The judge of hostile runs sees every kind of untrue answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from tests.hostile.truth import Flaw, Oracle, make_book

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.operations import Operation
from mt5relay_shared.records import AccountInfo, TradeDeal, TradeOrder, TradePosition
from mt5relay_worker.simulator import Faults, SimulatedMetaTrader5

BOOK = make_book()
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
BOTH, OTHER = (AccountId(BOOK.accounts[i].login, BOOK.accounts[i].server) for i in (1, 6))
TWIN = AccountId(BOOK.accounts[47].login, BOOK.accounts[47].server)

RECORDS: dict[Operation, Any] = {
    Operation.POSITIONS: TradePosition,
    Operation.ORDERS: TradeOrder,
    Operation.DEALS: TradeDeal,
    Operation.HISTORY_ORDERS: TradeOrder,
}
every_list = pytest.mark.parametrize("operation", RECORDS, ids=lambda one: str(one.value))


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    oracle = Oracle(BOOK)
    oracle.look()
    return oracle


def answer(account: AccountId, operation: Operation) -> Any:
    """What a terminal without faults answers now."""
    terminal = SimulatedMetaTrader5(BOOK, faults=Faults(scale=0))
    assert terminal.initialize()
    wanted = next(one for one in BOOK.accounts if AccountId(one.login, one.server) == account)
    assert terminal.login(wanted.login, password=wanted.password, server=wanted.server)
    match operation:
        case Operation.POSITIONS:
            rows: Any = terminal.positions_get()
        case Operation.ORDERS:
            rows = terminal.orders_get()
        case Operation.DEALS:
            rows = terminal.history_deals_get(0, 2**31 - 1)
        case Operation.HISTORY_ORDERS:
            rows = terminal.history_orders_get(0, 2**31 - 1)
        case _:
            info = terminal.account_info()
            assert info is not None
            return AccountInfo(**info._asdict())
    return [RECORDS[operation](**row._asdict()) for row in rows]


def flaw(oracle: Oracle, account: AccountId, operation: Operation, data: Any) -> Flaw | None:
    found = oracle.judge(account, operation, data, LONG_AGO)
    return None if found is None else found[0]


@pytest.mark.parametrize("operation", [Operation.ACCOUNT_INFO, *RECORDS])
def test_the_truth_is_accepted_and_that_of_others_is_foreign(
    oracle: Oracle, operation: Operation
) -> None:
    assert flaw(oracle, BOTH, operation, answer(BOTH, operation)) is None
    assert flaw(oracle, BOTH, operation, answer(OTHER, operation)) is Flaw.FOREIGN


@pytest.mark.parametrize("operation", [Operation.ORDERS, Operation.DEALS, Operation.HISTORY_ORDERS])
def test_the_same_login_at_another_server_is_foreign(oracle: Oracle, operation: Operation) -> None:
    assert TWIN.login == BOTH.login
    assert flaw(oracle, BOTH, operation, answer(TWIN, operation)) is Flaw.FOREIGN


@every_list
def test_a_list_that_is_short_or_empty_is_missing_something(
    oracle: Oracle, operation: Operation
) -> None:
    whole = answer(BOTH, operation)
    assert whole
    assert flaw(oracle, BOTH, operation, []) is Flaw.MISSING
    assert flaw(oracle, BOTH, operation, whole[1:]) is Flaw.MISSING


@every_list
def test_a_record_that_is_there_twice_is_impossible(oracle: Oracle, operation: Operation) -> None:
    whole = answer(BOTH, operation)
    assert flaw(oracle, BOTH, operation, [*whole, whole[0]]) is Flaw.IMPOSSIBLE


@pytest.mark.parametrize(
    "figures",
    [
        {"margin_free": 0.0},
        {"margin": 0.0, "margin_free": 0.0, "margin_level": 0.0},
        {"equity": 0.0},
        {"profit": 1e6},
    ],
)
def test_figures_that_do_not_add_up_are_impossible(
    oracle: Oracle, figures: dict[str, float]
) -> None:
    info = answer(BOTH, Operation.ACCOUNT_INFO)
    wrong = msgspec.structs.replace(info, **figures)
    assert flaw(oracle, BOTH, Operation.ACCOUNT_INFO, wrong) is Flaw.IMPOSSIBLE


def test_accounts_of_a_run_are_of_every_kind() -> None:
    kinds = {(bool(one.positions), bool(one.orders), one.balance > 0) for one in BOOK.accounts}
    assert len(BOOK.accounts) == 50
    assert len({one.server for one in BOOK.accounts}) == 4
    assert kinds == {
        (True, False, True),
        (True, True, True),
        (False, True, True),
        (False, False, True),
        (True, False, False),
    }
