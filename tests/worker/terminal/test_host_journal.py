"""What a visit tells of the journal and of the server's clock, on a simulated terminal."""

from __future__ import annotations

import ntpath
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.envelopes import SealingKey, envelope_fingerprint
from mt5relay_shared.sealing import public_part, seal
from mt5relay_shared.secret import Secret
from mt5relay_worker.key_file import write_private_key
from mt5relay_worker.key_ring import KeyRing
from mt5relay_worker.settings import WorkerSettings
from mt5relay_worker.simulator import Book, Faults, SimulatedMetaTrader5, dump_book
from mt5relay_worker.simulator.book import Account, Position, Server
from mt5relay_worker.terminal.host import TerminalHost, make_binding, make_host, no_journal
from mt5relay_worker.terminal.journal import Journal, open_journal
from mt5relay_worker.terminal.metatrader5 import MetaTrader5Adapter
from mt5relay_worker.terminal.protocol import (
    Failed,
    Initialize,
    Initialized,
    Probe,
    Read,
    Visit,
    Visited,
)
from mt5relay_worker.terminal.switching import SwitchLimits, VerifiedSwitch
from mt5relay_worker.terminal.tick_watch import TickWatch
from mt5relay_worker.terminal.vault import Vault

KEY = X25519PrivateKey.generate()
BOOK = Book(
    (Server("Broker-Demo", utc_offset_hours=3), Server("India-Live", utc_offset_hours=5.5)),
    (
        Account(11, "Broker-Demo", "invented-11", positions=(Position("EURUSD", "buy", 0.1),)),
        Account(12, "Broker-Demo", "invented-12"),
        Account(21, "India-Live", "invented-21"),
    ),
)
ALICE, BOB, CAROL = BOOK.accounts


