"""That nothing is open is doubted where something was, or where the journal has not said so."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.secret import Secret
from mt5relay_worker.simulator import Book, Faults, SimulatedMetaTrader5
from mt5relay_worker.simulator.book import Account, Order, Server
from mt5relay_worker.terminal.journal import Journal
from mt5relay_worker.terminal.metatrader5 import MetaTrader5Adapter
from mt5relay_worker.terminal.protocol import Read
from mt5relay_worker.terminal.switching import SwitchLimits, VerifiedSwitch
from mt5relay_worker.terminal.synchronization import MOST_SILENCES

SYNC = SwitchLimits().sync
ORDERS_ONLY = Account(
    12, "Broker-Demo", "invented-12", orders=(Order("EURUSD", "buy_limit", 0.1, 1.05),)
)
NOTHING_OPEN = Account(13, "Broker-Demo", "invented-13")
BOOK = Book((Server("Broker-Demo"),), (ORDERS_ONLY, NOTHING_OPEN))


class Rig:
    """A switch on a simulated terminal whose faults change while it runs, in virtual time."""

    def __init__(self, folder: Path) -> None:
        self.seconds = 1_774_000_000.0
        self._faults = folder / "faults.json"
        self.has(Faults(scale=0))
        self.terminal = SimulatedMetaTrader5(
            BOOK,
            faults_file=self._faults,
            data_folder=folder / "data",
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
        self.logs = folder / "data" / "logs"

    def has(self, faults: Faults) -> None:
        replacement = self._faults.with_suffix(".new")
        replacement.write_bytes(msgspec.json.encode(faults))
        replacement.replace(self._faults)

    def listens(self) -> None:
        self.switch.follow(Journal(self.logs, now=self.local))

    def local(self) -> datetime:
        return datetime.fromtimestamp(self.seconds)  # noqa: DTZ006 - journals are in local time

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def orders(self, account: Account) -> tuple[str, str, float]:
        """Switch and read: what was found, how it is known, and after how many seconds."""
        began, who = self.seconds, AccountId(account.login, account.server)
        self.switch.switch(who, "fingerprint", Secret(account.password), 5_000)
        kind = self.switch.read(who, Read("orders")).kind
        return kind, self.switch.synchronized, self.seconds - began


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.mark.parametrize("seconds", [0.5, 4.0, None], ids=["soon", "late", "second login"])
def test_without_a_journal_orders_seen_before_are_not_forgotten(
    rig: Rig, seconds: float | None
) -> None:
    rig.orders(ORDERS_ONLY)
    rig.orders(NOTHING_OPEN)
    rig.has(Faults(scale=0, lists_empty_seconds=seconds))
    found, known, took = rig.orders(ORDERS_ONLY)
    assert (found, known) == ("value", "assumed")
    assert took == pytest.approx(SYNC if seconds is None else seconds, abs=0.2)


def test_without_a_journal_the_first_look_at_orders_alone_can_be_wrong(rig: Rig) -> None:
    """No figure of the account tells; the reply says `assumed`."""
    rig.has(Faults(scale=0, lists_empty_seconds=1.0))
    assert rig.orders(ORDERS_ONLY)[:2] == ("empty", "assumed")


def test_orders_that_went_away_are_believed_after_one_wait(rig: Rig) -> None:
    rig.orders(ORDERS_ONLY)
    rig.has(Faults(scale=0, lists_empty_seconds=2 * SYNC))
    assert rig.orders(ORDERS_ONLY)[0] == "empty"
    assert rig.orders(ORDERS_ONLY)[2] < 0.1


def test_what_is_closed_while_the_account_is_shown_is_not_missed_later(rig: Rig) -> None:
    rig.orders(ORDERS_ONLY)
    request = {"action": rig.terminal.TRADE_ACTION_REMOVE}
    for order in rig.terminal.orders_get() or ():
        rig.terminal.order_send({**request, "order": order.ticket})
    who = AccountId(ORDERS_ONLY.login, ORDERS_ONLY.server)
    assert rig.switch.read(who, Read("orders")).kind == "empty"
    rig.orders(NOTHING_OPEN)
    found, _, took = rig.orders(ORDERS_ONLY)
    assert found == "empty"
    assert took < 0.1


@pytest.mark.parametrize("delay", [0.1, 1.0, 4.0])
def test_a_late_journal_is_waited_for_each_time_where_nothing_is_open(
    rig: Rig, delay: float
) -> None:
    rig.listens()
    rig.has(Faults(scale=0, journal_delay_seconds=delay))
    for _ in range(MOST_SILENCES + 2):
        found, known, took = rig.orders(NOTHING_OPEN)
        assert (found, known) == ("empty", "confirmed")
        assert took == pytest.approx(delay, abs=0.1)


@pytest.mark.parametrize("seconds", [1.0, None], ids=["late", "second login"])
def test_a_journal_that_falls_silent_leaves_orders_alone_not_empty(
    rig: Rig, seconds: float | None
) -> None:
    rig.listens()
    rig.has(Faults(scale=0, journal_silent=True, lists_empty_seconds=seconds))
    assert rig.orders(ORDERS_ONLY)[:2] == ("value", "assumed")


def test_a_journal_that_never_speaks_is_not_waited_for_for_ever(rig: Rig) -> None:
    rig.listens()
    rig.has(Faults(scale=0, journal_silent=True))
    taken = [rig.orders(NOTHING_OPEN)[2] for _ in range(MOST_SILENCES + 2)]
    assert [took > SYNC for took in taken] == [True] * MOST_SILENCES + [False] * 2


def test_a_journal_that_speaks_again_is_waited_for_again(rig: Rig) -> None:
    rig.listens()
    rig.has(Faults(scale=0, journal_silent=True))
    for _ in range(MOST_SILENCES):
        rig.orders(NOTHING_OPEN)
    rig.has(Faults(scale=0))
    assert rig.orders(NOTHING_OPEN)[1] == "confirmed"
    rig.has(Faults(scale=0, journal_delay_seconds=2.0))
    assert rig.orders(NOTHING_OPEN)[1] == "confirmed"
