"""What `order_check` and `order_send` decide, and how a decision is carried out.

Market orders, closing, pending orders and their removal, stops. Every fill is whole and at the
market. Stops and targets are kept but never triggered, pending orders rest until they are removed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mt5relay_worker.simulator.ledger import (
    BUY,
    SELL,
    Fill,
    Ledger,
    Standing,
    pending_order,
    standing,
)
from mt5relay_worker.simulator.market import Market, Quote
from mt5relay_worker.simulator.structures import (
    OrderCheckResult,
    OrderSendResult,
    TradeOrder,
    TradePosition,
    TradeRequest,
)
from mt5relay_worker.simulator.surface import Constants

VOLUME_MIN, VOLUME_MAX, VOLUME_STEP = 0.01, 100.0, 0.01
_TINY = 1e-9
_COMMENTS = {
    Constants.TRADE_RETCODE_DONE: "Request executed",
    Constants.TRADE_RETCODE_INVALID: "Invalid request",
    Constants.TRADE_RETCODE_INVALID_VOLUME: "Invalid volume",
    Constants.TRADE_RETCODE_INVALID_PRICE: "Invalid price",
    Constants.TRADE_RETCODE_INVALID_STOPS: "Invalid stops",
    Constants.TRADE_RETCODE_TRADE_DISABLED: "Trade disabled",
    Constants.TRADE_RETCODE_MARKET_CLOSED: "Market closed",
    Constants.TRADE_RETCODE_NO_MONEY: "No money",
    Constants.TRADE_RETCODE_NO_CHANGES: "No changes",
    Constants.TRADE_RETCODE_CLIENT_DISABLES_AT: "AutoTrading disabled by client",
    Constants.TRADE_RETCODE_CONNECTION: "No connection",
    Constants.TRADE_RETCODE_INVALID_ORDER: "Invalid order",
    Constants.TRADE_RETCODE_POSITION_CLOSED: "Position doesn't exist",
    Constants.TRADE_RETCODE_INVALID_CLOSE_VOLUME: "Invalid close volume",
}


class Rejection(Exception):  # noqa: N818 - an outcome of a decision, not a mistake
    """The request is not carried out; `retcode` says why."""

    def __init__(self, retcode: int) -> None:
        super().__init__(_COMMENTS[retcode])
        self.retcode = retcode


@dataclass(frozen=True, slots=True)
class Open:
    side: int
    volume: float


@dataclass(frozen=True, slots=True)
class Increase:
    ticket: int
    volume: float


@dataclass(frozen=True, slots=True)
class Reduce:
    ticket: int
    volume: float


@dataclass(frozen=True, slots=True)
class Place:
    order: TradeOrder


@dataclass(frozen=True, slots=True)
class Amend:
    order: TradeOrder


@dataclass(frozen=True, slots=True)
class Remove:
    ticket: int


@dataclass(frozen=True, slots=True)
class SetStops:
    ticket: int


Step = Open | Increase | Reduce | Place | Amend | Remove | SetStops


@dataclass(frozen=True, slots=True)
class Desk:
    """Where a request is decided: the account, the market and the time."""

    ledger: Ledger
    market: Market
    now: float


def decide(request: TradeRequest, desk: Desk) -> tuple[Step, ...]:
    """What is to be done for a request.

    Raises:
        Rejection: nothing, and why.
    """
    decide_action = _ACTIONS.get(request.action)
    if decide_action is None:
        raise Rejection(Constants.TRADE_RETCODE_INVALID)
    return decide_action(request, desk)


def _decide_deal(request: TradeRequest, desk: Desk) -> tuple[Step, ...]:
    quote = _checked_quote(request, desk)
    if request.type not in (BUY, SELL):
        raise Rejection(Constants.TRADE_RETCODE_INVALID)
    if request.position:
        return (_decide_close(request, desk.ledger),)
    _check_stops(request.type, quote.bid if request.type == BUY else quote.ask, request)
    steps = _decide_entry(request, desk.ledger)
    _check_money(request, steps, desk)
    return steps


def _decide_close(request: TradeRequest, ledger: Ledger) -> Reduce:
    held = _held(ledger, request.position)
    if held.symbol != request.symbol or held.type == request.type:
        raise Rejection(Constants.TRADE_RETCODE_INVALID)
    if request.volume > held.volume + _TINY:
        raise Rejection(Constants.TRADE_RETCODE_INVALID_CLOSE_VOLUME)
    return Reduce(held.ticket, request.volume)


def _decide_entry(request: TradeRequest, ledger: Ledger) -> tuple[Step, ...]:
    """A hedging account opens one more position; a netting account has one a symbol."""
    same_symbol = (held for held in ledger.positions.values() if held.symbol == request.symbol)
    held = next(same_symbol, None)
    if ledger.account.margin_mode == "hedging" or held is None:
        return (Open(request.type, request.volume),)
    if held.type == request.type:
        return (Increase(held.ticket, request.volume),)
    beyond = round(request.volume - held.volume, 8)
    if beyond <= 0:
        return (Reduce(held.ticket, request.volume),)
    return (Reduce(held.ticket, held.volume), Open(request.type, beyond))


def _decide_pending(request: TradeRequest, desk: Desk) -> tuple[Step, ...]:
    quote = _checked_quote(request, desk)
    _check_pending_price(request.type, request.price, quote)
    _check_stops(request.type % 2, request.price, request)
    order = pending_order(request.symbol, request.type, request.volume, request.price)
    placed = order._replace(
        sl=request.sl,
        tp=request.tp,
        magic=request.magic,
        comment=request.comment,
        price_stoplimit=request.stoplimit,
        type_time=request.type_time,
        time_expiration=request.expiration,
    )
    return (Place(placed),)


def _decide_stops(request: TradeRequest, desk: Desk) -> tuple[Step, ...]:
    held = _held(desk.ledger, request.position)
    if (held.sl, held.tp) == (request.sl, request.tp):
        raise Rejection(Constants.TRADE_RETCODE_NO_CHANGES)
    _check_stops(held.type, desk.ledger.price(held.symbol, 1 - held.type, desk.now), request)
    return (SetStops(held.ticket),)


def _decide_amend(request: TradeRequest, desk: Desk) -> tuple[Step, ...]:
    order = _resting(desk.ledger, request.order)
    _check_pending_price(order.type, request.price, desk.market.quote(order.symbol, desk.now))
    _check_stops(order.type % 2, request.price, request)
    amended = order._replace(price_open=request.price, sl=request.sl, tp=request.tp)
    if amended == order:
        raise Rejection(Constants.TRADE_RETCODE_NO_CHANGES)
    return (Amend(amended),)


def _decide_remove(request: TradeRequest, desk: Desk) -> tuple[Step, ...]:
    return (Remove(_resting(desk.ledger, request.order).ticket),)


_ACTIONS: dict[int, Callable[[TradeRequest, Desk], tuple[Step, ...]]] = {
    Constants.TRADE_ACTION_DEAL: _decide_deal,
    Constants.TRADE_ACTION_PENDING: _decide_pending,
    Constants.TRADE_ACTION_SLTP: _decide_stops,
    Constants.TRADE_ACTION_MODIFY: _decide_amend,
    Constants.TRADE_ACTION_REMOVE: _decide_remove,
}


def _checked_quote(request: TradeRequest, desk: Desk) -> Quote:
    if request.symbol not in desk.market.symbols:
        raise Rejection(Constants.TRADE_RETCODE_INVALID)
    steps = request.volume / VOLUME_STEP
    if not VOLUME_MIN <= request.volume <= VOLUME_MAX or abs(steps - round(steps)) > 1e-6:
        raise Rejection(Constants.TRADE_RETCODE_INVALID_VOLUME)
    return desk.market.quote(request.symbol, desk.now)


def _check_stops(side: int, price: float, request: TradeRequest) -> None:
    """A stop lies on the losing side of the price, a target on the winning side; 0 is none."""
    sign = 1 if side == BUY else -1
    too_high = request.sl and (price - request.sl) * sign <= 0
    too_low = request.tp and (request.tp - price) * sign <= 0
    if too_high or too_low:
        raise Rejection(Constants.TRADE_RETCODE_INVALID_STOPS)


def _check_pending_price(kind: int, price: float, quote: Quote) -> None:
    """Limits wait for a better price than the market's, stops for a worse one."""
    match kind:
        case Constants.ORDER_TYPE_BUY_LIMIT:
            is_valid = 0 < price < quote.ask
        case Constants.ORDER_TYPE_SELL_LIMIT:
            is_valid = price > quote.bid
        case Constants.ORDER_TYPE_BUY_STOP | Constants.ORDER_TYPE_BUY_STOP_LIMIT:
            is_valid = price > quote.ask
        case Constants.ORDER_TYPE_SELL_STOP | Constants.ORDER_TYPE_SELL_STOP_LIMIT:
            is_valid = 0 < price < quote.bid
        case _:
            raise Rejection(Constants.TRADE_RETCODE_INVALID)
    if not is_valid:
        raise Rejection(Constants.TRADE_RETCODE_INVALID_PRICE)