class Utc:
    """The time; moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1_760_000_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def make(
    utc: Utc,
    data_folder: Path | None = None,
    find_journal: Callable[[str], Journal | None] = open_journal,
    **faults: Any,
) -> TerminalHost:
    """A host that is attached to a simulated terminal; journals run on real time."""
    options: dict[str, Any] = {"data_folder": data_folder}
    if data_folder is None:
        options = {"clock": utc, "sleep": utc.sleep}
    adapter = MetaTrader5Adapter(
        SimulatedMetaTrader5(BOOK, faults=Faults(scale=0, **faults), **options)
    )
    host = TerminalHost(
        adapter,
        VerifiedSwitch(adapter, SwitchLimits()),
        Vault(KeyRing([KEY])),
        None,
        find_journal=find_journal,
        ticks=TickWatch(adapter, utc=utc),
    )
    assert isinstance(host.handle(Initialize(1_000)), Initialized)
    return host


def visit_to(
    account: Account, *reads: Read, password: str | None = None, key: SealingKey | None = None
) -> Visit:
    identity = AccountId(account.login, account.server)
    sealed = seal(Secret(password or account.password), identity, key or public_part(KEY), 0)
    return Visit(
        login=account.login,
        server=account.server,
        fingerprint=envelope_fingerprint(sealed),
        envelope=sealed,
        timeout_ms=60_000,
        reads=list(reads),
    )


def visited(host: TerminalHost, visit: Visit) -> Visited:
    answer = host.handle(visit)
    assert isinstance(answer, Visited)
    return answer


@pytest.fixture
def utc() -> Utc:
    return Utc()


# The journal


def test_a_visit_says_confirmed_where_the_journal_did_and_so_does_the_next(
    utc: Utc, tmp_path: Path
) -> None:
    host, visit = make(utc, tmp_path), visit_to(ALICE, Read("positions"))
    first, second = visited(host, visit), visited(host, visit)
    assert (first.switched, first.synchronized) == (True, "confirmed")
    assert (second.switched, second.synchronized) == (False, "confirmed")


def test_a_worker_that_is_told_to_leave_the_journal_alone_assumes(utc: Utc, tmp_path: Path) -> None:
    host = make(utc, tmp_path, find_journal=no_journal)
    assert visited(host, visit_to(ALICE, Read("positions"))).synchronized == "assumed"


def test_a_terminal_without_a_readable_folder_is_visited_all_the_same(utc: Utc) -> None:
    assert visited(make(utc), visit_to(ALICE, Read("positions"))).synchronized == "assumed"


def test_a_refused_visit_says_what_the_journal_says(utc: Utc, tmp_path: Path) -> None:
    answer = make(utc, tmp_path).handle(visit_to(ALICE, password="planted-secret"))
    assert isinstance(answer, Failed)
    assert answer.code == "MT5_AUTH_FAILED"
    assert "Invalid account" in answer.message
    assert "planted" not in answer.message


@pytest.mark.parametrize(("journal", "found"), [("auto", "confirmed"), ("off", "assumed")])
def test_the_settings_decide(tmp_path: Path, journal: Any, found: str) -> None:
    book, faults, key_file = (tmp_path / name for name in ("book.json", "faults.json", "key"))
    dump_book(BOOK, book)
    faults.write_text('{"scale": 0}')
    key = write_private_key(key_file)
    options = WorkerSettings(
        terminal="simulated",
        journal=journal,
        simulator_book=book,
        simulator_faults=faults,
        simulator_data=tmp_path / "data",
        private_key_file=key_file,
    ).terminal_options
    host, _ = make_host(options, make_binding(options))
    host.handle(Initialize(1_000))
    assert visited(host, visit_to(ALICE, key=key)).synchronized == found


# The server's clock


def looks(host: TerminalHost, utc: Utc, account: Account, times: int = 4) -> int | None:
    """Visit an account again and again, half a minute apart."""
    found: int | None = None
    for _ in range(times):
        found = visited(host, visit_to(account)).server_utc_offset
        utc.now += 30
    return found


@pytest.mark.parametrize(("account", "hours"), [(BOB, 3), (CAROL, 5.5)])
def test_visits_find_out_the_servers_offset(utc: Utc, account: Account, hours: float) -> None:
    assert looks(make(utc), utc, account) == hours * 3600


def test_one_visit_is_not_enough(utc: Utc) -> None:
    assert looks(make(utc), utc, BOB, times=1) is None


def test_each_server_has_its_own_offset_and_keeps_it(utc: Utc) -> None:
    host = make(utc)
    looks(host, utc, BOB)
    assert visited(host, visit_to(CAROL)).server_utc_offset is None
    assert looks(host, utc, CAROL) == 5.5 * 3600
    assert visited(host, visit_to(BOB)).server_utc_offset == 3 * 3600


@pytest.mark.parametrize("closed_for", [0.0, 1_800.0, 3_600.0, 2 * 86_400.0])
def test_a_closed_market_tells_nothing(utc: Utc, closed_for: float) -> None:
    host = make(utc, market_closed=True)
    utc.now += closed_for
    assert looks(host, utc, BOB, times=60) is None


def test_probes_of_an_idle_terminal_look_too(utc: Utc) -> None:
    host = make(utc)
    host.handle(visit_to(BOB))
    for _ in range(3):
        utc.now += 30
        host.handle(Probe())
    assert visited(host, visit_to(BOB)).server_utc_offset == 3 * 3600


def test_ticks_are_not_put_down_to_a_server_that_was_left_meanwhile(utc: Utc) -> None:
    terminal = SimulatedMetaTrader5(BOOK, faults=Faults(scale=0), clock=utc, sleep=utc.sleep)
    terminal.initialize()
    terminal.login(BOB.login, password=BOB.password, server=BOB.server)
    ticks = TickWatch(MetaTrader5Adapter(terminal), utc=utc)
    for _ in range(5):
        utc.now += 30
        ticks.look(AccountId(CAROL.login, CAROL.server))
        ticks.look(AccountId(BOB.login, BOB.server))
    assert ticks.offset(CAROL.server) is None
    assert ticks.offset(BOB.server) == 3 * 3600


def test_a_look_that_fails_costs_no_visit(utc: Utc) -> None:
    class Broken(SimulatedMetaTrader5):
        def symbol_info_tick(self, /, *args: object, **kwargs: object) -> None:
            raise SystemError("<built-in function symbol_info_tick> returned a result")

    adapter = MetaTrader5Adapter(Broken(BOOK, faults=Faults(scale=0)))
    ticks = TickWatch(adapter, utc=utc)
    host = TerminalHost(
        adapter, VerifiedSwitch(adapter, SwitchLimits()), Vault(KeyRing([KEY])), None, ticks=ticks
    )
    host.handle(Initialize(1_000))
    assert visited(host, visit_to(BOB, Read("positions"))).results[0].kind == "empty"


def test_a_windows_path_in_a_simulation_is_nobodys_data_folder() -> None:
    assert open_journal(ntpath.join("C:\\nowhere", "MetaTrader 5")) is None
