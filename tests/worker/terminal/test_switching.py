"""The verified switch: nothing is read before it is sure whose it is and that it is all there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.records import AccountInfo
from mt5relay_shared.secret import Secret
from mt5relay_worker.terminal.failure import IdentityError, NotReadyError, TerminalError
from mt5relay_worker.terminal.figures import implies_positions, is_hydrated
from mt5relay_worker.terminal.protocol import Read
from mt5relay_worker.terminal.switching import VerifiedSwitch

if TYPE_CHECKING:
    from tests.worker.terminal.conftest import FakeBinding, FakeClock

ALICE, BOB = AccountId(11, "Broker-Demo"), AccountId(12, "Broker-Demo")
FINGERPRINT = "f1"

READS = [
    Read("account_info"),
    Read("positions"),
    Read("orders"),
    Read("deals", {"from_ms": 0, "to_ms": 1_000}),
    Read("history_orders", {"from_ms": 0, "to_ms": 1_000}),
    Read("symbol", {"symbol": "EURUSD"}),
    Read("tick", {"symbol": "EURUSD"}),
    Read("rates", {"symbol": "EURUSD", "timeframe": "M1", "count": 2}),
]

every_read = pytest.mark.parametrize("read", READS, ids=[read.operation for read in READS])


@pytest.fixture(autouse=True)
def two_accounts(binding: FakeBinding) -> None:
    binding.knows(ALICE, positions=2, orders=1, margin=10.0)
    binding.knows(BOB)


def log_in(switch: VerifiedSwitch, account: AccountId = ALICE) -> None:
    switch.switch(account, FINGERPRINT, Secret(f"secret-{account.login}"), 60_000)


def logins(binding: FakeBinding) -> int:
    return len(binding.called("login"))


# Stage A: who is shown


def test_a_switch_ends_on_the_account_that_was_asked_for(switch: VerifiedSwitch) -> None:
    log_in(switch)
    assert switch.is_on(ALICE, FINGERPRINT)
    assert not switch.is_on(BOB, FINGERPRINT)


@pytest.mark.parametrize("shows_nobody", [False, True])
def test_an_account_that_is_shown_late_is_waited_for(
    switch: VerifiedSwitch, binding: FakeBinding, clock: FakeClock, shows_nobody: bool
) -> None:
    log_in(switch, BOB)
    binding.after_login.identity = 2.0
    binding.after_login.shows_nobody = shows_nobody
    began = clock()
    log_in(switch)
    assert clock() - began == pytest.approx(2.0, abs=0.1)
    assert logins(binding) == 2


def test_a_terminal_that_stays_on_the_old_account_is_logged_in_again(
    switch: VerifiedSwitch, binding: FakeBinding
) -> None:
    log_in(switch, BOB)
    binding.after_login.stays = 1
    log_in(switch)
    assert logins(binding) == 3
    assert switch.is_on(ALICE, FINGERPRINT)


def test_a_terminal_that_stays_for_good_is_an_identity_error(
    switch: VerifiedSwitch, binding: FakeBinding
) -> None:
    log_in(switch, BOB)
    binding.after_login.stays = 2
    with pytest.raises(IdentityError):
        log_in(switch)
    assert not switch.is_on(ALICE, FINGERPRINT)
    assert not switch.is_on(BOB, FINGERPRINT)


def test_a_failed_login_leaves_nobody_known_to_be_logged_in(
    switch: VerifiedSwitch, binding: FakeBinding
) -> None:
    log_in(switch)
    binding.fails("login", (-10005, "IPC timeout"))
    with pytest.raises(TerminalError):
        log_in(switch, BOB)
    assert not switch.is_on(ALICE, FINGERPRINT)


def test_another_credential_of_the_same_account_is_not_where_the_terminal_is(
    switch: VerifiedSwitch,
) -> None:
    log_in(switch)
    assert not switch.is_on(ALICE, "another fingerprint")


def test_an_account_that_changed_behind_our_back_is_noticed(
    switch: VerifiedSwitch, binding: FakeBinding
) -> None:
    log_in(switch)
    binding.is_on(BOB)
    assert not switch.is_on(ALICE, FINGERPRINT)


def test_after_a_restart_nobody_is_known_to_be_logged_in(switch: VerifiedSwitch) -> None:
    log_in(switch)
    switch.forget()
    assert not switch.is_on(ALICE, FINGERPRINT)


def test_a_link_that_breaks_while_waiting_ends_the_wait(
    switch: VerifiedSwitch, binding: FakeBinding, clock: FakeClock
) -> None:
    binding.before["account_info"] = binding.is_gone
    began = clock()
    with pytest.raises(TerminalError) as failure:
        log_in(switch)
    assert failure.value.code == "MT5_CONNECTION_LOST"
    assert clock() == began


# Stage B: the margin


def test_a_margin_that_is_computed_late_is_waited_for(
    switch: VerifiedSwitch, binding: FakeBinding, clock: FakeClock
) -> None:
    binding.after_login.margin = 0.5
    began = clock()
    log_in(switch)
    assert clock() - began >= 0.5


def test_a_margin_that_is_never_computed_is_assumed_to_be_so(
    switch: VerifiedSwitch, binding: FakeBinding
) -> None:
    binding.after_login.margin = 60.0
    log_in(switch)
    assert switch.is_on(ALICE, FINGERPRINT)
    assert switch.synchronized == "assumed"


@pytest.mark.parametrize(
    ("money", "hydrated"),
    [
        ({"balance": 100.0, "equity": 100.0, "margin_free": 100.0}, True),
        ({"balance": 100.0, "equity": 100.0, "margin_free": 0.0}, False),
        ({"balance": 100.0, "equity": 0.0, "margin_free": 0.0}, False),
        ({"balance": 100.0, "equity": 80.0, "margin": 80.0, "margin_free": 0.0}, True),
        ({"balance": 0.0}, True),
        ({"balance": 0.0, "equity": 500.0, "margin_free": 0.0}, False),
        ({"balance": 0.0, "equity": 500.0, "margin": 40.0, "margin_free": 460.0}, True),
        ({"balance": -5.0}, True),
    ],
)
def test_free_margin_of_zero_is_believed_only_where_the_other_figures_agree(
    blank: Callable[..., Any], money: dict[str, float], hydrated: bool
) -> None:
    assert is_hydrated(blank(AccountInfo, **money)) is hydrated


# Stage C: positions and orders


def test_lists_that_arrive_late_are_waited_for(
    switch: VerifiedSwitch, binding: FakeBinding, clock: FakeClock
) -> None:
    binding.after_login.lists = 3.0
    began = clock()
    log_in(switch)
    assert clock() - began >= 3.0
    positions = switch.read(ALICE, Read("positions"))
    assert len(msgspec.json.decode(positions.data or b"")) == 2


def test_no_positions_are_not_believed_of_an_account_that_uses_margin(
    switch: VerifiedSwitch, binding: FakeBinding
) -> None:
    binding.after_login.lists = 60.0
    with pytest.raises(NotReadyError):
        log_in(switch)


def test_an_account_without_positions_is_not_waited_for(
    switch: VerifiedSwitch, clock: FakeClock
) -> None:
    began = clock()
    log_in(switch, BOB)
    assert clock() - began < 0.1
    assert switch.read(BOB, Read("positions")).kind == "empty"


def test_counts_that_the_terminal_does_not_tell_are_not_taken_for_settled(
    switch: VerifiedSwitch, binding: FakeBinding
) -> None:
    binding.fails("positions_total", *[(1, "Success")] * 10)
    log_in(switch, BOB)
    assert len(binding.called("positions_total")) >= 12


@pytest.mark.parametrize(
    ("money", "implies"),
    [
        ({}, False),
        ({"margin": 0.004}, False),
        ({"margin": 10.0}, True),
        ({"profit": -3.5}, True),
        ({"profit": 3.5}, True),
    ],
)
def test_margin_or_profit_mean_that_there_are_positions(
    blank: Callable[..., Any], money: dict[str, float], implies: bool
) -> None:
    assert implies_positions(blank(AccountInfo, **money)) is implies


# Reads


@every_read
def test_a_read_has_data_of_the_account_that_was_asked_for(
    switch: VerifiedSwitch, read: Read
) -> None:
    log_in(switch)
    result = switch.read(ALICE, read)
    assert result.kind == "value"
    assert result.data is not None


CALLS = {
    "positions": "positions_get",
    "orders": "orders_get",
    "deals": "history_deals_get",
    "history_orders": "history_orders_get",
    "symbol": "symbol_info",
    "tick": "symbol_info_tick",
    "rates": "copy_rates_from_pos",
}


@every_read
def test_nothing_leaks_when_the_account_changes_before_a_read(
    switch: VerifiedSwitch, binding: FakeBinding, read: Read
) -> None:
    log_in(switch)
    binding.is_on(BOB)
    with pytest.raises(IdentityError):
        switch.read(ALICE, read)


@pytest.mark.parametrize(
    "read", [read for read in READS if read.operation != "account_info"], ids=lambda r: r.operation
)
def test_nothing_leaks_when_the_account_changes_during_a_read(
    switch: VerifiedSwitch, binding: FakeBinding, read: Read
) -> None:
    log_in(switch)
    binding.before[CALLS[read.operation]] = lambda: binding.is_on(BOB)
    with pytest.raises(IdentityError):
        switch.read(ALICE, read)
    assert not switch.is_on(ALICE, FINGERPRINT)


def test_a_terminal_that_shows_nobody_is_not_ready_rather_than_somebody_else(
    switch: VerifiedSwitch, binding: FakeBinding
) -> None:
    log_in(switch)
    binding.fails("account_info", (1, "Success"))
    with pytest.raises(NotReadyError):
        switch.read(ALICE, Read("positions"))
    assert not switch.is_on(ALICE, FINGERPRINT)


def test_nothing_leaks_when_account_info_itself_is_of_another(
    switch: VerifiedSwitch, binding: FakeBinding
) -> None:
    """The account changes between the look and the read, and back again at once."""
    log_in(switch)

    def at_the_first_look() -> None:
        binding.before["account_info"] = at_the_read

    def at_the_read() -> None:
        binding.is_on(BOB)
        binding.before["account_info"] = lambda: binding.is_on(ALICE)

    binding.before["account_info"] = at_the_first_look
    with pytest.raises(IdentityError):
        switch.read(ALICE, Read("account_info"))


def test_the_same_login_at_another_server_is_somebody_else(
    switch: VerifiedSwitch, binding: FakeBinding
) -> None:
    twin = AccountId(ALICE.login, "Other-Live")
    binding.knows(twin)
    log_in(switch)
    binding.is_on(twin)
    with pytest.raises(IdentityError):
        switch.read(ALICE, Read("positions"))


def test_a_read_that_is_not_ready_is_told_from_one_that_is_empty(
    switch: VerifiedSwitch, binding: FakeBinding
) -> None:
    log_in(switch)
    binding.fails("positions_get", (1, "Success"), (1, "Success"))
    result = switch.read(ALICE, Read("positions"))
    assert (result.kind, result.code, result.data) == ("not_ready", "MT5_DATA_INVALID", None)


def test_a_read_that_fails_carries_its_code_and_no_data(
    switch: VerifiedSwitch, binding: FakeBinding
) -> None:
    log_in(switch)
    binding.fails("symbol_select", (-4, "Terminal: Not found"))
    result = switch.read(ALICE, Read("tick", {"symbol": "NOPE"}))
    assert (result.kind, result.code, result.data) == ("error", "NOT_FOUND", None)
    assert result.mt5 == (-4, "Terminal: Not found")


def test_a_link_that_is_lost_before_a_read_fails_the_whole_visit(
    switch: VerifiedSwitch, binding: FakeBinding
) -> None:
    log_in(switch)
    binding.is_gone()
    with pytest.raises(TerminalError) as failure:
        switch.read(ALICE, Read("positions"))
    assert failure.value.code == "MT5_CONNECTION_LOST"


def test_figures_without_their_margin_are_not_ready_however_long_the_login_was_ago(
    switch: VerifiedSwitch, binding: FakeBinding, clock: FakeClock
) -> None:
    """A terminal logs in anew by itself when it finds its broker again."""
    log_in(switch)
    binding.logs_in_anew(margin=1.0)
    assert switch.read(ALICE, Read("account_info")).kind == "not_ready"
    clock.sleep(1.0)
    assert switch.read(ALICE, Read("account_info")).kind == "value"


def test_no_positions_are_not_read_of_an_account_that_uses_margin(
    switch: VerifiedSwitch, binding: FakeBinding, clock: FakeClock
) -> None:
    log_in(switch)
    binding.logs_in_anew(lists=1.0)
    assert switch.read(ALICE, Read("positions")).kind == "not_ready"
    clock.sleep(1.0)
    assert switch.read(ALICE, Read("positions")).kind == "value"


def test_an_account_without_positions_reads_as_an_empty_list(switch: VerifiedSwitch) -> None:
    log_in(switch, BOB)
    result = switch.read(BOB, Read("positions"))
    assert (result.kind, result.data) == ("empty", b"[]")
