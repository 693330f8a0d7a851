"""What an account holds, owes and has done, and how its figures add up.

Times inside records are the server's wall clock; `now` and `at` are seconds since 1970, true UTC.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass
from typing import Literal, NamedTuple

from mt5relay_worker.simulator.book import Account, Server
from mt5relay_worker.simulator.market import Market
from mt5relay_worker.simulator.structures import AccountInfo, TradeDeal, TradeOrder, TradePosition
from mt5relay_worker.simulator.surface import Constants

BUY, SELL = Constants.POSITION_TYPE_BUY, Constants.POSITION_TYPE_SELL
_MARGIN_MODES = {
    "hedging": Constants.ACCOUNT_MARGIN_MODE_RETAIL_HEDGING,
    "netting": Constants.ACCOUNT_MARGIN_MODE_RETAIL_NETTING,
}


class Standing(NamedTuple):
    """The figures of an account, in its currency; `margin_level` in percent."""

    balance: float
    credit: float
    profit: float
    equity: float
    margin: float
    margin_free: float
    margin_level: float


def standing(
    balance: float, credit: float, profit: float, margin: float, *, digits: int = 2
) -> Standing:
    """Add up an account. Without margin the level is 0, as the terminal shows it."""
    equity = round(balance + credit + profit, digits)
    free = round(equity - margin, digits)
    level = equity / margin * 100 if margin else 0.0
    return Standing(balance, credit, profit, equity, margin, free, level)


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution: `entry` says whether it opens or reduces the position `position_id`."""

    symbol: str
    side: int
    volume: float
    price: float
    at: float
    entry: int = Constants.DEAL_ENTRY_IN
    position_id: int = 0
    profit: float = 0.0
    magic: int = 0
    comment: str = ""


