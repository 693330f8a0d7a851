"""A history is believed when it explains the account, or holds still for as long as one waits."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.worker.conftest import record

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.records import AccountInfo, TradeDeal, TradePosition
from mt5relay_shared.secret import Secret
from mt5relay_worker.simulator import Book, Faults, SimulatedMetaTrader5
from mt5relay_worker.simulator.book import Account, Position, Server
from mt5relay_worker.terminal.history import NO_GAP, Gap, find_gap
from mt5relay_worker.terminal.metatrader5 import MetaTrader5Adapter
from mt5relay_worker.terminal.protocol import Read
from mt5relay_worker.terminal.switching import SwitchLimits, VerifiedSwitch

BUY, SELL, BALANCE, CREDIT = 0, 1, 2, 3
ALL_TIME = {"from_ms": 0, "to_ms": 2**31 * 1000 - 1}


def info(balance: float) -> AccountInfo:
    return record(AccountInfo, balance=balance, currency_digits=2)


def deal(kind: int, **fields: Any) -> TradeDeal:
    return record(TradeDeal, type=kind, **fields)


def held(identifier: int, kind: int, volume: float) -> TradePosition:
    return record(TradePosition, identifier=identifier, type=kind, volume=volume)


DEPOSIT = deal(BALANCE, profit=1_000.0)
TRADE = [
    deal(BUY, position_id=7, volume=0.3, commission=-1.0),
    deal(SELL, position_id=7, volume=0.3, profit=50.0, swap=-0.5, fee=-0.25),
]


def test_deals_that_add_up_to_the_balance_and_the_positions_leave_no_gap() -> None:
    opened = deal(SELL, position_id=8, volume=0.2)
    found = find_gap(info(1_048.25), [held(8, SELL, 0.2)], [DEPOSIT, *TRADE, opened])
    assert found == NO_GAP


@pytest.mark.parametrize(
    ("balance", "positions", "deals", "gap"),
    [
        (1_000.0, [], [], Gap(1_000.0)),
        (1_048.25, [], [DEPOSIT, TRADE[0]], Gap(49.25, frozenset({(7, -0.3)}))),
        # an opening costs nothing: only the position tells that it is missing
        (1_000.0, [held(8, BUY, 0.2)], [DEPOSIT], Gap(0.0, frozenset({(8, 0.2)}))),
        (1_000.0, [held(8, BUY, 0.2)], [DEPOSIT, deal(BUY, position_id=8, volume=0.1)],
         Gap(0.0, frozenset({(8, 0.1)}))),
        (1_000.0, [], [DEPOSIT, deal(CREDIT, profit=500.0)], NO_GAP),
    ],
)  # fmt: skip
def test_what_is_missing_is_a_gap(
    balance: float, positions: list[TradePosition], deals: list[TradeDeal], gap: Gap
) -> None:
    assert find_gap(info(balance), positions, deals) == gap


# On a simulated terminal, in virtual time

TRADER = Account(
    11, "Broker-Demo", "invented-11", positions=(Position("EURUSD", "buy", 0.1, 1.08),)
)
ACCOUNT = AccountId(11, "Broker-Demo")


class Rig:
    def __init__(self, binding: type[SimulatedMetaTrader5], **faults: Any) -> None:
        self.seconds = 1_774_000_000.0
        self.terminal = binding(
            Book((Server("Broker-Demo"),), (TRADER,)),
            faults=Faults(scale=0, **faults),
            clock=lambda: self.seconds,
            sleep=self.sleep,
        )
        self.terminal.initialize()
        self.switch = VerifiedSwitch(
            MetaTrader5Adapter(self.terminal),
            SwitchLimits(),
            clock=lambda: self.seconds,
            sleep=self.sleep,
        )

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def deals(self) -> tuple[str, int, float]:
        """Log in and read all deals: what became of it, how many, after how many seconds."""
        began = self.seconds
        self.switch.switch(ACCOUNT, "fingerprint", Secret(TRADER.password), 5_000)
        result = self.switch.read(ACCOUNT, Read("deals", ALL_TIME))
        found = msgspec.json.decode(result.data or b"[]", type=list[Any])
        return result.kind, len(found), self.seconds - began


class Archived(SimulatedMetaTrader5):
    """Its broker has cut off the oldest deals."""

    def history_deals_total(self, /, *args: object, **kwargs: object) -> int | None:
        found = super().history_deals_total(*args, **kwargs)
        return None if found is None else max(0, int(found) - 2)

    def history_deals_get(self, /, *args: object, **kwargs: object) -> Any:
        return (super().history_deals_get(*args, **kwargs) or ())[2:]


WHOLE = Rig(SimulatedMetaTrader5).deals()[1]


@pytest.mark.parametrize("seconds", [0.5, 2.0, 4.9])
def test_a_history_that_grows_slower_than_one_looks_is_never_read_short(seconds: float) -> None:
    kind, found, took = Rig(SimulatedMetaTrader5, history_short_seconds=seconds).deals()
    assert (kind, found) == ("value", WHOLE)
    assert took == pytest.approx(seconds, abs=0.1)


def test_a_history_that_still_grows_in_the_end_is_not_ready() -> None:
    assert Rig(SimulatedMetaTrader5, history_short_seconds=30.0).deals()[:2] == ("not_ready", 0)


def test_a_whole_history_is_not_waited_for() -> None:
    assert Rig(SimulatedMetaTrader5).deals()[2] < 0.1


def test_a_history_that_its_broker_cut_off_costs_one_wait_and_no_second() -> None:
    rig = Rig(Archived)
    kind, found, took = rig.deals()
    assert (kind, found) == ("value", WHOLE - 2)
    assert took >= SwitchLimits().sync
    kind, found, took = rig.deals()
    assert (kind, found) == ("value", WHOLE - 2)
    assert took < 0.1


class NothingLoaded(SimulatedMetaTrader5):
    """It has not begun to load the history, and answers as if there were none."""

    def history_deals_total(self, /, *args: object, **kwargs: object) -> int | None:
        return 0

    def history_deals_get(self, /, *args: object, **kwargs: object) -> Any:
        return ()


class DiesMeanwhile(SimulatedMetaTrader5):
    """Has loaded two deals, then answers no more."""

    looks = 0

    def history_deals_total(self, /, *args: object, **kwargs: object) -> int | None:
        self.looks += 1
        return 2 if self.looks == 1 else None

    def history_deals_get(self, /, *args: object, **kwargs: object) -> Any:
        return (super().history_deals_get(*args, **kwargs) or ())[:2]


@pytest.mark.parametrize("binding", [NothingLoaded, DiesMeanwhile], ids=lambda one: one.__name__)
def test_a_history_that_does_not_come_is_not_ready_however_often_one_asks(
    binding: type[SimulatedMetaTrader5],
) -> None:
    rig = Rig(binding)
    for _ in range(3):
        assert rig.deals()[:2] == ("not_ready", 0)


class Long(SimulatedMetaTrader5):
    """Says that it has very many deals, at first more with each look."""

    totals: tuple[int, ...] = (30_000, 40_000, 50_000, 50_000)
    looks = 0

    def history_deals_total(self, /, *args: object, **kwargs: object) -> int | None:
        self.looks += 1
        return self.totals[min(self.looks, len(self.totals)) - 1]


class Longer(Long):
    """Never stops loading."""

    totals = tuple(range(30_000, 31_000))


def test_a_history_that_is_too_long_to_add_up_is_counted_until_it_holds_still() -> None:
    kind, _, took = Rig(Long).deals()
    assert kind == "value"
    assert took < 0.2
    assert Rig(Longer).deals()[0] == "not_ready"