def _check_money(request: TradeRequest, steps: tuple[Step, ...], desk: Desk) -> None:
    needed = _added_margin(request, steps, desk)
    if needed > 0 and needed > desk.ledger.standing(desk.now).margin_free:
        raise Rejection(Constants.TRADE_RETCODE_NO_MONEY)


def _added_margin(request: TradeRequest, steps: tuple[Step, ...], desk: Desk) -> float:
    """An upper bound: what a hedged leg would save is not taken off."""
    ledger, added = desk.ledger, 0.0
    for step in steps:
        match step:
            case Open() | Increase():
                price = ledger.price(request.symbol, request.type, desk.now)
                added += ledger.margin_for(request.symbol, step.volume, price, desk.now)
            case Reduce():
                held = ledger.positions[step.ticket]
                opened = held.time - ledger.offset
                added -= ledger.margin_for(held.symbol, step.volume, held.price_open, opened)
            case _:
                pass
    return added


def _held(ledger: Ledger, ticket: int) -> TradePosition:
    if ticket not in ledger.positions:
        raise Rejection(Constants.TRADE_RETCODE_POSITION_CLOSED)
    return ledger.positions[ticket]


def _resting(ledger: Ledger, ticket: int) -> TradeOrder:
    if ticket not in ledger.orders:
        raise Rejection(Constants.TRADE_RETCODE_INVALID_ORDER)
    return ledger.orders[ticket]


