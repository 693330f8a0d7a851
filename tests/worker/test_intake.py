"""What stands in the streams reaches the worker, whatever happens on the way."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from redis.asyncio import Redis
from tests.limits import HANG_LIMIT
from tests.servers import WORKER, AclServer, as_user

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.redis_client import connect
from mt5relay_worker.intake import Intake

if TYPE_CHECKING:
    from tests.worker.conftest import Counter, Parts, Until

ALICE = AccountId(1_001, "Broker")


@dataclass
class Taking:
    """An intake on a connection of its own, and what reached the worker through it."""

    intake: Intake
    parts: Parts
    obeyed: list[bytes] = field(default_factory=list[bytes])

    @property
    def waiting(self) -> list[str]:
        return [one.request.id for one in self.parts.backlog]

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.intake.run)
            yield
            tasks.cancel_scope.cancel()

    async def command(self, body: bytes) -> None:
        await self.parts.redis.xadd(self.parts.keys.commands, {"command": body})


def make_taking(parts: Parts, blocking: Redis, on_arrival: Callable[[], None]) -> Taking:
    obeyed: list[bytes] = []

    async def obey(body: bytes) -> None:
        obeyed.append(body)

    intake = Intake(
        blocking,
        parts.keys,
        parts.admission,
        obey,
        is_stopping=lambda: parts.is_stopping,
        on_arrival=on_arrival,
        block_ms=2_000,  # longer than a busy machine makes a test wait
    )
    return Taking(intake, parts, obeyed)


@pytest.fixture
async def taking(parts: Parts, server: AclServer, counter: Counter) -> AsyncIterator[Taking]:
    blocking = connect(as_user(server.url, WORKER), client_name="intake")
    yield make_taking(parts, blocking, counter)
    await blocking.aclose()


@pytest.fixture
async def own_taking(
    own_parts: Parts, own_server: AclServer, counter: Counter
) -> AsyncIterator[Taking]:
    blocking = connect(as_user(own_server.url, WORKER), client_name="intake")
    yield make_taking(own_parts, blocking, counter)
    await blocking.aclose()


async def pending(parts: Parts, stream: str) -> int:
    found: Any = await parts.redis.xpending(stream, "worker")
    return int(found["pending"])


async def deliver(parts: Parts) -> None:
    """Entries go out to the worker, which dies before it does anything."""
    await parts.redis.xreadgroup("worker", "worker", {parts.keys.requests: ">"})


# Taking over


async def test_what_was_enqueued_before_the_first_worker_ever_ran_is_served(
    taking: Taking, until: Until
) -> None:
    await taking.parts.enqueue(ALICE, "orders", id="early")
    await taking.intake.recover([])

    async def is_taken_in() -> bool:
        return taking.waiting == ["early"]

    async with taking.running():
        await until(is_taken_in)


async def test_what_an_earlier_worker_left_comes_first_in_the_order_of_arrival(
    taking: Taking, counter: Counter, until: Until
) -> None:
    await taking.intake.recover([])
    for name in ("one", "two", "three"):
        await taking.parts.enqueue(ALICE, "orders", id=name)
    await deliver(taking.parts)
    await taking.parts.enqueue(ALICE, "orders", id="new")
    counter.times = 0
    await taking.intake.recover([])
    assert taking.waiting == ["one", "two", "three"]
    assert counter.times == 1

    async def is_taken_in() -> bool:
        return taking.waiting == ["one", "two", "three", "new"]

    async with taking.running():
        await until(is_taken_in)


async def test_more_than_one_read_can_hold_is_recovered(taking: Taking) -> None:
    await taking.intake.recover([])
    pipeline = taking.parts.redis.pipeline(transaction=False)
    for _ in range(1_100):
        pipeline.xadd(taking.parts.keys.requests, {"request": b"{}"})
    await pipeline.execute()
    await deliver(taking.parts)
    await taking.intake.recover([])
    assert await pending(taking.parts, taking.parts.keys.requests) == 0
    assert await taking.parts.redis.xlen(taking.parts.keys.dead) >= 1_000


async def test_a_request_that_was_running_at_too_many_crashes_is_buried(taking: Taking) -> None:
    await taking.intake.recover([])
    for name in ("poison", "bystander"):
        await taking.parts.enqueue(ALICE, "orders", id=name)
        await taking.parts.redis.hset(taking.parts.keys.request(name), "crashes", "3")
    await deliver(taking.parts)
    await taking.intake.recover(["poison"])
    assert taking.waiting == ["bystander"]
    assert (await taking.parts.error("poison")).code == "POISONED"


async def test_what_was_commanded_of_the_last_worker_is_not_obeyed(
    taking: Taking, until: Until
) -> None:
    await taking.command(b"old")
    await taking.intake.recover([])
    async with taking.running():
        await taking.command(b"new")
        await until(lambda: _has_obeyed(taking))
    assert taking.obeyed == [b"new"]


async def _has_obeyed(taking: Taking) -> bool:
    return bool(taking.obeyed)


async def test_an_entry_that_somebody_deleted_is_settled(taking: Taking) -> None:
    await taking.intake.recover([])
    entry = await taking.parts.enqueue(ALICE, "orders")
    await deliver(taking.parts)
    await taking.parts.redis.xdel(taking.parts.keys.requests, entry.id)
    await taking.intake.recover([])
    assert taking.waiting == []
    assert await pending(taking.parts, taking.parts.keys.requests) == 0


# Reading on


async def test_new_requests_are_taken_in_and_the_worker_is_woken(
    taking: Taking, counter: Counter, until: Until
) -> None:
    await taking.intake.recover([])
    counter.times = 0

    async def are_taken_in() -> bool:
        return taking.waiting == ["one", "two"]

    async with taking.running():
        for name in ("one", "two"):
            await taking.parts.enqueue(ALICE, "orders", id=name)
        await until(are_taken_in)
    assert counter.times in (1, 2)


async def test_a_command_is_obeyed_once_and_off_the_stream(taking: Taking, until: Until) -> None:
    await taking.intake.recover([])
    async with taking.running():
        await taking.command(b"breaker, please")
        await until(lambda: _has_obeyed(taking))
    assert taking.obeyed == [b"breaker, please"]
    assert await taking.parts.redis.xlen(taking.parts.keys.commands) == 0
    assert await pending(taking.parts, taking.parts.keys.commands) == 0


async def test_a_group_that_was_deleted_is_made_again(taking: Taking, until: Until) -> None:
    await taking.intake.recover([])

    async def is_taken_in() -> bool:
        return taking.waiting == ["after"]

    async with taking.running():
        await anyio.sleep(0.05)
        await taking.parts.redis.delete(taking.parts.keys.requests)
        await taking.parts.enqueue(ALICE, "orders", id="after")
        await until(is_taken_in)


async def test_a_stop_waits_for_the_read_under_way(taking: Taking, until: Until) -> None:
    """A blocking read is never cancelled: what it was sent would stay pending unseen."""
    await taking.intake.recover([])
    with anyio.fail_after(HANG_LIMIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(taking.intake.run)
            await anyio.sleep(0.05)
            taking.parts.stop()
            await taking.parts.enqueue(ALICE, "orders", id="last")
    assert taking.waiting == ["last"]


# Trouble


async def test_a_broken_connection_is_made_again(
    own_taking: Taking,
    onlooker: Redis,
    until: Until,
    break_connections: Callable[[], Awaitable[object]],
) -> None:
    parts = own_taking.parts
    await own_taking.intake.recover([])
    body = (await parts.enqueue(ALICE, "orders", id="before")).body or b""

    async def has(count: int) -> bool:
        return len(own_taking.waiting) == count

    async with own_taking.running():
        await until(lambda: has(1))
        await break_connections()
        await onlooker.xadd(parts.keys.requests, {"request": body.replace(b"before", b"after")})
        await until(lambda: has(2))
    assert own_taking.waiting == ["before", "after"]


async def test_an_entry_that_was_sent_but_never_received_is_looked_for(
    own_taking: Taking,
    onlooker: Redis,
    until: Until,
    break_connections: Callable[[], Awaitable[object]],
) -> None:
    parts = own_taking.parts
    await own_taking.intake.recover([])
    await parts.enqueue(ALICE, "orders", id="lost")
    await deliver(parts)

    async def is_found() -> bool:
        return own_taking.waiting == ["lost"]

    async with own_taking.running():
        await anyio.sleep(0.05)
        assert own_taking.waiting == []
        await break_connections()
        await until(is_found)
