"""Whether an account's history is all there.

After a login the terminal loads it bit by bit, and holds still in between. What tells is that a
whole history explains the account: its deals add up to the balance, and what they bought and sold
to the open positions. A broker that cut off old deals leaves a gap, always the same one.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.records import AccountInfo, TradeDeal, TradePosition
from mt5relay_worker.terminal.failure import IdentityError, NotReadyError
from mt5relay_worker.terminal.looks import Looks
from mt5relay_worker.terminal.metatrader5 import MetaTrader5Adapter

MOST_ADDED_UP = 20_000
"""Deals of a longer history are only counted: reading them takes as long as loading them."""
REMEMBERED = 1_000  # accounts
_BUY, _SELL, _CREDIT = 0, 1, 3  # DEAL_TYPE_..., POSITION_TYPE_...


@dataclass(frozen=True, slots=True)
class Gap:
    """What a history does not explain. Money in the account's currency, volumes in lots by
    position, bought less sold."""

    money: float = 0.0
    volumes: frozenset[tuple[int, float]] = frozenset()


NO_GAP = Gap()


def find_gap(
    info: AccountInfo, positions: Iterable[TradePosition], deals: Iterable[TradeDeal]
) -> Gap:
    """Compare what the account has with what its deals say that it must have."""
    money = info.balance
    volumes: defaultdict[int, float] = defaultdict(float)
    for held in positions:
        volumes[held.identifier] += held.volume if held.type == _BUY else -held.volume
    for deal in deals:
        if deal.type != _CREDIT:
            money -= deal.profit + deal.swap + deal.commission + deal.fee
        if deal.type in (_BUY, _SELL):
            volumes[deal.position_id] -= deal.volume if deal.type == _BUY else -deal.volume
    open_ends = {(ticket, round(volume, 6)) for ticket, volume in volumes.items()}
    return Gap(
        round(money, info.currency_digits) + 0.0,
        frozenset((ticket, volume) for ticket, volume in open_ends if volume != 0),
    )


class HistoryWait:
    """Waits for histories, and remembers which accounts have a gap for good."""

    def __init__(self, terminal: MetaTrader5Adapter, looks: Looks, limit: float) -> None:
        self._terminal = terminal
        self._looks = looks
        self._limit = limit
        self._gaps: OrderedDict[AccountId, Gap] = OrderedDict()

    def wait(self, account: AccountId) -> None:
        """Wait until the history explains the account, or has held still all the time.

        Raises:
            NotReadyError: neither within the limit.
            IdentityError: somebody else is logged in.
        """
        look = _Look(self._terminal, account, self._gaps.get(account))
        if not self._looks.until(self._limit, look.is_convincing) and not look.held_still:
            raise NotReadyError(f"{account}: the history was not loaded in time")
        self._gaps[account] = look.gap
        self._gaps.move_to_end(account)
        if len(self._gaps) > REMEMBERED:
            self._gaps.popitem(last=False)


class _Look:
    """Looks at one account's history until it is convinced."""

    def __init__(self, terminal: MetaTrader5Adapter, account: AccountId, known: Gap | None) -> None:
        self.gap = NO_GAP
        self._terminal = terminal
        self._account = account
        self._known = known
        self._total: int | None = None
        self._changes = 0  # of the gap, and moments without an answer

    @property
    def held_still(self) -> bool:
        """Whether every look so far was answered, and always alike. That there is nothing at all is
        not believed of an account that has something."""
        has_any = bool(self._total) or self.gap == NO_GAP
        return self._total is not None and self._changes == 0 and has_any

    def is_convincing(self) -> bool:
        before, total = self._total, self._terminal.deals_total()
        if total is None:
            self._changes += 1
            return False
        if total > MOST_ADDED_UP:
            self._changes += before not in (None, total)
            self._total = total
            return total == before
        if total == before:
            return False  # nothing has happened since the last look
        self._changes += 1  # until the terminal has answered
        gap = self._find_gap()
        self._changes -= before is None or gap == self.gap
        self.gap, self._total = gap, total
        return gap in (NO_GAP, self._known) if total > 0 else gap == self._known == NO_GAP

    def _find_gap(self) -> Gap:
        info = self._terminal.account_info()
        if (info.login, info.server) != (self._account.login, self._account.server):
            raise IdentityError(f"the terminal is no longer logged in to {self._account}")
        return find_gap(info, self._terminal.positions(), self._terminal.all_deals())