def carry_out(step: Step, request: TradeRequest, desk: Desk) -> tuple[int, int]:
    """Do one step; returns the tickets of its deal and its order, 0 where there is none."""
    ledger = desk.ledger
    match step:
        case Open():
            deal = ledger.open(_fill(request, step.volume, desk, 0), request.sl, request.tp)
        case Increase():
            deal = ledger.increase(_fill(request, step.volume, desk, step.ticket))
        case Reduce():
            deal = ledger.reduce(ledger.closing(step.ticket, step.volume, desk.now))
        case Place():
            return 0, ledger.place(step.order, desk.now)
        case Amend():
            ledger.amend(step.order)
            return 0, step.order.ticket
        case Remove():
            ledger.remove(step.ticket, desk.now)
            return 0, step.ticket
        case SetStops():
            ledger.set_stops(step.ticket, request.sl, request.tp, desk.now)
            return 0, 0
    return deal.ticket, deal.order


def _fill(request: TradeRequest, volume: float, desk: Desk, position_id: int) -> Fill:
    return Fill(
        request.symbol,
        request.type,
        volume,
        desk.ledger.price(request.symbol, request.type, desk.now),
        desk.now,
        position_id=position_id,
        magic=request.magic,
        comment=request.comment,
    )


def check(request: TradeRequest, desk: Desk) -> OrderCheckResult:
    """What the account would look like; the figures are those of now where it would not pass."""
    before = desk.ledger.standing(desk.now)
    try:
        steps = decide(request, desk)
    except Rejection as rejection:
        return _checked(rejection.retcode, before, str(rejection), request)
    digits = desk.ledger.account.currency_digits
    margin = max(0.0, round(before.margin + _added_margin(request, steps, desk), digits))
    after = standing(before.balance, before.credit, before.profit, margin, digits=digits)
    return _checked(0, after, "Done", request)


def _checked(
    retcode: int, figures: Standing, comment: str, request: TradeRequest
) -> OrderCheckResult:
    return OrderCheckResult(
        retcode,
        figures.balance,
        figures.equity,
        figures.profit,
        figures.margin,
        figures.margin_free,
        figures.margin_level,
        comment,
        request,
    )


def send(request: TradeRequest, desk: Desk, request_id: int) -> OrderSendResult:
    """Decide, carry out, and report."""
    try:
        steps = decide(request, desk)
    except Rejection as rejection:
        return refused(request, rejection.retcode, request_id)
    bid, ask = _prices(request, desk)
    price = (ask if request.type == BUY else bid) if _trades(steps) else request.price
    deal, order = [carry_out(step, request, desk) for step in steps][-1]
    done = Constants.TRADE_RETCODE_DONE
    return OrderSendResult(
        done, deal, order, request.volume, price, bid, ask, _COMMENTS[done], request_id, 0, request
    )


def _trades(steps: tuple[Step, ...]) -> bool:
    return isinstance(steps[0], Open | Increase | Reduce)


def _prices(request: TradeRequest, desk: Desk) -> Quote:
    if request.symbol not in desk.market.symbols:
        return Quote(0.0, 0.0)
    return desk.market.quote(request.symbol, desk.now)


def refused(request: TradeRequest, retcode: int, request_id: int) -> OrderSendResult:
    """The report on a request that nothing was done for."""
    return OrderSendResult(
        retcode, 0, 0, 0.0, 0.0, 0.0, 0.0, _COMMENTS[retcode], request_id, 0, request
    )
