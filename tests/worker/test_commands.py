"""What an operator commands is done at once, and said in the events stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import pytest

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import Outcome
from mt5relay_worker.breaker import BreakerPolicy, CircuitBreaker
from mt5relay_worker.commands import Commands
from mt5relay_worker.event_log import EventLog
from mt5relay_worker.lockout import Lockout, LockoutPolicy
from mt5relay_worker.server_clock import ServerClock

if TYPE_CHECKING:
    from tests.worker.conftest import Counter


@pytest.fixture
def anyio_backend(virtual_time: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return virtual_time


@pytest.fixture
def events() -> EventLog:
    return EventLog(ServerClock())


@pytest.fixture
def breaker(events: EventLog) -> CircuitBreaker:
    return CircuitBreaker(BreakerPolicy(), on_change=events.breaker_changed)


@pytest.fixture
def lockout() -> Lockout:
    return Lockout(LockoutPolicy())


@pytest.fixture
def commands(
    breaker: CircuitBreaker, lockout: Lockout, events: EventLog, counter: Counter
) -> Commands:
    return Commands(breaker, lockout, events, wake_everybody=counter)


def said(events: EventLog) -> list[dict[str, Any]]:
    """The events as they stand in the stream."""
    return [msgspec.json.decode(msgspec.json.encode(event)) for event in events.pending()]


async def test_a_reset_closes_the_breaker_and_says_so(
    commands: Commands, breaker: CircuitBreaker, events: EventLog, counter: Counter
) -> None:
    breaker.record(Outcome.FAILURE, "the terminal died", anyio.current_time())
    await commands.obey(b'{"id":"c1","command":"breaker.reset"}')
    assert breaker.is_closed
    assert counter.times == 1
    _, closed, done = said(events)
    assert (closed["to"], closed["cause"]) == ("CLOSED", "an operator said so")
    assert done == {
        "at_ms": 0,
        "kind": "command",
        "id": "c1",
        "command": "breaker.reset",
        "result": "ok",
        "message": "the breaker is closed",
    }


async def test_a_probe_ends_the_pause_and_wakes_who_makes_it(
    commands: Commands, breaker: CircuitBreaker, counter: Counter
) -> None:
    breaker.record(Outcome.FAILURE, "the terminal died", anyio.current_time())
    assert breaker.retry_after(anyio.current_time()) == 30
    await commands.obey(b'{"id":"c2","command":"breaker.probe"}')
    assert breaker.retry_after(anyio.current_time()) == 0
    assert counter.times == 1


async def test_an_account_is_unlocked(
    commands: Commands, lockout: Lockout, events: EventLog
) -> None:
    account = AccountId(7, "Demo")
    lockout.refused(account, "of its password", anyio.current_time())
    for _ in range(2):
        await commands.obey(b'{"id":"c4","command":"account.unlock","account":"7@Demo"}')
    assert lockout.remaining(account, "of its password", anyio.current_time()) == 0
    first, second = said(events)
    assert first["message"] == "7@Demo may be tried again"
    assert second["message"] == "7@Demo was not locked out"


async def test_a_command_about_no_account_is_refused(commands: Commands, events: EventLog) -> None:
    await commands.obey(b'{"id":"c5","command":"account.unlock"}')
    (answer,) = said(events)
    assert answer["result"] == "refused"
    assert "LOGIN@SERVER" in answer["message"]


async def test_there_is_nothing_to_probe_while_the_breaker_is_closed(
    commands: Commands, events: EventLog
) -> None:
    await commands.obey(b'{"id":"c3","command":"breaker.probe"}')
    (done,) = said(events)
    assert "nothing to probe" in done["message"]


@pytest.mark.parametrize("body", [b"", b"reset!", b"{}", b'{"id":"c","command":"terminal.reboot"}'])
async def test_what_is_no_command_is_passed_over(
    commands: Commands, events: EventLog, counter: Counter, body: bytes
) -> None:
    await commands.obey(body)
    assert said(events) == []
    assert counter.times == 0
