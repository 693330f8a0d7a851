"""Every fault of the terminal reaches who asks over the pipe."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.worker.simulator.pipe.conftest import (
    AUTH_FAILED,
    NO_CONNECTION,
    TIMED_OUT,
    DroppedError,
    NeverAnsweredError,
    PackageClient,
    Served,
)

from mt5relay_worker.simulator import Faults, LogNormal
from mt5relay_worker.simulator.book import Account
from mt5relay_worker.simulator.pipe.calls import package_call
from mt5relay_worker.simulator.pipe.codec import (
    HELLO_FROM_PACKAGE,
    Parameter,
    Request,
    encode_request,
)
from mt5relay_worker.simulator.pipe.commands import COMMANDS, Code, Kind
from mt5relay_worker.simulator.pipe.exchange import Drop, Write
from mt5relay_worker.simulator.structures import TradeRequest, zeros
from mt5relay_worker.simulator.surface import FUNCTIONS

Serve = Callable[..., Served]
SLOW = LogNormal(median=5.0, p95=5.0001)


ZERO: dict[Kind, Parameter] = {
    **dict.fromkeys(Kind, 0),
    Kind.F64: 0.0,
    Kind.TEXT: "EURUSD",
    Kind.TRADE_REQUEST: TradeRequest._make(zeros(TradeRequest)),
}
REQUESTS = [
    Request(command, tuple(ZERO[kind] for kind in COMMANDS[command].parameters))
    for command in sorted(COMMANDS.keys() - {Code.HELLO, Code.LOGIN, Code.AUTHORIZATION})
]


def called(request: Request) -> str:
    return package_call(request, 0.0).function


def attached(served: Served, account: Account) -> PackageClient:
    client = served.client()
    assert client.initialize(account.login, account.password, account.server) == 1
    return client


def login(client: PackageClient, account: Account, timeout: float = 60.0) -> int:
    return client.login(account.login, account.password, account.server, timeout)


def shown(client: PackageClient) -> int:
    data = client.call(Code.ACCOUNT_INFO).data
    return 0 if data is None else int(data["login"])


# -- without faults -------------------------------------------------------------------------------


def test_initialize_finds_nobody_logged_in(serve: Serve) -> None:
    client = serve().client()
    assert client.initialize() == 1
    assert shown(client) == 0


def test_who_is_logged_in_stays_so_for_the_next_client(serve: Serve, alice: Account) -> None:
    served = serve()
    attached(served, alice).close()
    client = served.client()
    assert client.initialize() == 1
    assert shown(client) == alice.login


def test_several_clients_see_the_same_terminal(serve: Serve, alice: Account, bob: Account) -> None:
    served = serve()
    one, other = attached(served, alice), served.client()
    assert other.initialize() == 1
    assert login(other, bob) == 1
    assert shown(one) == shown(other) == bob.login
    other.close()
    assert shown(one) == bob.login


def test_a_wrong_password_is_refused_and_the_account_stays(serve: Serve, alice: Account) -> None:
    client = attached(serve(), alice)
    assert client.login(alice.login, "wrong", alice.server) == AUTH_FAILED
    assert shown(client) == alice.login


def test_a_client_that_has_not_said_hello_reads_nothing(serve: Serve) -> None:
    assert serve().client().call(Code.ACCOUNT_INFO).code == NO_CONNECTION


# -- slow, silent, gone ---------------------------------------------------------------------------


def test_a_slow_authorization_keeps_the_package_waiting(serve: Serve, alice: Account) -> None:
    served = serve(Faults(login_other_server=SLOW, initialize_running_seconds=(1.0, 1.0)))
    client, began = served.client(), served.clock.now
    assert client.initialize(alice.login, alice.password, alice.server) == 1
    assert 6.0 <= served.clock.now - began < 6.5


def test_a_login_slower_than_the_time_out_ends_in_it_and_happens_nevertheless(
    serve: Serve, alice: Account, bob: Account
) -> None:
    served = serve(Faults(login_same_server=SLOW, initialize_running_seconds=(0, 0)), speed=1.0)
    client = served.client()
    assert client.initialize(alice.login, alice.password, alice.server) == 1
    began = served.clock.now
    assert login(client, bob, timeout=2.0) == TIMED_OUT
    assert served.clock.now - began < 2.5
    assert shown(client) == bob.login, "what is asked meanwhile is answered after the login"
    assert served.clock.now - began >= 4.9


@pytest.mark.parametrize(
    "function", sorted(set(FUNCTIONS) - {"initialize", "login", "shutdown", "last_error"})
)
def test_a_function_that_hangs_is_never_answered_and_the_terminal_lives_on(
    serve: Serve, alice: Account, function: str
) -> None:
    served = serve(Faults(scale=0, calls_that_hang=(function,)))
    client = attached(served, alice)
    (request, *_) = (request for request in REQUESTS if called(request) == function)
    before = served.clock.now
    with pytest.raises(NeverAnsweredError):
        client.exchange(request)
    assert served.clock.now - before < 3_600
    client.close()
    assert served.client().initialize() == 1


def test_initialize_and_login_can_hang_too(serve: Serve, alice: Account) -> None:
    for faults in (Faults(initialize_hangs=True), Faults(calls_that_hang=("initialize",))):
        with pytest.raises(NeverAnsweredError):
            serve(faults).client().initialize()
    client = serve(Faults(scale=0, calls_that_hang=("login",))).client()
    assert client.initialize() == 1
    with pytest.raises(NeverAnsweredError):
        login(client, alice)


def test_a_terminal_that_dies_drops_the_pipe_after_telling_how_the_login_ended(
    serve: Serve, alice: Account, bob: Account
) -> None:
    served = serve(Faults(scale=0, terminal_dies_every_switches=2))
    client = attached(served, alice)
    asked = Request(Code.LOGIN, (0, bob.login, bob.password, bob.server))
    assert client.exchange(asked).status == 1
    client.pass_time(0.1)
    assert client.call(Code.AUTHORIZATION).data == 2
    with pytest.raises(DroppedError):
        client.call(Code.ACCOUNT_INFO)
    again = served.client()
    assert again.initialize() == 1
    assert shown(again) == bob.login, "whoever was logged in is so again"


def test_others_are_dropped_too_when_it_dies(serve: Serve, alice: Account, bob: Account) -> None:
    served = serve(Faults(scale=0, terminal_dies_every_switches=2))
    bystander, client = attached(served, alice), served.client()
    assert client.initialize() == 1
    assert login(client, bob) == 1
    bystander.pass_time(0.1)
    bystander.pass_time(2.0)
    assert not bystander.is_open


def test_no_terminal_no_pipe(serve: Serve, alice: Account, tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    served = serve(faults_file=file)
    client = attached(served, alice)
    assert served.exchange.is_listening
    file.write_text('{"terminal_missing": true}')
    client.pass_time(0.1)
    assert not served.exchange.is_listening
    assert not client.is_open
    os.remove(file)
    served.exchange.poll(served.clock.now)
    assert served.exchange.is_listening


def test_an_update_drops_the_pipe_and_comes_back_with_a_higher_build(
    serve: Serve, alice: Account, tmp_path: Path
) -> None:
    file = tmp_path / "faults.json"
    served = serve(Faults(scale=0), faults_file=file)
    client = attached(served, alice)
    build = client.call(Code.TERMINAL_INFO).data["build"]
    file.write_text('{"scale": 0, "update_outage_seconds": 90}')
    client.pass_time(0.1)
    client.pass_time(2.0)
    assert not client.is_open
    began = served.clock.now
    assert served.client().initialize(timeout=10.0) == TIMED_OUT
    later = served.client()
    assert later.initialize(timeout=200.0) == 1
    assert served.clock.now - began >= 86.0
    assert later.call(Code.TERMINAL_INFO).data["build"] > build
    assert later.call(Code.VERSION, 0).data[1] > build


def test_a_recompile_lets_initialize_wait(serve: Serve) -> None:
    served = serve(Faults(scale=0, recompile_seconds=144))
    began = served.clock.now
    assert served.client().initialize(timeout=200) == 1
    assert served.clock.now - began >= 144


def test_a_cold_start_takes_its_time(serve: Serve) -> None:
    served = serve(Faults(cold_start=True, initialize_cold_seconds=(9, 9)))
    began = served.clock.now
    assert served.client().initialize(timeout=5) == TIMED_OUT
    assert served.client().initialize(timeout=20) == 1
    assert 9 <= served.clock.now - began < 12


# -- codes ----------------------------------------------------------------------------------------


def test_initialize_too_soon_after_the_last_client_left(serve: Serve, alice: Account) -> None:
    served = serve(Faults(scale=0, initialize_too_soon_seconds=3))
    attached(served, alice).close()
    assert served.client().initialize() == AUTH_FAILED
    assert served.client().initialize(alice.login, alice.password, alice.server) == AUTH_FAILED
    served.clock.now += 4
    assert served.client().initialize() == 1


def test_an_initialize_that_times_out(serve: Serve) -> None:
    served = serve(Faults(initialize_timeout_probability=1))
    began = served.clock.now
    assert served.client().initialize(timeout=7) == TIMED_OUT
    assert 7 <= served.clock.now - began < 8


@pytest.mark.parametrize("ends_on", ["old", "new", "none"])
def test_a_login_that_times_out_ends_where_the_faults_say(
    serve: Serve, alice: Account, bob: Account, tmp_path: Path, ends_on: str
) -> None:
    file = tmp_path / "faults.json"
    served = serve(Faults(scale=0), faults_file=file)
    client = attached(served, alice)
    file.write_text(f'{{"login_timeout_probability": 1, "login_timeout_ends_on": "{ends_on}"}}')
    began = served.clock.now
    assert login(client, bob, timeout=5) == TIMED_OUT
    assert 5 <= served.clock.now - began < 6
    assert shown(client) == {"old": alice.login, "new": bob.login, "none": 0}[ends_on]


def test_a_lost_link_to_the_broker(serve: Serve, alice: Account, tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    served = serve(Faults(scale=0), faults_file=file)
    client = attached(served, alice)
    file.write_text('{"broker_link_lost": true, "broker_link_lost_answer_seconds": 2}')
    began = served.clock.now
    assert login(client, alice) == TIMED_OUT
    assert 2 <= served.clock.now - began < 2.5, "the terminal itself says so"
    assert client.call(Code.TERMINAL_INFO).data["connected"] is False
    assert len(client.call(Code.POSITIONS).data) == 2


def test_a_throttled_server(serve: Serve, alice: Account, bob: Account, carol: Account) -> None:
    client = attached(serve(Faults(scale=0, throttle_logins_per_minute=2)), alice)
    assert [login(client, bob), login(client, alice)] == [1, AUTH_FAILED]
    assert login(client, carol) == 1


def test_a_saved_password_is_accepted_if_the_faults_say_so(serve: Serve, alice: Account) -> None:
    client = attached(serve(Faults(scale=0, saved_password_accepted=True)), alice)
    assert client.login(alice.login, "wrong", alice.server) == 1


def test_algo_trading_off_after_a_switch(serve: Serve, alice: Account, bob: Account) -> None:
    served = serve(Faults(scale=0, algo_off_after_switch=True))
    client = attached(served, alice)
    assert client.call(Code.TERMINAL_INFO).data["trade_allowed"] is False
    client.close()
    assert served.client().initialize(timeout=3) == TIMED_OUT
    assert served.client().initialize(timeout=3) == 1


def test_a_switched_off_trade_api(serve: Serve, alice: Account) -> None:
    client = attached(serve(Faults(scale=0, trade_api_disabled=True)), alice)
    assert client.call(Code.CALC_MARGIN, 0, "EURUSD", 1.0, 1.1).code == -8


# -- stages after a login -------------------------------------------------------------------------


def test_stage_a_the_old_account_is_still_shown(
    serve: Serve, alice: Account, bob: Account, tmp_path: Path
) -> None:
    file = tmp_path / "faults.json"
    served = serve(Faults(scale=0), faults_file=file)
    client = attached(served, alice)
    file.write_text('{"scale": 0, "stale_login_probability": 1, "stale_login_seconds": 2}')
    assert login(client, bob) == 1
    assert shown(client) == alice.login
    client.pass_time(2.1)
    assert shown(client) == bob.login


def test_stage_a_no_account_is_shown(serve: Serve, alice: Account) -> None:
    client = attached(serve(Faults(scale=0, account_info_none_seconds=1)), alice)
    assert client.call(Code.ACCOUNT_INFO).code == -1
    client.pass_time(1.1)
    assert shown(client) == alice.login


def test_stage_b_the_margin_is_not_there(serve: Serve, alice: Account) -> None:
    client = attached(serve(Faults(scale=0, margin_zero_seconds=1)), alice)
    assert client.call(Code.ACCOUNT_INFO).data["margin_free"] == 0
    client.pass_time(1.1)
    assert client.call(Code.ACCOUNT_INFO).data["margin_free"] > 0


def test_stage_c_the_lists_are_empty(serve: Serve, alice: Account) -> None:
    client = attached(serve(Faults(scale=0, lists_empty_seconds=3)), alice)
    assert client.call(Code.POSITIONS).data == []
    assert client.call(Code.ORDERS_TOTAL).data == 0
    client.pass_time(3.1)
    assert len(client.call(Code.POSITIONS).data) == 2


def test_stage_c_until_a_second_login(serve: Serve, alice: Account) -> None:
    client = attached(serve(Faults(scale=0, lists_empty_seconds=None)), alice)
    client.pass_time(100)
    assert client.call(Code.POSITIONS).data == []
    assert login(client, alice) == 1
    assert len(client.call(Code.POSITIONS).data) == 2


def test_stage_d_the_history_grows(serve: Serve, alice: Account) -> None:
    served = serve(Faults(scale=0, history_short_seconds=10))
    client = attached(served, alice)
    totals: list[int] = []
    for _ in range(3):
        totals.append(client.call(Code.DEALS_TOTAL, 0, int(served.clock.now)).data)
        client.pass_time(5)
    assert totals == sorted(set(totals))


def test_a_login_that_takes_long_begins_its_stages_at_its_end(serve: Serve, alice: Account) -> None:
    served = serve(Faults(login_other_server=SLOW, lists_empty_seconds=2, history_short_seconds=4))
    client = attached(served, alice)
    assert client.call(Code.POSITIONS).data == []
    client.pass_time(2.1)
    assert len(client.call(Code.POSITIONS).data) == 2


def test_the_account_changes_behind_our_back(serve: Serve, alice: Account) -> None:
    client = attached(serve(Faults(scale=0, account_changed_probability=1)), alice)
    assert shown(client) != alice.login


def test_faults_are_taken_up_while_nobody_asks(
    serve: Serve, alice: Account, tmp_path: Path
) -> None:
    file, folder = tmp_path / "faults.json", tmp_path / "data"
    served = serve(Faults(scale=0, journal_delay_seconds=5), faults_file=file, data_folder=folder)
    client = attached(served, alice)
    assert not list(folder.glob("logs/*.log"))
    client.pass_time(6)
    (log,) = folder.glob("logs/*.log")
    assert f"'{alice.login}': authorized on" in log.read_text("utf-16")


# -- who does not keep to the protocol ------------------------------------------------------------


def test_a_client_that_talks_nonsense_is_dropped_alone(serve: Serve, alice: Account) -> None:
    served = serve()
    good = attached(served, alice)
    bad = served.exchange.connect()
    assert served.exchange.receive(bad, b"\xff" * 64, served.clock.now)
    assert served.exchange.receive(bad, b"\xff" * 64, served.clock.now) == []
    assert shown(good) == alice.login


def test_a_client_that_floods_without_waiting_is_dropped(serve: Serve, alice: Account) -> None:
    served = serve(Faults(scale=0, initialize_hangs=True))
    number = served.exchange.connect()
    flood = encode_request(HELLO_FROM_PACKAGE) * 100
    assert served.exchange.receive(number, flood, served.clock.now) == [Drop(number)]


def test_an_unknown_command_is_refused_and_the_pipe_stays(serve: Serve, alice: Account) -> None:
    served = serve()
    number = served.exchange.connect()
    for frame, status in ((struct.pack("<II", 4, 999), -7), (struct.pack("<II", 4, 170), -2)):
        (written,) = served.exchange.receive(number, frame, served.clock.now)
        assert isinstance(written, Write)
        assert struct.unpack_from("<i", written.frame, 8) == (status,)