class Ledger:
    """One account: its positions, orders and history. It starts empty."""

    def __init__(self, account: Account, server: Server, market: Market) -> None:
        self.account = account
        self.offset = round(server.utc_offset_hours * 3600)
        self.positions: dict[int, TradePosition] = {}
        self.orders: dict[int, TradeOrder] = {}
        self.past_orders: list[TradeOrder] = []
        self.deals: list[TradeDeal] = []
        self.balance = 0.0
        self.company = server.company
        self._market = market
        self._tickets = itertools.count(account.login % 1_000_000 * 1_000 + 1)

    def __repr__(self) -> str:
        return (
            f"<Ledger {self.account.login}@{self.account.server}, "
            f"{len(self.positions)} positions, {len(self.orders)} orders>"
        )

    # -- what it is worth ---------------------------------------------------------------------

    def standing(self, now: float) -> Standing:
        profit = self._amount(sum((held.profit for held in self.valued_positions(now)), 0.0))
        digits = self.account.currency_digits
        return standing(self.balance, self.account.credit, profit, self.margin(), digits=digits)

    def _amount(self, amount: float) -> float:
        """An amount as the account's currency has it."""
        return round(amount, self.account.currency_digits)

    def valued_positions(self, now: float) -> tuple[TradePosition, ...]:
        """The positions at the prices of now."""
        return tuple(self._valued(position, now) for position in self.positions.values())

    def _valued(self, position: TradePosition, now: float) -> TradePosition:
        price = self.price(position.symbol, 1 - position.type, now)
        profit = self.profit(
            position.symbol,
            position.type,
            position.volume,
            opened=position.price_open,
            closed=price,
            at=now,
        )
        return position._replace(price_current=price, profit=profit)

    def valued_orders(self, now: float) -> tuple[TradeOrder, ...]:
        return tuple(
            order._replace(price_current=self.price(order.symbol, order.type % 2, now))
            for order in self.orders.values()
        )

    def price(self, symbol: str, side: int, at: float) -> float:
        """What a buyer pays or a seller gets."""
        quote = self._market.quote(symbol, at)
        return quote.ask if side == BUY else quote.bid

    def profit(
        self, symbol: str, side: int, volume: float, *, opened: float, closed: float, at: float
    ) -> float:
        """Of a position opened and closed at these prices, in the account's currency."""
        contract = self._market.symbols[symbol]
        moved = closed - opened if side == BUY else opened - closed
        rate = self._market.rate(contract.currency_profit, self.account.currency, at)
        return self._amount(moved * volume * contract.contract_size * rate)

    def margin_for(self, symbol: str, volume: float, price: float, at: float) -> float:
        """Notional value over leverage, in the account's currency."""
        contract = self._market.symbols[symbol]
        rate = self._market.rate(contract.currency_profit, self.account.currency, at)
        return self._amount(volume * contract.contract_size * price * rate / self.account.leverage)

    def margin(self) -> float:
        """Fixed at the opening; of opposite positions in one symbol the larger leg counts."""
        legs: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for held in self.positions.values():
            opened = held.time - self.offset
            needed = self.margin_for(held.symbol, held.volume, held.price_open, opened)
            legs[held.symbol][held.type] += needed
        return self._amount(sum((max(leg) for leg in legs.values()), 0.0))

    def info(self, now: float, access: Literal["full", "investor"]) -> AccountInfo:
        account, figures = self.account, self.standing(now)
        return AccountInfo(
            login=account.login,
            trade_mode=Constants.ACCOUNT_TRADE_MODE_DEMO,
            leverage=account.leverage,
            limit_orders=200,
            margin_so_mode=Constants.ACCOUNT_STOPOUT_MODE_PERCENT,
            trade_allowed=access == "full",
            trade_expert=True,
            margin_mode=_MARGIN_MODES[account.margin_mode],
            currency_digits=account.currency_digits,
            fifo_close=False,
            **figures._asdict(),
            margin_so_call=50.0,
            margin_so_so=30.0,
            margin_initial=0.0,
            margin_maintenance=0.0,
            assets=0.0,
            liabilities=0.0,
            commission_blocked=0.0,
            name=account.name,
            server=account.server,
            currency=account.currency,
            company=self.company,
        )

    # -- what it does -------------------------------------------------------------------------

    def open(self, fill: Fill, sl: float, tp: float) -> TradeDeal:
        """A new position. Its ticket is that of the order that opened it."""
        deal = self._record(fill)
        seconds, msc = self._stamps(fill.at)
        self.positions[deal.position_id] = TradePosition(
            ticket=deal.position_id,
            time=seconds,
            time_msc=msc,
            time_update=seconds,
            time_update_msc=msc,
            type=fill.side,
            magic=fill.magic,
            identifier=deal.position_id,
            reason=Constants.POSITION_REASON_EXPERT,
            volume=fill.volume,
            price_open=fill.price,
            sl=sl,
            tp=tp,
            price_current=fill.price,
            swap=0.0,
            profit=0.0,
            symbol=fill.symbol,
            comment=fill.comment,
            external_id="",
        )
        return deal

    def increase(self, fill: Fill) -> TradeDeal:
        """More of a netting position, at the mean price."""
        held = self.positions[fill.position_id]
        volume = round(held.volume + fill.volume, 8)
        price = (held.price_open * held.volume + fill.price * fill.volume) / volume
        self._update(held._replace(volume=volume, price_open=price), fill.at)
        return self._record(fill)

    def reduce(self, fill: Fill) -> TradeDeal:
        """Close a position, or a part of it; its profit goes to the balance."""
        held = self.positions[fill.position_id]
        self.balance = self._amount(self.balance + fill.profit)
        left = round(held.volume - fill.volume, 8)
        if left > 0:
            self._update(held._replace(volume=left), fill.at)
        else:
            del self.positions[held.ticket]
        return self._record(fill)

    def set_stops(self, ticket: int, sl: float, tp: float, at: float) -> None:
        self._update(self.positions[ticket]._replace(sl=sl, tp=tp), at)

    def place(self, order: TradeOrder, at: float) -> int:
        """A pending order; ticket and times are given to it here."""
        seconds, msc = self._stamps(at)
        ticket = next(self._tickets)
        self.orders[ticket] = order._replace(ticket=ticket, time_setup=seconds, time_setup_msc=msc)
        return ticket

    def amend(self, order: TradeOrder) -> None:
        self.orders[order.ticket] = order

    def remove(self, ticket: int, at: float) -> None:
        """A cancelled order moves to the history."""
        seconds, msc = self._stamps(at)
        order = self.orders.pop(ticket)
        self.past_orders.append(
            order._replace(
                state=Constants.ORDER_STATE_CANCELED, time_done=seconds, time_done_msc=msc
            )
        )

    def closing(self, ticket: int, volume: float, at: float) -> Fill:
        """The fill that takes `volume` off a position at the market."""
        held = self.positions[ticket]
        price = self.price(held.symbol, 1 - held.type, at)
        return Fill(
            held.symbol,
            1 - held.type,
            volume,
            price,
            at,
            entry=Constants.DEAL_ENTRY_OUT,
            position_id=ticket,
            profit=self.profit(
                held.symbol, held.type, volume, opened=held.price_open, closed=price, at=at
            ),
            magic=held.magic,
        )

    def _update(self, position: TradePosition, at: float) -> None:
        seconds, msc = self._stamps(at)
        self.positions[position.ticket] = position._replace(
            time_update=seconds, time_update_msc=msc
        )

    def _record(self, fill: Fill) -> TradeDeal:
        """Enter an execution into the history: a filled order and its deal."""
        order = next(self._tickets)
        position_id = fill.position_id or order
        seconds, msc = self._stamps(fill.at)
        filled = pending_order(fill.symbol, fill.side, fill.volume, fill.price)._replace(
            ticket=order,
            time_setup=seconds,
            time_setup_msc=msc,
            time_done=seconds,
            time_done_msc=msc,
            state=Constants.ORDER_STATE_FILLED,
            type_filling=Constants.ORDER_FILLING_FOK,
            magic=fill.magic,
            position_id=position_id,
            volume_current=0.0,
            comment=fill.comment,
        )
        self.past_orders.append(filled)
        deal = self._deal(fill, order, position_id)
        self.deals.append(deal)
        return deal

    def deposit(self, amount: float, at: float) -> None:
        self.balance = self._amount(self.balance + amount)
        kind = Constants.DEAL_TYPE_BALANCE
        fill = Fill("", kind, 0.0, 0.0, at, profit=amount, comment="Deposit")
        deal = self._deal(fill, order=0, position_id=0)
        self.deals.append(deal._replace(reason=Constants.DEAL_REASON_CLIENT))

    def _deal(self, fill: Fill, order: int, position_id: int) -> TradeDeal:
        seconds, msc = self._stamps(fill.at)
        return TradeDeal(
            ticket=next(self._tickets),
            order=order,
            time=seconds,
            time_msc=msc,
            type=fill.side,
            entry=fill.entry,
            magic=fill.magic,
            position_id=position_id,
            reason=Constants.DEAL_REASON_EXPERT,
            volume=fill.volume,
            price=fill.price,
            commission=0.0,
            swap=0.0,
            profit=fill.profit,
            fee=0.0,
            symbol=fill.symbol,
            comment=fill.comment,
            external_id="",
        )

    def _stamps(self, at: float) -> tuple[int, int]:
        msc = round((at + self.offset) * 1000)
        return msc // 1000, msc


def pending_order(symbol: str, kind: int, volume: float, price: float) -> TradeOrder:
    """An order before anybody gave it a ticket."""
    return TradeOrder(
        ticket=0,
        time_setup=0,
        time_setup_msc=0,
        time_done=0,
        time_done_msc=0,
        time_expiration=0,
        type=kind,
        type_time=Constants.ORDER_TIME_GTC,
        type_filling=Constants.ORDER_FILLING_RETURN,
        state=Constants.ORDER_STATE_PLACED,
        magic=0,
        position_id=0,
        position_by_id=0,
        reason=Constants.ORDER_REASON_EXPERT,
        volume_initial=volume,
        volume_current=volume,
        price_open=price,
        sl=0.0,
        tp=0.0,
        price_current=0.0,
        price_stoplimit=0.0,
        symbol=symbol,
        comment="",
        external_id="",
    )
