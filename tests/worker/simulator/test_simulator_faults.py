"""Every fault can be switched on, and is off by default."""

from __future__ import annotations

import os
import statistics
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from mt5relay_worker.simulator import (
    Book,
    Faults,
    FaultsError,
    LogNormal,
    SimulatedMetaTrader5,
    load_faults,
)
from mt5relay_worker.simulator.book import Account

MakeTerminal = Callable[..., SimulatedMetaTrader5]
LogIn = Callable[[SimulatedMetaTrader5, Account], bool]
TIMEOUT = (-10005, "IPC timeout")
NO_CONNECTION = (-10004, "No IPC connection")
AUTHORIZATION_FAILED = (-6, "Terminal: Authorization failed")


def shown_login(mt5: SimulatedMetaTrader5) -> int | None:
    info = mt5.account_info()
    return None if info is None else info.login


# -- latencies --------------------------------------------------------------------------------


def test_a_log_normal_latency_has_its_median_and_percentile() -> None:
    rng = Random(1)
    drawn = [LogNormal(1.2, 4.0).sample(rng) for _ in range(20_000)]
    assert statistics.median(drawn) == pytest.approx(1.2, rel=0.03)
    assert statistics.quantiles(drawn, n=20)[-1] == pytest.approx(4.0, rel=0.06)


def test_the_same_account_is_quicker_than_another(
    make_terminal: MakeTerminal, log_in: LogIn, alice: Account, virtual_time: Any
) -> None:
    faults = Faults(login_same_account_seconds=(0.1, 0.1), login_other_server=LogNormal(3, 3.001))
    mt5 = make_terminal(faults)
    began = virtual_time.now
    log_in(mt5, alice)
    assert virtual_time.now - began == pytest.approx(3, rel=0.01)
    began = virtual_time.now
    log_in(mt5, alice)
    assert virtual_time.now - began == pytest.approx(0.1)


def test_speed_divides_latencies(
    make_terminal: MakeTerminal, log_in: LogIn, alice: Account, virtual_time: Any
) -> None:
    mt5 = make_terminal(Faults(login_other_server=LogNormal(3, 3.001)), speed=10)
    began = virtual_time.now
    log_in(mt5, alice)
    assert virtual_time.now - began == pytest.approx(0.3, rel=0.01)


def test_a_login_longer_than_its_timeout_ends_after_the_timeout(
    make_terminal: MakeTerminal, alice: Account, virtual_time: Any
) -> None:
    mt5 = make_terminal(Faults(login_other_server=LogNormal(30, 30.01)))
    began = virtual_time.now
    assert not mt5.login(alice.login, password=alice.password, server=alice.server, timeout=2_000)
    assert mt5.last_error() == TIMEOUT
    assert virtual_time.now - began == pytest.approx(2)


def test_a_cold_terminal_takes_long_to_start(
    make_terminal: MakeTerminal, virtual_time: Any
) -> None:
    began = virtual_time.now
    make_terminal(Faults(cold_start=True))
    assert 8 <= virtual_time.now - began <= 40


# -- initialize -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("faults", "error"),
    [
        (Faults(terminal_missing=True), -10003),
        (Faults(initialize_timeout_probability=1), -10005),
        (Faults(recompile_seconds=144), -10005),
        (Faults(update_outage_seconds=144), -10005),
    ],
)
def test_initialize_fails(make_terminal: MakeTerminal, faults: Faults, error: int) -> None:
    mt5 = make_terminal(faults)
    assert mt5.last_error()[0] == error
    assert mt5.account_info() is None
    assert mt5.last_error() == NO_CONNECTION


def test_initialize_hangs(make_terminal: MakeTerminal) -> None:
    with pytest.raises(TimeoutError):
        make_terminal(Faults(initialize_hangs=True))


def test_initialize_too_soon_after_shutdown_is_refused(
    make_terminal: MakeTerminal, virtual_time: Any
) -> None:
    mt5 = make_terminal(Faults(scale=0, initialize_too_soon_seconds=4))
    mt5.shutdown()
    assert not mt5.initialize()
    assert mt5.last_error() == AUTHORIZATION_FAILED
    virtual_time.now += 4
    assert mt5.initialize()


def test_an_update_ends_in_a_higher_build(make_terminal: MakeTerminal, virtual_time: Any) -> None:
    version = make_terminal().version()
    updated = make_terminal(Faults(scale=0, update_outage_seconds=100))
    assert updated.last_error() == TIMEOUT
    virtual_time.now += 40
    assert updated.initialize()
    assert updated.version()[1] > version[1]


