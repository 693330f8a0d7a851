"""What a user of MT5ConnectionManager may rely on. In virtual time."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import msgspec
import pytest
from structlog.testing import capture_logs

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.envelopes import SealingKey
from mt5relay_shared.errors import (
    MT5AuthError,
    MT5ConnectionError,
    MT5DataError,
    MT5Error,
    MT5InitError,
    MT5StateError,
    MT5TimeoutError,
)
from mt5relay_shared.health import ConnectionState
from mt5relay_shared.records import AccountInfo
from mt5relay_worker.connection_manager import (
    TERMINAL_FAILURES,
    ConnectionLimits,
    MT5ConnectionManager,
)
from mt5relay_worker.credential_turns import Credential
from mt5relay_worker.retry import RetryPolicy
from mt5relay_worker.sessions import SessionPool
from mt5relay_worker.state import ConnectionStatus, Detail, Transition
from mt5relay_worker.terminal.protocol import (
    Detach,
    Done,
    Forget,
    Initialize,
    Probe,
    Read,
    ReadResult,
    Visit,
)

if TYPE_CHECKING:
    from tests.worker.conftest import FakeTerminal

CONNECTED, RECONNECTING = ConnectionState.CONNECTED, ConnectionState.RECONNECTING
ERROR, DISCONNECTED = ConnectionState.ERROR, ConnectionState.DISCONNECTED

LIMITS = ConnectionLimits(login=60.0, call=90.0, start=180.0, probe=10.0)


@dataclass
class Managed:
    """A manager and what can be seen of it from outside."""

    manager: MT5ConnectionManager
    status: ConnectionStatus
    changes: list[Transition]
    published: list[SealingKey]

    @property
    def states(self) -> list[ConnectionState]:
        """Every state that was entered, in order."""
        return [change.target for change in self.changes]


class Managers(Protocol):
    def __call__(self, *, pool_limit: int = 20, idle_timeout: float = 300.0) -> Managed: ...


@pytest.fixture
def anyio_backend(virtual_time: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return virtual_time


@pytest.fixture
async def managers(terminal: FakeTerminal) -> AsyncIterator[Managers]:
    made: list[Managed] = []

    def make(*, pool_limit: int = 20, idle_timeout: float = 300.0) -> Managed:
        changes: list[Transition] = []
        published: list[SealingKey] = []
        status = ConnectionStatus(anyio.current_time(), changes.append)

        async def publish(key: SealingKey) -> None:
            published.append(key)

        manager = MT5ConnectionManager(
            terminal,
            status=status,
            pool=SessionPool(pool_limit, idle_timeout),
            retry=RetryPolicy(),
            limits=LIMITS,
            on_start=publish,
        )
        made.append(Managed(manager, status, changes, published))
        return made[-1]

    yield make
    for managed in made:
        await managed.manager.shutdown()


@pytest.fixture
async def managed(managers: Managers) -> Managed:
    """A manager that is attached to a terminal that works."""
    made = managers()
    await made.manager.initialize()
    return made


@pytest.fixture
def alice(terminal: FakeTerminal) -> Credential:
    return terminal.knows(AccountId(1, "Broker"))


@pytest.fixture
def bob(terminal: FakeTerminal) -> Credential:
    return terminal.knows(AccountId(2, "Broker"))


async def seconds_of(call: Awaitable[object]) -> float:
    began = anyio.current_time()
    await call
    return anyio.current_time() - began


# What it offers


def test_it_offers_nine_calls_and_no_other() -> None:
    public = {
        name
        for name, _ in inspect.getmembers(MT5ConnectionManager, callable)
        if not name.startswith("_")
    }
    assert public == {
        "initialize",
        "shutdown",
        "login",
        "reconnect",
        "probe",
        "is_connected",
        "get_account_info",
        "get_last_error",
        "metrics",
    }


async def test_as_a_context_manager_it_attaches_and_detaches(
    managers: Managers, terminal: FakeTerminal
) -> None:
    made = managers()
    async with made.manager as manager:
        assert await manager.is_connected()
    assert terminal.asked == ["Initialize", "Detach"]
    assert not terminal.is_running
    assert not await made.manager.is_connected()
    assert made.states == [CONNECTED, DISCONNECTED]


# Starting and ending


async def test_it_initializes_once_however_often_it_is_asked(
    managers: Managers, terminal: FakeTerminal
) -> None:
    manager = managers().manager
    terminal.start_seconds = 2.0
    await asyncio.gather(*(manager.initialize() for _ in range(5)))
    await manager.initialize()
    assert terminal.starts == 1
    assert terminal.asked == ["Initialize"]


async def test_the_first_login_initializes_where_nobody_did(
    managers: Managers, terminal: FakeTerminal, alice: Credential
) -> None:
    made = managers()
    await made.manager.login(alice)
    assert terminal.asked == ["Initialize", "Visit"]
    assert made.states == [CONNECTED]


async def test_each_new_terminal_process_has_its_public_key_published(
    managed: Managed, terminal: FakeTerminal, alice: Credential
) -> None:
    terminal.dies_at(Visit)
    await managed.manager.login(alice)
    assert [key.key_id for key in managed.published] == ["key-of-the-fake"] * 2


async def test_the_terminal_is_told_how_long_a_start_and_a_login_may_take(
    managed: Managed, terminal: FakeTerminal, alice: Credential
) -> None:
    await managed.manager.login(alice)
    start, visit = terminal.commands
    assert isinstance(start, Initialize)
    assert isinstance(visit, Visit)
    assert (start.timeout_ms, visit.timeout_ms) == (60_000, 60_000)


async def test_a_terminal_that_never_starts_ends_in_error(
    managers: Managers, terminal: FakeTerminal
) -> None:
    made = managers()
    terminal.does_not_start(times=4)
    with pytest.raises(MT5InitError):
        await made.manager.initialize()
    assert terminal.starts == 4
    assert made.states == [RECONNECTING, ERROR]


async def test_it_works_again_after_a_shutdown(
    managed: Managed, terminal: FakeTerminal, alice: Credential
) -> None:
    await managed.manager.shutdown()
    assert terminal.unsealed == set()
    await managed.manager.login(alice)
    assert terminal.starts == 2
    assert await managed.manager.is_connected()


async def test_shutting_down_a_terminal_that_is_gone_is_no_error(
    managed: Managed, terminal: FakeTerminal
) -> None:
    terminal.dies_at(Detach)
    await managed.manager.shutdown()
    await managed.manager.shutdown()
    assert managed.states == [CONNECTED, DISCONNECTED]


# Turns


async def test_callers_are_served_in_the_order_in_which_they_came(
    managed: Managed, terminal: FakeTerminal, accounts: Iterator[AccountId]
) -> None:
    terminal.switch_seconds = 1.0
    credentials = [terminal.knows(next(accounts)) for _ in range(8)]
    async with anyio.create_task_group() as callers:
        for credential in credentials:
            callers.start_soon(managed.manager.login, credential)
            await anyio.sleep(0.1)
    assert terminal.visits == [credential.account for credential in credentials]


async def test_a_login_and_its_reads_are_one_turn(
    managed: Managed, terminal: FakeTerminal, alice: Credential, bob: Credential
) -> None:
    terminal.switch_seconds = terminal.read_seconds = 1.0
    reads = [Read("account_info"), Read("positions")]
    of_alice, of_bob = await asyncio.gather(
        managed.manager.login(alice, reads), managed.manager.login(bob, reads)
    )
    assert terminal.asked == ["Initialize", "Visit", "Visit"]
    for visited, credential in ((of_alice, alice), (of_bob, bob)):
        info = msgspec.json.decode(visited.results[0].data or b"", type=AccountInfo)
        assert info.login == credential.account.login


async def test_a_caller_that_gives_up_does_not_hold_up_the_next(
    managed: Managed, terminal: FakeTerminal, alice: Credential, bob: Credential
) -> None:
    terminal.switch_seconds = 50.0
    with anyio.move_on_after(1.0):
        await managed.manager.login(alice)
    terminal.switch_seconds = 1.0
    assert await seconds_of(managed.manager.login(bob)) == pytest.approx(1.0)


async def test_questions_about_the_manager_never_wait_for_a_turn(
    managed: Managed, terminal: FakeTerminal, alice: Credential
) -> None:
    manager = managed.manager
    terminal.hangs_at(Visit)
    async with anyio.create_task_group() as callers:
        callers.start_soon(manager.login, alice)
        await anyio.sleep(1.0)
        assert await seconds_of(manager.is_connected()) == 0
        assert await seconds_of(manager.get_last_error()) == 0
        assert await seconds_of(manager.metrics()) == 0
        assert managed.status.detail is Detail.SWITCHING


# The pool of sessions


async def test_the_least_recently_used_session_makes_room(
    managers: Managers, terminal: FakeTerminal, accounts: Iterator[AccountId]
) -> None:
    manager = managers(pool_limit=2).manager
    first, second, third = (terminal.knows(next(accounts)) for _ in range(3))
    for credential in (first, second, first, third):
        await manager.login(credential)
    assert terminal.unsealed == {first.account, third.account}
    assert (await manager.metrics()).pool_size == 2


async def test_the_pool_never_holds_more_than_its_limit(
    managers: Managers, terminal: FakeTerminal, accounts: Iterator[AccountId]
) -> None:
    manager = managers(pool_limit=3).manager
    for _ in range(10):
        await manager.login(terminal.knows(next(accounts)))
        assert len(terminal.unsealed) <= 3
    metrics = await manager.metrics()
    assert (metrics.pool_size, metrics.pool_limit, metrics.logins) == (3, 3, 10)


async def test_an_idle_session_is_forgotten_while_the_terminal_stays_attached(
    managers: Managers, terminal: FakeTerminal, alice: Credential, bob: Credential
) -> None:
    manager = managers(idle_timeout=300.0).manager
    await manager.initialize()
    await manager.login(alice)
    await anyio.sleep(200.0)
    await manager.login(bob)
    await anyio.sleep(100.5)
    assert terminal.unsealed == {bob.account}
    await anyio.sleep(200.0)
    assert terminal.unsealed == set()
    metrics = await manager.metrics()
    assert (metrics.pool_size, metrics.idle_evictions) == (0, 2)
    await manager.login(alice)
    assert terminal.asked == ["Initialize", "Visit", "Visit", "Forget", "Forget", "Visit"]
    assert terminal.starts == 1


async def test_a_session_in_use_is_not_idle(
    managers: Managers, terminal: FakeTerminal, alice: Credential
) -> None:
    manager = managers(idle_timeout=300.0).manager
    await manager.initialize()
    for _ in range(10):
        await manager.login(alice)
        await anyio.sleep(299.0)
    assert terminal.unsealed == {alice.account}
    assert (await manager.metrics()).idle_evictions == 0


async def test_a_login_that_fails_leaves_no_session(
    managed: Managed, terminal: FakeTerminal, alice: Credential
) -> None:
    await managed.manager.login(alice)
    terminal.fails_at(Visit, "MT5_AUTH_FAILED", times=2)
    with pytest.raises(MT5AuthError):
        await managed.manager.login(alice)
    assert (await managed.manager.metrics()).pool_size == 0


async def test_staying_on_an_account_is_no_further_login(
    managed: Managed, terminal: FakeTerminal, alice: Credential
) -> None:
    for _ in range(3):
        await managed.manager.login(alice, [Read("positions")])
    assert (await managed.manager.metrics()).logins == 1
    assert managed.status.current_account == alice.account


# Trying again


@pytest.mark.parametrize("code", sorted(TERMINAL_FAILURES))
async def test_a_failure_of_the_terminal_is_tried_again_and_heals(
    managed: Managed, terminal: FakeTerminal, alice: Credential, code: str
) -> None:
    terminal.fails_at(Visit, code)
    assert await seconds_of(managed.manager.login(alice)) == pytest.approx(1.0)
    assert terminal.asked == ["Initialize", "Visit", "Initialize", "Visit"]
    assert managed.states == [CONNECTED, RECONNECTING, CONNECTED]
    metrics = await managed.manager.metrics()
    assert (metrics.retries, metrics.reconnects) == (1, 1)


@pytest.mark.parametrize("code", sorted(TERMINAL_FAILURES))
async def test_after_three_retries_with_growing_pauses_the_state_is_error(
    managed: Managed, terminal: FakeTerminal, alice: Credential, code: str
) -> None:
    terminal.fails_at(Visit, code, times=4, mt5=(-10005, "IPC timeout"))
    began = anyio.current_time()
    with pytest.raises(MT5Error) as failure:
        await managed.manager.login(alice)
    assert anyio.current_time() - began == pytest.approx(1 + 2 + 4)
    assert failure.value.code == code
    assert failure.value.mt5_error == (-10005, "IPC timeout")
    assert len(terminal.visits) == 4
    assert managed.states == [CONNECTED, RECONNECTING, ERROR]
    assert "told to fail" in managed.changes[-1].cause
    assert (await managed.manager.metrics()).retries == 3


async def test_a_terminal_that_answers_again_is_not_given_up_for_what_it_answers(
    managed: Managed, terminal: FakeTerminal, alice: Credential
) -> None:
    terminal.fails_at(Visit, "MT5_CONNECTION_LOST")
    terminal.fails_at(Visit, "MT5_DATA_INVALID")
    with pytest.raises(MT5DataError):
        await managed.manager.login(alice)
    assert managed.states == [CONNECTED, RECONNECTING, CONNECTED]


async def test_a_terminal_that_was_given_up_gets_one_try_without_a_pause(
    managed: Managed, terminal: FakeTerminal, alice: Credential
) -> None:
    terminal.fails_at(Visit, "MT5_CONNECTION_LOST", times=5)
    for _ in range(2):
        with pytest.raises(MT5ConnectionError):
            await managed.manager.login(alice)
    assert len(terminal.visits) == 5
    assert await seconds_of(managed.manager.login(alice)) == 0
    assert managed.states == [CONNECTED, *[RECONNECTING, ERROR] * 2, RECONNECTING, CONNECTED]


async def test_each_change_of_state_says_what_caused_it(
    managed: Managed, terminal: FakeTerminal, alice: Credential
) -> None:
    terminal.fails_at(Visit, "BROKER_UNAVAILABLE")
    await managed.manager.login(alice)
    assert [change.cause for change in managed.changes] == [
        "the terminal works",
        "told to fail: BROKER_UNAVAILABLE",
        "the terminal works again",
    ]
    assert managed.changes[1].detail is Detail.BROKER_DOWN


async def test_a_terminal_process_that_died_is_started_anew(
    managed: Managed, terminal: FakeTerminal, alice: Credential, bob: Credential
) -> None:
    await managed.manager.login(alice)
    terminal.dies_at(Visit)
    await managed.manager.login(bob)
    assert terminal.starts == 2
    assert terminal.unsealed == {bob.account}
    assert (await managed.manager.metrics()).pool_size == 1


async def test_a_process_that_ended_between_two_calls_costs_no_failure(
    managed: Managed, terminal: FakeTerminal, alice: Credential
) -> None:
    terminal.end_process()
    assert await seconds_of(managed.manager.login(alice)) == 0
    assert terminal.starts == 2


async def test_a_call_that_hangs_is_ended_at_its_hard_limit(
    managed: Managed, terminal: FakeTerminal, alice: Credential
) -> None:
    terminal.hangs_at(Visit)
    assert await seconds_of(managed.manager.login(alice)) == pytest.approx(90 + 1)
    assert terminal.starts == 2


async def test_a_terminal_that_always_hangs_times_out(
    managed: Managed, terminal: FakeTerminal, alice: Credential
) -> None:
    terminal.hangs_at(Visit, times=4)
    began = anyio.current_time()
    with pytest.raises(MT5TimeoutError):
        await managed.manager.login(alice)
    assert anyio.current_time() - began == pytest.approx(4 * 90 + 7)
    assert (managed.status.state, managed.status.detail) == (ERROR, Detail.WEDGED)
    assert managed.status.current_account is None


async def test_a_caller_that_gives_up_between_two_tries_leaves_a_manager_that_works(
    managed: Managed, terminal: FakeTerminal, alice: Credential
) -> None:
    terminal.fails_at(Visit, "MT5_CONNECTION_LOST")
    with anyio.move_on_after(0.5):
        await managed.manager.login(alice)
    assert managed.status.state is RECONNECTING
    await managed.manager.login(alice)
    assert managed.status.state is CONNECTED


# Refusals, and answers that can't be trusted


async def test_a_refusal_is_tried_once_more_after_a_look_at_the_terminal(
    managed: Managed, terminal: FakeTerminal, alice: Credential
) -> None:
    wrong = Credential(alice.account, b"wrong")
    with pytest.raises(MT5AuthError) as refusal:
        await managed.manager.login(wrong)
    assert terminal.asked == ["Initialize", "Visit", "Probe", "Visit"]
    assert refusal.value.mt5_error == (-6, "Terminal: Authorization failed")
    assert managed.states == [CONNECTED]


async def test_a_refusal_that_passes_is_not_noticed_by_the_caller(
    managed: Managed, terminal: FakeTerminal, alice: Credential
) -> None:
    terminal.fails_at(Visit, "MT5_AUTH_FAILED")
    visited = await managed.manager.login(alice)
    assert (visited.login, visited.server) == (1, "Broker")
    assert (await managed.manager.metrics()).retries == 1


async def test_a_refusal_without_a_link_to_the_broker_is_the_brokers_fault(
    managed: Managed, terminal: FakeTerminal, alice: Credential
) -> None:
    terminal.broker_connected = False
    terminal.fails_at(Visit, "MT5_AUTH_FAILED", times=4, mt5=(-6, "Terminal: Authorization failed"))
    with pytest.raises(MT5ConnectionError) as failure:
        await managed.manager.login(alice)
    assert failure.value.code == "BROKER_UNAVAILABLE"
    assert managed.status.state is ERROR


async def test_a_server_that_takes_no_logins_is_not_the_terminals_fault(
    managed: Managed, terminal: FakeTerminal, alice: Credential
) -> None:
    terminal.fails_at(Visit, "BROKER_UNAVAILABLE", mt5=(-6, "Terminal: Authorization failed"))
    with pytest.raises(MT5ConnectionError) as failure:
        await managed.manager.login(alice)
    assert failure.value.mt5_error == (-6, "Terminal: Authorization failed")
    assert managed.status.state is CONNECTED
    assert (await managed.manager.metrics()).retries == 0


async def test_a_refusal_by_a_terminal_that_was_just_started_leaves_it_connected(
    managers: Managers, alice: Credential
) -> None:
    made = managers()
    with pytest.raises(MT5AuthError):
        await made.manager.login(Credential(alice.account, b"wrong"))
    assert made.states == [CONNECTED]


async def test_a_changed_password_is_used_at_the_next_login(
    managed: Managed, terminal: FakeTerminal, alice: Credential
) -> None:
    with pytest.raises(MT5AuthError):
        await managed.manager.login(Credential(alice.account, b"outdated"))
    await managed.manager.login(alice)
    envelopes = [one.envelope for one in terminal.commands if isinstance(one, Visit)]
    assert envelopes == [b"outdated", b"outdated", alice.envelope]


async def test_data_that_cannot_be_trusted_is_not_the_terminals_failure(
    managed: Managed, terminal: FakeTerminal, alice: Credential
) -> None:
    terminal.fails_at(Visit, "MT5_DATA_INVALID", identity_mismatch=True)
    with pytest.raises(MT5DataError):
        await managed.manager.login(alice)
    assert len(terminal.visits) == 1
    assert managed.states == [CONNECTED]
    assert managed.status.current_account is None
    assert (await managed.manager.metrics()).identity_mismatches == 1


async def test_another_accounts_answer_is_refused_and_counted(
    managed: Managed, terminal: FakeTerminal, alice: Credential, bob: Credential
) -> None:
    terminal.answers_as = bob.account
    with pytest.raises(MT5DataError):
        await managed.manager.get_account_info(alice)
    assert (await managed.manager.metrics()).identity_mismatches == 1


async def test_the_same_login_at_another_server_is_another_account(
    managed: Managed, terminal: FakeTerminal, alice: Credential
) -> None:
    terminal.answers_as = AccountId(alice.account.login, "Other-Broker")
    with pytest.raises(MT5DataError):
        await managed.manager.login(alice)


async def test_an_answer_to_another_question_is_not_taken_for_this_ones(
    managed: Managed, terminal: FakeTerminal, alice: Credential
) -> None:
    terminal.answers(Visit, Done())
    with pytest.raises(MT5StateError):
        await managed.manager.login(alice)


# Reading an account


async def test_account_info_is_the_accounts_own(managed: Managed, alice: Credential) -> None:
    info = await managed.manager.get_account_info(alice)
    assert (info.login, info.server, info.balance) == (1, "Broker", 1.0)


async def test_an_account_that_cannot_be_read_is_an_error_never_zeros(
    managed: Managed, terminal: FakeTerminal, alice: Credential
) -> None:
    terminal.accounts[alice.account].results["account_info"] = ReadResult(
        "not_ready", 1.0, code="MT5_DATA_INVALID", message="no answer yet", mt5=_NOT_READY
    )
    with pytest.raises(MT5DataError) as failure:
        await managed.manager.get_account_info(alice)
    assert failure.value.mt5_error == _NOT_READY


_NOT_READY: Any = (1, "Success")


# Probing and reconnecting


async def test_a_probe_reports_without_logging_in(
    managed: Managed, terminal: FakeTerminal, alice: Credential
) -> None:
    await managed.manager.login(alice)
    report = await managed.manager.probe()
    assert report.account == alice.account
    assert (report.connection_ok, report.auth_ok, report.data_feed_ok) == (True, True, True)
    assert len(terminal.visits) == 1


async def test_a_probe_sees_that_nobody_is_logged_in(managed: Managed) -> None:
    report = await managed.manager.probe()
    assert not report.auth_ok
    assert report.account is None


async def test_a_probe_sees_the_algo_trading_button(
    managed: Managed, terminal: FakeTerminal
) -> None:
    terminal.trade_allowed = False
    assert not (await managed.manager.probe()).trade_allowed
    assert managed.status.detail is Detail.ALGO_OFF


async def test_a_probe_that_fails_is_not_repeated_and_moves_no_state(
    managed: Managed, terminal: FakeTerminal
) -> None:
    terminal.hangs_at(Probe)
    began = anyio.current_time()
    with pytest.raises(MT5TimeoutError):
        await managed.manager.probe()
    assert anyio.current_time() - began == pytest.approx(10.0)
    assert managed.states == [CONNECTED]


async def test_a_reconnect_attaches_anew_after_a_pause(
    managed: Managed, terminal: FakeTerminal
) -> None:
    assert await seconds_of(managed.manager.reconnect()) == pytest.approx(1.0)
    assert terminal.asked == ["Initialize", "Initialize", "Probe"]
    assert managed.states == [CONNECTED, RECONNECTING, CONNECTED]


async def test_a_reconnect_needs_a_link_to_the_broker(
    managed: Managed, terminal: FakeTerminal
) -> None:
    terminal.broker_connected = False
    with pytest.raises(MT5ConnectionError) as failure:
        await managed.manager.reconnect(max_attempts=2)
    assert failure.value.code == "BROKER_UNAVAILABLE"
    assert terminal.asked.count("Probe") == 2
    assert managed.status.state is ERROR


# What it tells


async def test_the_last_error_carries_the_packages_own_code(
    managed: Managed, terminal: FakeTerminal, alice: Credential
) -> None:
    assert await managed.manager.get_last_error() is None
    terminal.fails_at(Visit, "MT5_CONNECTION_LOST", times=4, mt5=(-10004, "No IPC connection"))
    with pytest.raises(MT5ConnectionError):
        await managed.manager.login(alice)
    error = await managed.manager.get_last_error()
    assert error is not None
    assert error.mt5_error == (-10004, "No IPC connection")
    assert (await managed.manager.metrics()).last_failure_at == anyio.current_time()


async def test_the_metrics_name_build_and_version(managed: Managed) -> None:
    metrics = await managed.manager.metrics()
    assert (metrics.terminal_build, metrics.package_version) == (5200, "5.0.6231")


CALLS: list[Callable[[MT5ConnectionManager, Credential], Awaitable[object]]] = [
    lambda manager, credential: manager.login(credential),
    lambda manager, credential: manager.get_account_info(credential),
    lambda manager, _: manager.probe(),
    lambda manager, _: manager.reconnect(),
    lambda manager, _: manager.shutdown(),
    lambda manager, _: manager.is_connected(),
    lambda manager, _: manager.get_last_error(),
    lambda manager, _: manager.metrics(),
]


@pytest.mark.parametrize("call", CALLS)
async def test_each_call_writes_one_line_with_its_duration(
    managed: Managed, alice: Credential, call: Callable[..., Awaitable[object]]
) -> None:
    with capture_logs() as lines:
        await call(managed.manager, alice)
    timed = [line for line in lines if "ms" in line]
    assert len(timed) == 1
    assert str(timed[0]["event"]).startswith("connection.")


async def test_attaching_writes_a_line_with_its_duration(
    managers: Managers, terminal: FakeTerminal
) -> None:
    terminal.start_seconds = 8.0
    with capture_logs() as lines:
        await managers().manager.initialize()
    (line,) = [line for line in lines if line["event"] == "connection.initialize"]
    assert line["ms"] == pytest.approx(8_000)


async def test_a_failed_call_writes_its_duration_and_the_last_error(
    managed: Managed, terminal: FakeTerminal, alice: Credential
) -> None:
    terminal.switch_seconds = 2.0
    terminal.accounts[alice.account].password = b"changed at the broker"
    with capture_logs() as lines, pytest.raises(MT5AuthError):
        await managed.manager.login(alice)
    (line,) = [line for line in lines if line["event"] == "connection.login.failed"]
    assert line["ms"] == pytest.approx(4_000)
    assert line["last_error"] == (-6, "Terminal: Authorization failed")
    assert line["account"] == "1@Broker"


async def test_an_envelope_is_in_no_log_line_and_no_repr(
    managed: Managed, terminal: FakeTerminal
) -> None:
    account = AccountId(77, "Broker")
    known = terminal.knows(account)
    with capture_logs() as lines:
        await managed.manager.login(known)
        with pytest.raises(MT5AuthError):
            await managed.manager.login(Credential(account, b"planted-envelope"))
    printed = repr([lines, managed.manager, known, terminal.commands])
    assert "planted-envelope" not in printed
    assert "password of" not in printed


async def test_forgetting_names_accounts_not_credentials(
    managers: Managers, terminal: FakeTerminal, alice: Credential, bob: Credential
) -> None:
    manager = managers(pool_limit=1).manager
    await manager.login(alice)
    await manager.login(bob)
    assert terminal.commands[-1] == Forget([(1, "Broker")])


async def test_its_repr_shows_its_state(managed: Managed, alice: Credential) -> None:
    await managed.manager.login(alice)
    assert "CONNECTED" in repr(managed.manager)
    assert "1/20" in repr(managed.manager)


async def test_the_last_error_is_known_while_retries_are_under_way(
    managed: Managed, terminal: FakeTerminal, alice: Credential
) -> None:
    terminal.fails_at(Visit, "BROKER_UNAVAILABLE", 2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(managed.manager.login, alice)
        await anyio.sleep(0.5)  # the first retry comes after a second
        found = await managed.manager.get_last_error()
        assert found is not None
        assert found.code == "BROKER_UNAVAILABLE"
