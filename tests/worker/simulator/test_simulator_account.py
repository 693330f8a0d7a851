"""Accounts add up, and a login shows the account that was asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mt5relay_worker.simulator import SimulatedMetaTrader5, generate_book
from mt5relay_worker.simulator.book import Account

MakeTerminal = Callable[..., SimulatedMetaTrader5]
LogIn = Callable[[SimulatedMetaTrader5, Account], bool]
AUTHORIZATION_FAILED = (-6, "Terminal: Authorization failed")


def shown_login(mt5: SimulatedMetaTrader5) -> int:
    info = mt5.account_info()
    assert info is not None
    return info.login


def test_nobody_is_logged_in_at_first(make_terminal: MakeTerminal) -> None:
    mt5 = make_terminal()
    assert shown_login(mt5) == 0
    assert mt5.positions_get() == ()
    assert mt5.last_error() == (1, "Success")


def test_initialize_can_log_in(make_terminal: MakeTerminal, alice: Account) -> None:
    mt5 = make_terminal()
    path = "C:\\MT5\\terminal64.exe"
    assert mt5.initialize(
        path, login=alice.login, password=alice.password, server=alice.server, timeout=1000
    )
    assert shown_login(mt5) == alice.login
    info = mt5.terminal_info()
    assert info is not None
    assert (info.path, info.connected) == ("C:\\MT5", True)


@pytest.mark.parametrize(
    "wrong",
    [
        (10_000_001, "wrong", "MetaQuotes-Demo"),
        (10_000_001, "invented-alice", "Nowhere"),
        (10_000_001, "invented-alice", "Example-Live"),
        (999, "invented-alice", "MetaQuotes-Demo"),
    ],
)
def test_a_refused_login_leaves_the_account_as_it_was(
    make_terminal: MakeTerminal, log_in: LogIn, bob: Account, wrong: tuple[int, str, str]
) -> None:
    mt5 = make_terminal()
    log_in(mt5, bob)
    login, password, server = wrong
    assert mt5.login(login, password=password, server=server) is False
    assert mt5.last_error() == AUTHORIZATION_FAILED
    assert shown_login(mt5) == bob.login


def test_without_a_password_the_saved_one_is_used(
    make_terminal: MakeTerminal, log_in: LogIn, alice: Account, bob: Account
) -> None:
    mt5 = make_terminal()
    assert mt5.login(alice.login) is False
    log_in(mt5, alice)
    log_in(mt5, bob)
    assert mt5.login(alice.login)
    assert shown_login(mt5) == alice.login


def test_shutdown_does_not_log_out(
    make_terminal: MakeTerminal, log_in: LogIn, alice: Account
) -> None:
    mt5 = make_terminal()
    log_in(mt5, alice)
    mt5.shutdown()
    mt5.initialize()
    assert shown_login(mt5) == alice.login


def test_every_account_adds_up(virtual_time: Any) -> None:
    book = generate_book()
    mt5 = SimulatedMetaTrader5(book, speed=0, clock=virtual_time.time, sleep=virtual_time.sleep)
    mt5.initialize()
    for account in book.accounts:
        assert mt5.login(account.login, password=account.password, server=account.server)
        info, positions = mt5.account_info(), mt5.positions_get()
        deals = mt5.history_deals_get(0, 2**31 - 1)
        assert info is not None
        assert positions is not None
        assert deals is not None
        assert info.equity == pytest.approx(info.balance + info.credit + info.profit)
        assert info.margin_free == pytest.approx(info.equity - info.margin)
        level = info.equity / info.margin * 100 if info.margin else 0
        assert info.margin_level == pytest.approx(level)
        assert info.profit == pytest.approx(sum(held.profit for held in positions))
        assert info.balance == pytest.approx(sum(deal.profit for deal in deals))
        assert len(positions) == len(account.positions)
        assert mt5.orders_total() == len(account.orders)


def test_the_profit_of_a_position_follows_the_price(
    make_terminal: MakeTerminal, log_in: LogIn, alice: Account, virtual_time: Any
) -> None:
    mt5 = make_terminal()
    log_in(mt5, alice)
    for _ in range(5):
        virtual_time.now += 3600
        found, tick = mt5.positions_get(symbol="EURUSD"), mt5.symbol_info_tick("EURUSD")
        assert found is not None
        assert tick is not None
        assert found[0].price_current == tick.bid
        moved = tick.bid - found[0].price_open
        assert found[0].profit == pytest.approx(moved * 0.1 * 100_000, abs=0.01)


def test_the_history_begins_with_a_deposit_and_has_an_order_for_every_deal(
    make_terminal: MakeTerminal, log_in: LogIn, alice: Account, virtual_time: Any
) -> None:
    mt5 = make_terminal()
    log_in(mt5, alice)
    since = int(virtual_time.now) - 30 * 86_400
    deals = mt5.history_deals_get(since, 2**31 - 1)
    orders = mt5.history_orders_get(since, 2**31 - 1)
    assert deals is not None
    assert orders is not None
    assert deals[0].type == mt5.DEAL_TYPE_BALANCE
    assert {deal.order for deal in deals[1:]} == {order.ticket for order in orders}
    assert [deal.time_msc for deal in deals] == sorted(deal.time_msc for deal in deals)
    assert mt5.history_deals_total(since, 2**31 - 1) == len(deals)
    assert mt5.history_orders_total(since, 2**31 - 1) == len(orders)
    assert mt5.history_deals_get(ticket=deals[1].order) == (deals[1],)
    by_position = mt5.history_orders_get(position=deals[1].position_id)
    assert by_position is not None
    assert by_position[0].ticket == deals[1].position_id


def test_a_terminal_that_starts_again_tells_the_same_story(
    make_terminal: MakeTerminal, log_in: LogIn, alice: Account, virtual_time: Any
) -> None:
    first = make_terminal()
    log_in(first, alice)
    virtual_time.now += 60
    second = make_terminal()
    log_in(second, alice)
    assert second.positions_get() == first.positions_get()
    assert second.history_deals_get(0, 2**31 - 1) == first.history_deals_get(0, 2**31 - 1)


def test_filters_choose_positions(
    make_terminal: MakeTerminal, log_in: LogIn, alice: Account
) -> None:
    mt5 = make_terminal()
    log_in(mt5, alice)
    positions = mt5.positions_get()
    assert positions is not None
    assert mt5.positions_get(ticket=positions[0].ticket) == positions[:1]
    in_yen = mt5.positions_get(group="*JPY*")
    assert in_yen == tuple(held for held in positions if held.symbol == "USDJPY")
    assert mt5.positions_get(symbol="USDJPY") == in_yen
    assert mt5.positions_get(ticket=1) == ()
    assert mt5.last_error() == (1, "Success")
    assert mt5.orders_get(symbol="USDJPY") == ()


def test_an_investor_may_look_but_not_trade(make_terminal: MakeTerminal, alice: Account) -> None:
    mt5 = make_terminal()
    assert mt5.login(alice.login, password="readonly-alice", server=alice.server)
    info = mt5.account_info()
    assert info is not None
    assert not info.trade_allowed
    sent = mt5.order_send({"action": mt5.TRADE_ACTION_DEAL, "symbol": "EURUSD", "volume": 0.1})
    assert sent is not None
    assert sent.retcode == mt5.TRADE_RETCODE_TRADE_DISABLED
