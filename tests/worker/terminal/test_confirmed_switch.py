"""The verified switch with a journal to listen to: what it confirms, assumes, and refuses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.secret import Secret
from mt5relay_worker.simulator import Book, Faults, SimulatedMetaTrader5
from mt5relay_worker.simulator.book import Account, Order, Position, Server
from mt5relay_worker.terminal.failure import NotReadyError, TerminalError
from mt5relay_worker.terminal.journal import Journal
from mt5relay_worker.terminal.metatrader5 import MetaTrader5Adapter
from mt5relay_worker.terminal.protocol import Read
from mt5relay_worker.terminal.switching import SwitchLimits, VerifiedSwitch

MORNING = datetime.fromisoformat("2026-03-25T09:30:00").timestamp()
MIDNIGHT = datetime.fromisoformat("2026-03-26T00:00:00").timestamp()

TRADER = Account(
    login=11,
    server="Broker-Demo",
    password="invented-11",
    positions=(Position("EURUSD", "buy", 0.1, 1.08), Position("GBPUSD", "sell", 0.1, 1.26)),
    orders=(Order("EURUSD", "buy_limit", 0.1, 1.05),),
)
ORDERS_ONLY = Account(
    login=12,
    server="Broker-Demo",
    password="invented-12",
    orders=(Order("EURUSD", "buy_limit", 0.1, 1.05),),
)
NOTHING_OPEN = Account(login=13, server="Broker-Demo", password="invented-13")
NAMESAKE = Account(login=11, server="Other-Live", password="invented-11-other")
BOOK = Book(
    (Server("Broker-Demo"), Server("Other-Live")), (TRADER, ORDERS_ONLY, NOTHING_OPEN, NAMESAKE)
)


class Rig:
    """A switch on a simulated terminal, in virtual time, with the terminal's own journal."""

    def __init__(self, folder: Path, faults: Faults, *, began: float = MORNING) -> None:
        self.seconds = began
        self.folder = folder
        self.terminal = SimulatedMetaTrader5(
            BOOK, faults=faults, data_folder=folder, clock=self.clock, sleep=self.sleep
        )
        self.terminal.initialize()
        adapter = MetaTrader5Adapter(self.terminal)
        self.switch = VerifiedSwitch(adapter, SwitchLimits(), clock=self.clock, sleep=self.sleep)
        self.switch.follow(Journal(folder / "logs", now=self.local))

    def clock(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def local(self) -> datetime:
        return datetime.fromtimestamp(self.seconds)  # noqa: DTZ006 - journals are in local time

    def log_in(self, account: Account, password: str | None = None) -> tuple[str, float]:
        """Switch, and tell how the lists are known and how many seconds it took."""
        began = self.seconds
        self.switch.switch(
            AccountId(account.login, account.server),
            "fingerprint",
            Secret(password or account.password),
            5_000,
        )
        return self.switch.synchronized, self.seconds - began

    def known(self) -> str:
        return self.switch.synchronized

    def write(self, account: Account, *said: str, seconds_ago: float = 0.0) -> None:
        """Lines that the simulated terminal does not write by itself."""
        logs = self.folder / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        at = self.local() - timedelta(seconds=seconds_ago)
        for words in said:
            text = f"AB\t0\t{at:%H:%M:%S}.000\tNetwork\t'{account.login}': {words}\r\n"
            with (logs / f"{at:%Y%m%d}.log").open("ab") as file:
                file.write(text.encode("utf-16-le"))


TWO_LOOKS = SwitchLimits().poll

MakeRig = Callable[..., Rig]


@pytest.fixture
def make_rig(tmp_path: Path) -> MakeRig:
    def make(began: float = MORNING, **faults: object) -> Rig:
        return Rig(tmp_path / "data", Faults(scale=0, **faults), began=began)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]

    return make


# Confirmed


@pytest.mark.parametrize("account", [TRADER, ORDERS_ONLY, NOTHING_OPEN])
def test_a_synchronization_that_the_journal_tells_of_is_confirmed_at_once(
    make_rig: MakeRig, account: Account
) -> None:
    assert make_rig().log_in(account) == ("confirmed", 0.0)