# -- login ------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends_on", ["old", "new", "none"])
def test_a_login_that_timed_out_may_have_happened(
    make_terminal: MakeTerminal,
    log_in: LogIn,
    book: Book,
    tmp_path: Path,
    ends_on: str,
) -> None:
    alice, bob, _ = book.accounts
    switch = tmp_path / "faults.json"
    mt5 = make_terminal(faults_file=switch)
    log_in(mt5, alice)
    switch.write_text(
        f'{{"scale": 0, "login_timeout_probability": 1, "login_timeout_ends_on": "{ends_on}"}}'
    )
    assert not log_in(mt5, bob)
    assert mt5.last_error() == TIMEOUT
    assert shown_login(mt5) == {"old": alice.login, "new": bob.login, "none": 0}[ends_on]


def test_a_saved_password_hides_a_wrong_one(
    make_terminal: MakeTerminal, log_in: LogIn, alice: Account
) -> None:
    mt5 = make_terminal(Faults(scale=0, saved_password_accepted=True))
    assert not mt5.login(alice.login, password="wrong", server=alice.server)
    log_in(mt5, alice)
    assert mt5.login(alice.login, password="wrong", server=alice.server)


@pytest.mark.parametrize("seconds", [2.0, None])
def test_the_old_account_may_still_be_shown(
    make_terminal: MakeTerminal,
    log_in: LogIn,
    alice: Account,
    virtual_time: Any,
    seconds: float | None,
) -> None:
    mt5 = make_terminal(Faults(scale=0, stale_login_probability=1, stale_login_seconds=seconds))
    assert log_in(mt5, alice)
    assert shown_login(mt5) == 0
    virtual_time.now += 2
    assert shown_login(mt5) == (0 if seconds is None else alice.login)


def test_after_a_login_the_account_arrives_in_stages(
    make_terminal: MakeTerminal, log_in: LogIn, alice: Account, virtual_time: Any
) -> None:
    mt5 = make_terminal(
        Faults(
            scale=0,
            account_info_none_seconds=1,
            margin_zero_seconds=2,
            lists_empty_seconds=3,
            history_short_seconds=4,
        )
    )
    log_in(mt5, alice)
    assert mt5.account_info() is None
    assert mt5.last_error() == (1, "Success")
    virtual_time.now += 1
    info = mt5.account_info()
    assert info is not None
    assert (info.login, info.margin_free) == (alice.login, 0)
    virtual_time.now += 1
    info = mt5.account_info()
    assert info is not None
    assert info.margin_free > 0
    assert (mt5.positions_get(), mt5.positions_total(), mt5.orders_get()) == ((), 0, ())
    short = mt5.history_deals_total(0, 2**31 - 1)
    virtual_time.now += 1
    assert mt5.positions_total() == len(alice.positions)
    virtual_time.now += 1
    full = mt5.history_deals_total(0, 2**31 - 1)
    assert short is not None
    assert full is not None
    assert 0 < short < full


def test_lists_may_stay_empty_until_a_second_login(
    make_terminal: MakeTerminal, log_in: LogIn, alice: Account, virtual_time: Any
) -> None:
    mt5 = make_terminal(Faults(scale=0, lists_empty_seconds=None))
    log_in(mt5, alice)
    virtual_time.now += 3_000
    assert mt5.positions_get() == ()
    log_in(mt5, alice)
    assert mt5.positions_total() == len(alice.positions)


def test_too_many_logins_close_the_server_for_a_while(
    make_terminal: MakeTerminal, log_in: LogIn, alice: Account, carol: Account, virtual_time: Any
) -> None:
    mt5 = make_terminal(Faults(scale=0, throttle_logins_per_minute=2, throttle_minutes=5))
    assert [log_in(mt5, alice) for _ in range(3)] == [True, True, False]
    assert mt5.last_error() == AUTHORIZATION_FAILED
    assert log_in(mt5, carol)
    virtual_time.now += 299
    assert not log_in(mt5, alice)
    virtual_time.now += 1
    assert log_in(mt5, alice)


# -- later ------------------------------------------------------------------------------------


def test_the_account_changes_behind_our_back(
    make_terminal: MakeTerminal, log_in: LogIn, alice: Account
) -> None:
    mt5 = make_terminal(Faults(scale=0, account_changed_probability=1))
    log_in(mt5, alice)
    assert shown_login(mt5) not in (0, alice.login)


def test_the_terminal_dies_every_so_many_switches(
    make_terminal: MakeTerminal, log_in: LogIn, alice: Account, bob: Account
) -> None:
    mt5 = make_terminal(Faults(scale=0, terminal_dies_every_switches=2))
    log_in(mt5, alice)
    assert shown_login(mt5) == alice.login
    log_in(mt5, bob)
    assert shown_login(mt5) is None
    assert mt5.last_error() == NO_CONNECTION
    assert mt5.initialize()
    assert shown_login(mt5) == bob.login


