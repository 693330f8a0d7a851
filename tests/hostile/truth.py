"""What is true of every account of a hostile run, and how an answer compares with it.

The truth is told by a simulated terminal without faults, from the same book: its records are those
of the terminal under test, to the ticket. Prices move, so that only what stands still is compared.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Literal

from tests.leaks.planted import planted

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.operations import Operation
from mt5relay_shared.records import AccountInfo
from mt5relay_worker.simulator import Book, Faults, SimulatedMetaTrader5
from mt5relay_worker.simulator.book import DEFAULT_SYMBOLS, Account, Order, Position, Server

SERVERS = ("Alpha-Demo", "Alpha-Live", "Beta-Demo", "Gamma-Live")
LOGINS_FROM = 910_001
TWINS = 4  # so many logins are there twice, on two servers
HALF_A_CENT = 0.005
ROUNDING = 0.011  # money is in cents, and a sum of three may be one off
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Facts = tuple[Any, ...]


class Flaw(Enum):
    """What an answer that claims to be good must never be."""

    FOREIGN = "another account's data"
    MISSING = "empty or short although there is more"
    IMPOSSIBLE = "figures that do not add up"


@dataclass(frozen=True)
class Truth:
    """What stands still of one account. Deals and past orders come with their broker time."""

    info: AccountInfo
    positions: frozenset[Facts]
    orders: frozenset[Facts]
    deals: Mapping[Facts, int]
    past_orders: Mapping[Facts, int]

    def of(self, operation: Operation, since: int) -> frozenset[Facts]:
        """What a list must hold; of a history, from `since` (broker seconds) on."""
        match operation:
            case Operation.POSITIONS:
                return self.positions
            case Operation.ORDERS:
                return self.orders
            case Operation.DEALS:
                return frozenset(fact for fact, at in self.deals.items() if at >= since)
            case _:
                return frozenset(fact for fact, at in self.past_orders.items() if at >= since)


def make_book(accounts: int = 50) -> Book:
    """Accounts that are told apart by everything they hold.

    By turns: positions, both, pending orders alone, nothing open, positions on credit alone. The
    last few have the logins of the first few, on another server.
    """
    return Book(
        tuple(Server(name, f"{name} Ltd.", 2.0 + index) for index, name in enumerate(SERVERS)),
        tuple(_account(index, accounts) for index in range(accounts)),
    )


def _account(index: int, accounts: int) -> Account:
    rng = random.Random(index)
    login = LOGINS_FROM + index - (accounts - TWINS if index >= accounts - TWINS else 0)
    kind, number = index % 5, index + 1
    positions = tuple(_position(number, part) for part in range(1 + rng.randrange(4)))
    orders = tuple(_order(number, part) for part in range(1 + rng.randrange(6)))
    return Account(
        login=login,
        server=SERVERS[(index + index // len(SERVERS)) % len(SERVERS)],
        password=planted(f"{number}"),
        name=f"Trader {number}",
        balance=0.0 if kind == 4 else 20_000.0 + number * 100 + number / 100,
        credit=5_000.0 + number if kind == 4 else 0.0,
        leverage=100,
        positions=positions if kind in (0, 1, 4) else (),
        orders=orders if kind in (1, 2) else (),
    )


def _position(number: int, part: int) -> Position:
    symbol = DEFAULT_SYMBOLS[(number + part) % 3].name
    side: Literal["buy", "sell"] = "buy" if part % 2 else "sell"
    return Position(symbol, side, (number + part * 100) / 1_000, magic=number)


def _order(number: int, part: int) -> Order:
    return Order("EURUSD", "buy_limit", (number + part * 100) / 1_000, 0.9, magic=number)


class Oracle:
    """Knows the truth of each day: the past of simulated accounts hangs on midnight, UTC."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._days: dict[datetime, dict[AccountId, Truth]] = {}

    def look(self) -> None:
        """Learn today's truth; call it at least once a day."""
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        if midnight not in self._days:
            self._days[midnight] = _truths(self._book, midnight + timedelta(hours=1))

    def history_since(self, days: int) -> datetime:
        """So many days before the first midnight, on any server's clock."""
        return min(self._days) - timedelta(days=days)

    def judge(
        self, account: AccountId, operation: Operation, data: Any, since: datetime
    ) -> tuple[Flaw, str] | None:
        """Say what is wrong with an answer; None where it is as it must be."""
        flaws = [
            judge(truths, account, operation, data, (since - _EPOCH) // timedelta(seconds=1))
            for truths in self._days.values()
        ]
        return None if None in flaws else flaws[-1]

    def is_flat_of_positions(self, account: AccountId) -> bool:
        """Whether no figure of the account tells that something is open."""
        return all(not truths[account].positions for truths in self._days.values())


def _truths(book: Book, moment: datetime) -> dict[AccountId, Truth]:
    seconds = moment.timestamp()
    terminal = SimulatedMetaTrader5(
        book, faults=Faults(scale=0), clock=lambda: seconds, sleep=lambda _: None
    )
    assert terminal.initialize()
    found: dict[AccountId, Truth] = {}
    for account in book.accounts:
        assert terminal.login(account.login, password=account.password, server=account.server)
        found[AccountId(account.login, account.server)] = _truth(terminal)
    return found


def _truth(terminal: SimulatedMetaTrader5) -> Truth:
    info = terminal.account_info()
    positions, orders = terminal.positions_get(), terminal.orders_get()
    deals, past = (
        terminal.history_deals_get(0, 2**31 - 1),
        terminal.history_orders_get(0, 2**31 - 1),
    )
    assert info is not None
    assert positions is not None
    assert orders is not None
    assert deals is not None
    assert past is not None
    return Truth(
        info=AccountInfo(**info._asdict()),
        positions=frozenset(map(_of_position, positions)),
        orders=frozenset(map(_of_order, orders)),
        deals={_of_deal(deal): deal.time for deal in deals},
        past_orders={_of_order(order): order.time_done for order in past},
    )


def judge(
    truths: Mapping[AccountId, Truth],
    account: AccountId,
    operation: Operation,
    data: Any,
    since: int = 0,
) -> tuple[Flaw, str] | None:
    """Compare an answer with the truth. `since` is the start of a history in broker seconds."""
    if isinstance(data, AccountInfo):
        return _judge_info(truths, account, data)
    if operation not in _FACTS:
        return None
    found = {_FACTS[operation](record) for record in data}
    expected = truths[account].of(operation, since)
    if strange := found - expected:
        whose = [
            str(other)
            for other, truth in truths.items()
            if other != account and strange & truth.of(operation, 0)
        ]
        return Flaw.FOREIGN, f"{len(strange)} records of {whose or 'nobody'}"
    if missing := expected - found:
        return Flaw.MISSING, f"{len(missing)} of {len(expected)} are missing"
    if len(data) != len(found):
        return Flaw.IMPOSSIBLE, f"{len(data)} records, {len(found)} different"
    return None


def _judge_info(
    truths: Mapping[AccountId, Truth], account: AccountId, info: AccountInfo
) -> tuple[Flaw, str] | None:
    expected = truths[account].info
    identity = ("login", "server", "name", "company", "balance", "credit")
    for name in identity:
        if getattr(info, name) != getattr(expected, name):
            return Flaw.FOREIGN, f"{name} is {getattr(info, name)}, not {getattr(expected, name)}"
    for why in _impossible(info, expected):
        return Flaw.IMPOSSIBLE, why
    return None


def _impossible(info: AccountInfo, expected: AccountInfo) -> Iterable[str]:
    if abs(info.margin - expected.margin) > HALF_A_CENT:
        yield f"margin is {info.margin}, not {expected.margin}"
    if abs(info.equity - (info.balance + info.credit + info.profit)) > ROUNDING:
        yield f"equity is {info.equity}, the sum is {info.balance + info.credit + info.profit}"
    if abs(info.margin_free - (info.equity - info.margin)) > ROUNDING:
        yield f"free margin is {info.margin_free}, the rest is {info.equity - info.margin}"
    if info.margin == 0 and info.profit != 0:
        yield f"profit is {info.profit} without any margin"


def _of_position(held: Any) -> Facts:
    return (held.ticket, held.symbol, held.type, held.volume, held.price_open, held.magic)


def _of_order(order: Any) -> Facts:
    return (
        *(order.ticket, order.symbol, order.type, order.volume_initial, order.price_open),
        *(order.magic, order.state),
    )


def _of_deal(deal: Any) -> Facts:
    return (deal.ticket, deal.order, deal.symbol, deal.type, deal.volume, deal.price, deal.profit)


_FACTS: dict[Operation, Callable[[Any], Facts]] = {
    Operation.POSITIONS: _of_position,
    Operation.ORDERS: _of_order,
    Operation.DEALS: _of_deal,
    Operation.HISTORY_ORDERS: _of_order,
}