@pytest.mark.parametrize("account", [TRADER, ORDERS_ONLY])
def test_lists_that_come_late_are_waited_for_and_confirmed(
    make_rig: MakeRig, account: Account
) -> None:
    """Of orders alone nothing but the journal knows: no figure of the account shows them."""
    rig = make_rig(lists_empty_seconds=3.0)
    found, took = rig.log_in(account)
    assert found == "confirmed"
    assert took == pytest.approx(3.0, abs=0.1)
    orders = rig.switch.read(AccountId(account.login, account.server), Read("orders"))
    assert orders.kind == "value"


def test_every_login_is_confirmed_by_its_own_lines(make_rig: MakeRig) -> None:
    rig = make_rig(lists_empty_seconds=2.0)
    for account in (TRADER, NOTHING_OPEN, TRADER, NAMESAKE, TRADER):
        found, took = rig.log_in(account)
        assert found == "confirmed"
        assert took == pytest.approx(2.0, abs=0.1)


def test_a_login_across_midnight_is_confirmed(make_rig: MakeRig) -> None:
    rig = make_rig(began=MIDNIGHT - 1.0, lists_empty_seconds=2.0)
    assert rig.log_in(TRADER)[0] == "confirmed"
    names = sorted(path.name for path in (rig.folder / "logs").iterdir())
    assert names == ["20260325.log", "20260326.log"]


def test_the_second_login_is_listened_to_where_the_first_did_not_take_effect(
    make_rig: MakeRig,
) -> None:
    rig = make_rig(stale_login_probability=1.0, stale_login_seconds=1.0)
    assert rig.log_in(TRADER)[0] == "confirmed"


# Assumed


def test_without_a_journal_it_is_assumed_and_costs_no_more_than_two_looks(
    make_rig: MakeRig,
) -> None:
    rig = make_rig()
    rig.switch.follow(None)
    found, took = rig.log_in(TRADER)
    assert found == "assumed"
    assert took == pytest.approx(TWO_LOOKS)


