"""The last 30 days of an account, made up so that they lead to what the book says."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from mt5relay_worker.simulator.book import Order, Position
from mt5relay_worker.simulator.ledger import BUY, SELL, Fill, Ledger, pending_order
from mt5relay_worker.simulator.market import Market
from mt5relay_worker.simulator.surface import Constants

_DAY = 86_400
_HISTORY_DAYS = 29
_PENDING_TYPES = {
    "buy_limit": Constants.ORDER_TYPE_BUY_LIMIT,
    "sell_limit": Constants.ORDER_TYPE_SELL_LIMIT,
    "buy_stop": Constants.ORDER_TYPE_BUY_STOP,
    "sell_stop": Constants.ORDER_TYPE_SELL_STOP,
    "buy_stop_limit": Constants.ORDER_TYPE_BUY_STOP_LIMIT,
    "sell_stop_limit": Constants.ORDER_TYPE_SELL_STOP_LIMIT,
}


@dataclass(frozen=True, slots=True)
class _Trade:
    """A trade of the past; one that is not closed is still held."""

    symbol: str
    side: int
    volume: float
    opened: float
    closed: float | None = None
    held: Position | None = None


def live_through_the_past(ledger: Ledger, market: Market, rng: random.Random, now: float) -> None:
    """A deposit, closed trades, the positions still held and the orders still pending.

    The profits of all deals add up to the balance of the book. Everything hangs on the midnight
    before `now`, so a terminal that starts again the same day tells the same story.
    """
    midnight = now // _DAY * _DAY
    trades = [*_closed_trades(ledger, market, rng, midnight), *_held_trades(ledger, rng, midnight)]
    ledger.deposit(_deposit(ledger, trades), midnight - _HISTORY_DAYS * _DAY)
    tickets: dict[int, int] = {}
    for moment, number in _events(trades):
        if number in tickets:
            ticket = tickets[number]
            ledger.reduce(ledger.closing(ticket, trades[number].volume, moment))
        else:
            tickets[number] = _open(ledger, trades[number])
    for order in ledger.account.orders:
        _place(ledger, order, midnight - rng.uniform(0.1, 3) * _DAY)


def _events(trades: list[_Trade]) -> list[tuple[float, int]]:
    """When which trade was opened or closed, in the order of time."""
    return sorted(
        (moment, number)
        for number, trade in enumerate(trades)
        for moment in (trade.opened, trade.closed)
        if moment is not None
    )


def _closed_trades(
    ledger: Ledger, market: Market, rng: random.Random, midnight: float
) -> Iterator[_Trade]:
    lots = max(0.01, round(ledger.account.balance / 5_000 * 0.01, 2))
    for _ in range(rng.randint(3, 12)):
        opened = midnight - rng.uniform(3, _HISTORY_DAYS - 1) * _DAY
        closed = opened + rng.uniform(0.01, 2.5) * _DAY
        symbol = rng.choice(tuple(market.symbols))
        yield _Trade(symbol, rng.choice((BUY, SELL)), lots, opened, closed)


def _held_trades(ledger: Ledger, rng: random.Random, midnight: float) -> Iterator[_Trade]:
    for held in ledger.account.positions:
        opened = midnight - rng.uniform(0.05, 2.5) * _DAY
        side = BUY if held.side == "buy" else SELL
        yield _Trade(held.symbol, side, held.volume, opened, held=held)


def _deposit(ledger: Ledger, trades: list[_Trade]) -> float:
    """What was there before the closed trades made the balance what the book says."""
    won = sum(
        ledger.profit(
            trade.symbol,
            trade.side,
            trade.volume,
            opened=ledger.price(trade.symbol, trade.side, trade.opened),
            closed=ledger.price(trade.symbol, 1 - trade.side, trade.closed),
            at=trade.closed,
        )
        for trade in trades
        if trade.closed is not None
    )
    return round(ledger.account.balance - won, ledger.account.currency_digits)


def _open(ledger: Ledger, trade: _Trade) -> int:
    at_market = ledger.price(trade.symbol, trade.side, trade.opened)
    fill = Fill(trade.symbol, trade.side, trade.volume, at_market, trade.opened)
    if trade.held is None:
        return ledger.open(fill, sl=0.0, tp=0.0).position_id
    held = trade.held
    as_told = replace(fill, price=held.price or at_market, magic=held.magic, comment=held.comment)
    return ledger.open(as_told, held.sl, held.tp).position_id


def _place(ledger: Ledger, order: Order, at: float) -> None:
    resting = pending_order(order.symbol, _PENDING_TYPES[order.side], order.volume, order.price)
    ledger.place(
        resting._replace(sl=order.sl, tp=order.tp, magic=order.magic, comment=order.comment), at
    )