def test_without_the_broker_old_positions_are_still_served(
    make_terminal: MakeTerminal,
    log_in: LogIn,
    book: Book,
    tmp_path: Path,
    virtual_time: Any,
) -> None:
    alice, bob, _ = book.accounts
    switch = tmp_path / "faults.json"
    mt5 = make_terminal(faults_file=switch)
    log_in(mt5, alice)
    before = mt5.positions_get()
    switch.write_text('{"scale": 0, "broker_link_lost": true}')
    assert mt5.positions_get() == before
    virtual_time.now += 3_000
    assert mt5.positions_get() == before
    info = mt5.terminal_info()
    assert info is not None
    assert not info.connected
    assert not log_in(mt5, bob)
    assert mt5.last_error() == TIMEOUT
    switch.unlink()
    assert log_in(mt5, bob)


def test_algo_trading_goes_off_with_a_switch(
    make_terminal: MakeTerminal, log_in: LogIn, alice: Account
) -> None:
    mt5 = make_terminal(Faults(scale=0, algo_off_after_switch=True))
    log_in(mt5, alice)
    info = mt5.terminal_info()
    assert info is not None
    assert not info.trade_allowed
    sent = mt5.order_send({"action": mt5.TRADE_ACTION_DEAL})
    assert sent is not None
    assert sent.retcode == mt5.TRADE_RETCODE_CLIENT_DISABLES_AT
    assert not mt5.initialize()
    assert mt5.last_error() == TIMEOUT
    assert mt5.initialize()


def test_trade_calls_can_be_forbidden(
    make_terminal: MakeTerminal, log_in: LogIn, alice: Account
) -> None:
    mt5 = make_terminal(Faults(scale=0, trade_api_disabled=True))
    log_in(mt5, alice)
    assert mt5.order_send({"action": mt5.TRADE_ACTION_DEAL}) is None
    assert mt5.last_error()[0] == -8


def test_a_call_can_be_told_never_to_return(make_terminal: MakeTerminal) -> None:
    mt5 = make_terminal(Faults(scale=0, calls_that_hang=("positions_get",)))
    assert mt5.positions_total() == 0
    with pytest.raises(TimeoutError):
        mt5.positions_get()


@pytest.mark.parametrize("reaction", ["raise", "stall"])
def test_a_second_thread_is_noticed(
    make_terminal: MakeTerminal, virtual_time: Any, reaction: Any
) -> None:
    mt5 = make_terminal(Faults(scale=0, second_thread=reaction))
    began, raised = virtual_time.now, list[RuntimeError]()

    def call() -> None:
        try:
            mt5.account_info()
        except RuntimeError as error:
            raised.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    if reaction == "raise":
        assert "second thread" in str(raised[0])
    else:
        assert virtual_time.now - began == 60


def test_a_wait_can_hold_the_interpreter_lock(book: Book) -> None:
    waits = Faults(initialize_running_seconds=(0.02, 0.02), hold_interpreter_lock=True)
    mt5 = SimulatedMetaTrader5(book, faults=waits)
    started, ticks, done = threading.Event(), list[int](), threading.Event()

    def tick() -> None:
        started.set()
        while not done.wait(0.001):
            ticks.append(1)

    thread = threading.Thread(target=tick)
    thread.start()
    started.wait()
    before = len(ticks)
    mt5.initialize()
    during = len(ticks) - before
    done.set()
    thread.join()
    assert during <= 3


# -- files ------------------------------------------------------------------------------------


def test_faults_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    path.write_text('{"lists_empty_seconds": null, "login_same_server": {"median": 1, "p95": 2}}')
    assert load_faults(path) == Faults(
        lists_empty_seconds=None, login_same_server=LogNormal(1.0, 2.0)
    )
    path.write_text('{"lists_emty_seconds": 1}')
    with pytest.raises(FaultsError, match="rename it to `lists_empty_seconds`"):
        load_faults(path)
    path.write_bytes('{"calls_that_hang": ["für"]}'.encode("latin-1"))
    with pytest.raises(FaultsError, match="not UTF-8; save the file as UTF-8"):
        load_faults(path)
    with pytest.raises(FaultsError, match="name a readable file"):
        load_faults(tmp_path / "missing.json")


def test_a_half_written_file_changes_nothing(
    make_terminal: MakeTerminal, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    switch = tmp_path / "faults.json"
    switch.write_text('{"scale": 0, "broker_link_lost": true}')
    mt5 = make_terminal(faults_file=switch)
    switch.write_text('{"scale": 0, "broker_l')
    os.utime(switch, ns=(1, 1))
    info = mt5.terminal_info()
    assert info is not None
    assert not info.connected
    assert [record.message for record in caplog.records] == ["simulator.faults_refused"]
