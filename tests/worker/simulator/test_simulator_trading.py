"""Trades change positions, orders, history and balance as a broker would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mt5relay_worker.simulator import SimulatedMetaTrader5
from mt5relay_worker.simulator.book import Account
from mt5relay_worker.simulator.structures import OrderSendResult, TradePosition

MakeTerminal = Callable[..., SimulatedMetaTrader5]
LogIn = Callable[[SimulatedMetaTrader5, Account], bool]


@pytest.fixture
def mt5(make_terminal: MakeTerminal) -> SimulatedMetaTrader5:
    return make_terminal()


def send(mt5: SimulatedMetaTrader5, **request: Any) -> OrderSendResult:
    result = mt5.order_send(request)
    assert result is not None, mt5.last_error()
    return result


def deal(mt5: SimulatedMetaTrader5, kind: int, volume: float, **more: Any) -> OrderSendResult:
    action = mt5.TRADE_ACTION_DEAL
    return send(mt5, action=action, symbol="EURUSD", type=kind, volume=volume, **more)


def positions(mt5: SimulatedMetaTrader5) -> tuple[TradePosition, ...]:
    found = mt5.positions_get()
    assert found is not None
    return found


def balance(mt5: SimulatedMetaTrader5) -> float:
    info = mt5.account_info()
    assert info is not None
    return info.balance


def test_a_market_order_opens_a_position_that_can_be_closed(
    mt5: SimulatedMetaTrader5, log_in: LogIn, bob: Account, virtual_time: Any
) -> None:
    log_in(mt5, bob)
    opened = deal(mt5, mt5.ORDER_TYPE_BUY, 0.2, magic=7)
    assert opened.retcode == mt5.TRADE_RETCODE_DONE
    assert [(held.ticket, held.volume, held.magic) for held in positions(mt5)] == [
        (opened.order, 0.2, 7)
    ]
    virtual_time.now += 86_400
    profit = positions(mt5)[0].profit
    closed = deal(mt5, mt5.ORDER_TYPE_SELL, 0.2, position=opened.order)
    assert closed.retcode == mt5.TRADE_RETCODE_DONE
    assert positions(mt5) == ()
    assert balance(mt5) == pytest.approx(10_000 + profit)
    deals = mt5.history_deals_get(position=opened.order)
    assert deals is not None
    assert [found.entry for found in deals] == [mt5.DEAL_ENTRY_IN, mt5.DEAL_ENTRY_OUT]


def test_a_position_can_be_closed_in_part_but_not_beyond(
    mt5: SimulatedMetaTrader5, log_in: LogIn, bob: Account
) -> None:
    log_in(mt5, bob)
    ticket = deal(mt5, mt5.ORDER_TYPE_BUY, 0.3).order
    deal(mt5, mt5.ORDER_TYPE_SELL, 0.1, position=ticket)
    assert positions(mt5)[0].volume == 0.2
    beyond = deal(mt5, mt5.ORDER_TYPE_SELL, 0.3, position=ticket)
    assert beyond.retcode == mt5.TRADE_RETCODE_INVALID_CLOSE_VOLUME
    gone = deal(mt5, mt5.ORDER_TYPE_SELL, 0.1, position=1)
    assert gone.retcode == mt5.TRADE_RETCODE_POSITION_CLOSED


def test_a_hedging_account_holds_both_sides_and_pays_margin_for_one(
    mt5: SimulatedMetaTrader5, log_in: LogIn, bob: Account
) -> None:
    log_in(mt5, bob)
    deal(mt5, mt5.ORDER_TYPE_BUY, 0.2)
    before = mt5.account_info()
    deal(mt5, mt5.ORDER_TYPE_SELL, 0.1)
    after = mt5.account_info()
    assert before is not None
    assert after is not None
    assert len(positions(mt5)) == 2
    assert after.margin == before.margin


def test_a_netting_account_has_one_position_a_symbol(
    mt5: SimulatedMetaTrader5, log_in: LogIn, carol: Account
) -> None:
    log_in(mt5, carol)
    deal(mt5, mt5.ORDER_TYPE_BUY, 0.1)
    deal(mt5, mt5.ORDER_TYPE_BUY, 0.2)
    assert [held.volume for held in positions(mt5)] == [0.3]
    deal(mt5, mt5.ORDER_TYPE_SELL, 0.1)
    assert [held.volume for held in positions(mt5)] == [0.2]
    deal(mt5, mt5.ORDER_TYPE_SELL, 0.5)
    assert [(held.type, held.volume) for held in positions(mt5)] == [(mt5.POSITION_TYPE_SELL, 0.3)]


def test_a_pending_order_rests_until_it_is_removed(
    mt5: SimulatedMetaTrader5, log_in: LogIn, bob: Account
) -> None:
    log_in(mt5, bob)
    placed = send(
        mt5,
        action=mt5.TRADE_ACTION_PENDING,
        symbol="EURUSD",
        type=mt5.ORDER_TYPE_BUY_LIMIT,
        volume=0.1,
        price=0.9,
    )
    assert placed.retcode == mt5.TRADE_RETCODE_DONE
    moved = send(mt5, action=mt5.TRADE_ACTION_MODIFY, order=placed.order, price=0.91)
    assert moved.retcode == mt5.TRADE_RETCODE_DONE
    resting = mt5.orders_get(ticket=placed.order)
    assert resting is not None
    assert resting[0].price_open == 0.91
    send(mt5, action=mt5.TRADE_ACTION_REMOVE, order=placed.order)
    assert mt5.orders_total() == 0
    past = mt5.history_orders_get(ticket=placed.order)
    assert past is not None
    assert past[0].state == mt5.ORDER_STATE_CANCELED
    again = send(mt5, action=mt5.TRADE_ACTION_REMOVE, order=placed.order)
    assert again.retcode == mt5.TRADE_RETCODE_INVALID_ORDER


def test_stops_lie_on_the_right_side_of_the_price(
    mt5: SimulatedMetaTrader5, log_in: LogIn, bob: Account
) -> None:
    log_in(mt5, bob)
    ticket = deal(mt5, mt5.ORDER_TYPE_BUY, 0.1).order
    sltp = mt5.TRADE_ACTION_SLTP
    assert send(mt5, action=sltp, position=ticket, sl=0.9, tp=1.9).retcode == 10009
    assert (positions(mt5)[0].sl, positions(mt5)[0].tp) == (0.9, 1.9)
    assert send(mt5, action=sltp, position=ticket, sl=0.9, tp=1.9).retcode == 10025
    assert send(mt5, action=sltp, position=ticket, sl=1.9).retcode == 10016


@pytest.mark.parametrize(
    ("wrong", "retcode"),
    [
        ({"action": 99}, 10013),
        ({"symbol": "NOPE"}, 10013),
        ({"volume": 0.015}, 10014),
        ({"volume": 0.0}, 10014),
        ({"volume": 100.0}, 10019),
        ({"sl": 9.0}, 10016),
        ({"action": 5, "type": 2, "price": 9.0}, 10015),
        ({"action": 10}, 10013),
    ],
)
def test_what_can_not_be_traded_is_refused_with_a_retcode(
    mt5: SimulatedMetaTrader5, log_in: LogIn, bob: Account, wrong: dict[str, Any], retcode: int
) -> None:
    log_in(mt5, bob)
    request = {"action": 1, "symbol": "EURUSD", "type": 0, "volume": 0.1, **wrong}
    checked = mt5.order_check(request)
    assert checked is not None
    assert checked.retcode == retcode
    assert send(mt5, **request).retcode == retcode
    assert positions(mt5) == ()


def test_a_request_by_the_keyword_request_is_empty(
    mt5: SimulatedMetaTrader5, log_in: LogIn, bob: Account
) -> None:
    log_in(mt5, bob)
    result = mt5.order_send(request={"action": 1, "symbol": "EURUSD", "volume": 0.1})
    assert result is not None
    assert result.retcode == mt5.TRADE_RETCODE_INVALID
    assert result.request.symbol == ""


def test_a_check_foretells_the_margin(
    mt5: SimulatedMetaTrader5, log_in: LogIn, bob: Account
) -> None:
    log_in(mt5, bob)
    checked = mt5.order_check({"action": 1, "symbol": "EURUSD", "type": 0, "volume": 0.1})
    deal(mt5, mt5.ORDER_TYPE_BUY, 0.1)
    info, tick = mt5.account_info(), mt5.symbol_info_tick("EURUSD")
    assert checked is not None
    assert info is not None
    assert tick is not None
    assert checked.retcode == 0
    assert checked.margin == pytest.approx(info.margin, abs=0.02)
    assert mt5.order_calc_margin(0, "EURUSD", 0.1, tick.ask) == pytest.approx(info.margin, abs=0.02)
    assert mt5.order_calc_profit(0, "EURUSD", 0.1, 1.1, 1.2) == 1_000
