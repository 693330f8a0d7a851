"""When the terminal is looked at, and when it is tried while the breaker is open. Virtual time."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import Outcome
from mt5relay_shared.health import BreakerState, ConnectionState
from mt5relay_worker.credential_turns import Credential
from mt5relay_worker.health import LastProbe
from mt5relay_worker.health_check import HealthCheck
from mt5relay_worker.terminal.protocol import Initialize, Probe, Visit

if TYPE_CHECKING:
    from tests.worker.conftest import FakeTerminal, Parts

INTERVAL, PAUSE, LONGEST_PAUSE = 30.0, 30.0, 600.0


@pytest.fixture
def anyio_backend(virtual_time: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return virtual_time


@dataclass
class Checked:
    """A health check and what it looks after."""

    check: HealthCheck
    parts: Parts
    last_probe: LastProbe

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.check.run)
            await anyio.sleep(1.0)  # it has attached by then
            yield
            tasks.cancel_scope.cancel()

    def worked_lately(self, credential: Credential) -> None:
        """As if a visit had just gone through."""
        self.parts.visits.tally.last_success_at = anyio.current_time()
        self.parts.visits.tally.good[credential.account] = credential

    def breaks(self) -> None:
        self.parts.breaker.record(Outcome.FAILURE, "the test broke it", anyio.current_time())
        self.check.hurry()

    def has_breaker(self, state: BreakerState) -> bool:
        return self.parts.breaker.state is state


@pytest.fixture
async def checked(unconnected_parts: Parts) -> AsyncIterator[Checked]:
    parts = unconnected_parts
    last_probe = LastProbe()
    check = HealthCheck(
        parts.manager,
        parts.breaker,
        parts.visits,
        last_probe,
        interval=INTERVAL,
        is_stopping=lambda: parts.is_stopping,
    )
    yield Checked(check, parts, last_probe)
    await parts.manager.shutdown()


@pytest.fixture
def alice(terminal: FakeTerminal) -> Credential:
    return terminal.knows(AccountId(1, "Broker"))


# While all is well


async def test_the_terminal_is_attached_before_anybody_asks(
    checked: Checked, terminal: FakeTerminal
) -> None:
    async with checked.running():
        assert terminal.asked == ["Initialize"]
        assert checked.parts.status.state is ConnectionState.CONNECTED


async def test_an_idle_terminal_is_looked_at_once_an_interval_without_a_login(
    checked: Checked, terminal: FakeTerminal
) -> None:
    async with checked.running():
        await anyio.sleep(4 * INTERVAL)
    assert terminal.asked == ["Initialize", "Probe", "Probe", "Probe", "Probe"]
    assert checked.last_probe.report is not None
    assert checked.last_probe.report.latency_ms == 0


async def test_while_work_flows_nobody_looks(
    checked: Checked, terminal: FakeTerminal, alice: Credential
) -> None:
    async with checked.running():
        for _ in range(20):
            checked.worked_lately(alice)
            await anyio.sleep(INTERVAL / 2)
    assert terminal.asked == ["Initialize"]


async def test_a_terminal_that_does_not_answer_is_started_anew(
    checked: Checked, terminal: FakeTerminal
) -> None:
    terminal.dies_at(Probe)
    async with checked.running():
        await anyio.sleep(INTERVAL + 5)
    assert terminal.starts == 2
    assert checked.has_breaker(BreakerState.CLOSED)
    assert checked.parts.status.state is ConnectionState.CONNECTED


async def test_a_terminal_that_cannot_be_started_anew_opens_the_breaker(
    checked: Checked, terminal: FakeTerminal
) -> None:
    terminal.dies_at(Probe)
    async with checked.running():
        terminal.does_not_start(times=9)
        await anyio.sleep(INTERVAL + 40)
        assert checked.has_breaker(BreakerState.OPEN)
        assert checked.parts.status.state is ConnectionState.ERROR


async def test_a_lost_link_to_the_broker_opens_the_breaker(
    checked: Checked, terminal: FakeTerminal
) -> None:
    async with checked.running():
        terminal.broker_connected = False
        await anyio.sleep(INTERVAL + 5)
        assert checked.has_breaker(BreakerState.OPEN)


async def test_a_terminal_that_does_not_start_is_tried_again_after_the_pause(
    checked: Checked, terminal: FakeTerminal
) -> None:
    terminal.fails_at(Initialize, "MT5_INIT_FAILED", times=2)
    async with checked.running():
        assert checked.has_breaker(BreakerState.OPEN)
        await anyio.sleep(PAUSE)
        assert checked.has_breaker(BreakerState.CLOSED)
    assert terminal.visits == []


# While the breaker is open


async def test_the_one_probe_is_a_login_to_the_account_that_worked_last(
    checked: Checked, terminal: FakeTerminal, alice: Credential
) -> None:
    async with checked.running():
        checked.worked_lately(alice)
        checked.breaks()
        await anyio.sleep(PAUSE - 0.5)
        assert terminal.visits == []
        await anyio.sleep(1.0)
        assert terminal.visits == [alice.account]
        assert checked.has_breaker(BreakerState.CLOSED)
        assert checked.last_probe.report is not None


async def test_where_no_account_ever_worked_the_probe_logs_in_to_none(
    checked: Checked, terminal: FakeTerminal
) -> None:
    async with checked.running():
        checked.breaks()
        await anyio.sleep(PAUSE + 1)
        assert checked.has_breaker(BreakerState.CLOSED)
    assert terminal.visits == []


async def test_each_failed_probe_doubles_the_pause_up_to_the_longest(
    checked: Checked, terminal: FakeTerminal, alice: Credential
) -> None:
    tries: list[float] = []
    async with checked.running():
        checked.worked_lately(alice)
        checked.breaks()
        began = anyio.current_time()
        terminal.fails_at(Visit, "MT5_CONNECTION_LOST", times=100)
        for _ in range(5_000):
            if len(terminal.visits) > len(tries):
                tries.append(anyio.current_time() - began)
                terminal.commands = [one for one in terminal.commands if isinstance(one, Visit)]
            await anyio.sleep(1.0)
    # The first probe is tried twice, by the retry policy; after that the state is ERROR: once.
    pauses = [after - before for before, after in itertools.pairwise(tries[1:])]
    assert tries[0] == pytest.approx(PAUSE, abs=1.5)
    assert pauses[:5] == pytest.approx([60, 120, 240, 480, 600], abs=2.5)
    assert all(pause == pytest.approx(LONGEST_PAUSE, abs=2.5) for pause in pauses[4:])


async def test_a_refusal_of_the_witness_says_nothing_about_the_terminal(
    checked: Checked, terminal: FakeTerminal, alice: Credential
) -> None:
    """The account that worked last is refused now: the terminal is tried without it, at once."""
    async with checked.running():
        checked.worked_lately(alice)
        terminal.accounts[alice.account].password = b"changed at the broker"
        checked.breaks()
        await anyio.sleep(PAUSE + 1)
        assert checked.has_breaker(BreakerState.CLOSED)
        assert checked.parts.visits.tally.last_good is None
    assert terminal.asked[-2:] == ["Probe", "Probe"]


async def test_an_operator_may_have_the_probe_at_once(
    checked: Checked, terminal: FakeTerminal, alice: Credential
) -> None:
    async with checked.running():
        checked.worked_lately(alice)
        checked.breaks()
        await anyio.sleep(1.0)
        checked.parts.breaker.allow_probe_now(anyio.current_time())
        checked.check.hurry()
        await anyio.sleep(0.1)
        assert terminal.visits == [alice.account]
        assert checked.has_breaker(BreakerState.CLOSED)


async def test_after_an_operators_reset_nobody_probes(
    checked: Checked, terminal: FakeTerminal, alice: Credential
) -> None:
    async with checked.running():
        checked.worked_lately(alice)
        checked.breaks()
        await anyio.sleep(1.0)
        checked.parts.breaker.reset("an operator said so", anyio.current_time())
        checked.check.hurry()
        await anyio.sleep(INTERVAL / 2)
    assert terminal.asked == ["Initialize"]


async def test_a_stop_does_not_wait_for_the_next_look(checked: Checked) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(checked.check.run)
        await anyio.sleep(1.0)
        checked.parts.is_stopping = True
        checked.check.hurry()
    assert anyio.current_time() == pytest.approx(1.0)