def test_a_journal_in_an_empty_folder_costs_nothing_either(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    rig = make_rig()
    rig.switch.follow(Journal(tmp_path / "nowhere", now=rig.local))
    found, took = rig.log_in(TRADER)
    assert found == "assumed"
    assert took == pytest.approx(TWO_LOOKS)


def test_a_journal_that_is_written_late_costs_one_wait_at_most(make_rig: MakeRig) -> None:
    rig = make_rig(journal_delay_seconds=30.0)
    taken: list[float] = []
    for account in (TRADER, NOTHING_OPEN, ORDERS_ONLY, TRADER):
        found, took = rig.log_in(account)
        assert found == "assumed"
        taken.append(took)
    assert sum(taken) < SwitchLimits().sync + 1.0


# Lines that are not of this login, or do not fit


class TalkingTerminal(SimulatedMetaTrader5):
    """Its journal says at each login what it was told to say."""

    def __init__(self, rig: Rig, words: tuple[str, ...], seconds_ago: float) -> None:
        super().__init__(BOOK, faults=Faults(scale=0), clock=rig.clock, sleep=rig.sleep)
        self._rig = rig
        self._words = words
        self._seconds_ago = seconds_ago

    def login(self, /, *args: object, **kwargs: object) -> bool:
        done = super().login(*args, **kwargs)
        who = next(account for account in BOOK.accounts if account.login in args)
        self._rig.write(who, *self._words, seconds_ago=self._seconds_ago)
        return bool(done)


def claiming(make_rig: MakeRig, *words: str, seconds_ago: float = 0.0) -> Rig:
    rig = make_rig()
    terminal = TalkingTerminal(rig, words, seconds_ago)
    terminal.initialize()
    rig.switch = VerifiedSwitch(
        MetaTrader5Adapter(terminal), SwitchLimits(), clock=rig.clock, sleep=rig.sleep
    )
    rig.switch.follow(Journal(rig.folder / "logs", now=rig.local))
    return rig


LET_IN = "authorized on Broker-Demo through Access Point EU 0"
ALL_THERE = "terminal synchronized with Broker: 2 positions, 1 orders, 8 symbols"


def test_lines_of_this_login_confirm_it(make_rig: MakeRig) -> None:
    """What the tests below change one thing of."""
    assert claiming(make_rig, LET_IN, ALL_THERE).log_in(TRADER)[0] == "confirmed"


def test_lines_of_an_earlier_login_that_come_late_do_not_confirm_this_one(
    make_rig: MakeRig,
) -> None:
    rig = claiming(make_rig, LET_IN, ALL_THERE, seconds_ago=1.0)
    assert rig.log_in(TRADER)[0] == "assumed"


def test_lines_of_the_same_login_at_another_server_confirm_nothing(make_rig: MakeRig) -> None:
    rig = claiming(make_rig, "authorized on Other-Live through Access Point EU 0", ALL_THERE)
    assert rig.log_in(TRADER)[0] == "assumed"


def test_counts_without_an_authorization_confirm_nothing(make_rig: MakeRig) -> None:
    assert claiming(make_rig, ALL_THERE).log_in(TRADER)[0] == "assumed"


@pytest.mark.parametrize("counts", ["3 positions, 1 orders", "1 positions, 1 orders"])
def test_counts_that_disagree_are_never_called_confirmed(make_rig: MakeRig, counts: str) -> None:
    """A trade during the login does that."""
    rig = claiming(make_rig, LET_IN, f"terminal synchronized with Broker: {counts}, 8 symbols")
    assert rig.log_in(TRADER)[0] == "assumed"


def test_a_synchronization_without_counts_is_not_confirmed_and_not_waited_for(
    make_rig: MakeRig,
) -> None:
    rig = claiming(make_rig, LET_IN, "terminal synchronized with Broker Ltd.")
    found, took = rig.log_in(TRADER)
    assert found == "assumed"
    assert took == pytest.approx(TWO_LOOKS)


@pytest.mark.parametrize("counts", ["0 positions, 2 orders", "4 positions, 0 orders"])
def test_an_empty_list_that_the_journal_counted_some_in_is_an_error_never_none(
    make_rig: MakeRig, counts: str
) -> None:
    rig = claiming(make_rig, LET_IN, f"terminal synchronized with Broker: {counts}, 8 symbols")
    with pytest.raises(NotReadyError):
        rig.log_in(NOTHING_OPEN)


# Refused


def test_a_wrong_password_is_named_as_such(make_rig: MakeRig) -> None:
    rig = make_rig()
    with pytest.raises(TerminalError, match="no such login with this password") as refused:
        rig.log_in(TRADER, password="wrong-and-secret")
    assert (refused.value.code, refused.value.mt5) == (
        "MT5_AUTH_FAILED",
        (-6, "Terminal: Authorization failed"),
    )
    assert "secret" not in refused.value.message


def test_a_throttling_server_is_not_taken_for_a_wrong_password(make_rig: MakeRig) -> None:
    rig = make_rig(throttle_logins_per_minute=1)
    rig.log_in(TRADER)
    with pytest.raises(TerminalError) as refused:
        rig.log_in(NOTHING_OPEN)
    assert refused.value.code == "BROKER_UNAVAILABLE"
    assert "Service is not available" in refused.value.message
    assert "password" not in refused.value.message


def test_of_a_server_that_the_terminal_does_not_know_nothing_is_claimed(make_rig: MakeRig) -> None:
    stranger = Account(login=11, server="Unknown-Live", password="invented")
    with pytest.raises(TerminalError) as refused:
        make_rig().log_in(stranger)
    assert refused.value.message == "login to 11@Unknown-Live: authorization refused"


def test_without_a_journal_a_refused_login_is_not_slowed(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.switch.follow(None)
    with pytest.raises(TerminalError) as refused:
        rig.log_in(TRADER, password="wrong")
    assert refused.value.message == "login to 11@Broker-Demo: authorization refused"
    assert rig.seconds == MORNING


# Afterwards


def test_what_a_login_found_stays_until_the_next(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.log_in(TRADER)
    rig.sleep(500)
    assert rig.known() == "confirmed"
    rig.switch.follow(None)
    rig.log_in(NOTHING_OPEN)
    assert rig.known() == "assumed"


def test_after_a_restart_nothing_is_confirmed(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.log_in(TRADER)
    rig.switch.forget()
    assert rig.known() == "assumed"


def test_a_login_that_never_became_consistent_is_not_ready(make_rig: MakeRig) -> None:
    rig = make_rig(lists_empty_seconds=60.0)
    with pytest.raises(NotReadyError):
        rig.log_in(TRADER)
    assert rig.known() == "assumed"
