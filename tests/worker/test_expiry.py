"""Nobody waits past their own deadline, whatever the terminal is doing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio
import pytest
from tests.limits import HANG_LIMIT

from mt5relay_shared.accounts import AccountId
from mt5relay_worker.expiry import Expiry

if TYPE_CHECKING:
    from tests.worker.conftest import FakeTerminal, Gate, Parts


@pytest.fixture
def expiry(parts: Parts) -> Expiry:
    return Expiry(
        parts.backlog,
        parts.shadow,
        parts.replies,
        parts.fallback,
        parts.clock,
        is_stopping=lambda: parts.is_stopping,
    )


@pytest.fixture
async def alice(parts: Parts) -> AccountId:
    return await parts.enrol(AccountId(1_001, "Broker"))


@pytest.fixture
async def bob(parts: Parts) -> AccountId:
    return await parts.enrol(AccountId(1_002, "Broker"))


async def test_who_was_not_served_in_time_is_told_that_nothing_was_done(
    parts: Parts, expiry: Expiry, alice: AccountId
) -> None:
    asked = await parts.ask(alice, timeout_ms=30_000)
    parts.let_time_pass(30)
    await expiry.expire()
    error = await parts.error(asked)
    assert (error.code, error.retryable) == ("DEADLINE_EXCEEDED", True)
    assert len(parts.backlog) == len(parts.shadow) == 0
    assert await parts.redis.xlen(parts.keys.requests) == 0


async def test_who_has_time_left_keeps_the_place(
    parts: Parts, expiry: Expiry, alice: AccountId
) -> None:
    await parts.ask(alice, timeout_ms=20_000)
    patient = await parts.ask(alice, timeout_ms=60_000)
    parts.let_time_pass(20)
    await expiry.expire()
    assert [one.request.id for one in parts.backlog] == [patient]


async def test_deadlines_pass_in_the_middle_of_a_visit_too(
    parts: Parts,
    expiry: Expiry,
    alice: AccountId,
    bob: AccountId,
    gate: Callable[[], Gate],
) -> None:
    terminal = parts.terminal
    terminal.at_switch = gate()
    first, waiting = await parts.ask(alice), await parts.ask(bob, timeout_ms=20_000)
    async with parts.visiting(), anyio.create_task_group() as tasks:
        tasks.start_soon(expiry.run)
        await terminal.at_switch.reached.wait()
        parts.let_time_pass(20)
        assert (await parts.error(waiting)).code == "DEADLINE_EXCEEDED"
        assert not await parts.is_answered(first)
        terminal.at_switch.opened.set()
        await parts.answer(first)
        tasks.cancel_scope.cancel()


async def test_who_expires_on_the_terminal_is_answered_once(
    parts: Parts,
    expiry: Expiry,
    terminal: FakeTerminal,
    alice: AccountId,
    gate: Callable[[], Gate],
) -> None:
    terminal.at_read = gate()
    asked = await parts.ask(alice, timeout_ms=20_000)
    async with parts.visiting():
        await terminal.at_read.reached.wait()
        parts.let_time_pass(20)
        await expiry.expire()
        terminal.at_read.opened.set()
        later = await parts.answer(await parts.ask(alice))
        assert later.source == "terminal"
    assert (await parts.error(asked)).code == "DEADLINE_EXCEEDED"


async def test_who_allows_it_gets_the_last_snapshot_instead(
    parts: Parts, expiry: Expiry, alice: AccountId
) -> None:
    async with parts.visiting():
        fresh = await parts.answer(await parts.ask(alice))
    asked = await parts.ask(alice, timeout_ms=20_000, stale_if_error_ms=60_000)
    parts.let_time_pass(20)
    await expiry.expire()
    reply = await parts.answer(asked)
    assert (reply.stale, reply.reason) == (True, "DEADLINE_EXCEEDED")
    assert reply.as_of_ms == fresh.as_of_ms


async def test_a_near_deadline_that_arrives_later_is_kept_too(
    parts: Parts, expiry: Expiry, alice: AccountId
) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(expiry.run)
        patient = await parts.ask(alice, timeout_ms=60_000)
        await anyio.sleep(0.02)  # it sleeps already, by the farther deadline
        hurried = await parts.ask(alice, timeout_ms=20_000)
        parts.let_time_pass(20)
        await parts.error(hurried)
        assert not await parts.is_answered(patient)
        tasks.cancel_scope.cancel()


async def test_it_ends_when_the_worker_stops(parts: Parts, expiry: Expiry) -> None:
    with anyio.fail_after(HANG_LIMIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(expiry.run)
            parts.stop()
