"""Every entry of the stream waits, is answered, is refused or is buried; none is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.messages import OkReply
from mt5relay_shared.redis_client import connect
from mt5relay_worker.admission import Admission, Entry
from mt5relay_worker.backlog import Waiting
from mt5relay_worker.replies import Replies

if TYPE_CHECKING:
    from tests.worker.conftest import Parts

ALICE = AccountId(1_001, "Broker")


async def dead_letters(parts: Parts) -> list[dict[bytes, bytes]]:
    entries: Any = await parts.redis.xrange(parts.keys.dead)
    return [fields for _, fields in entries]


@pytest.fixture
async def snapshot_of_alice(parts: Parts) -> OkReply:
    """Alice was read a moment ago."""
    await parts.enrol(ALICE)
    async with parts.visiting():
        return await parts.answer(await parts.ask(ALICE))


# Waiting


async def test_a_request_waits_in_the_order_of_its_arrival(parts: Parts) -> None:
    entries = [await parts.enqueue(ALICE, "positions") for _ in range(3)]
    await parts.admission.admit(entries)
    assert [one.entry for one in parts.backlog] == [entry.id for entry in entries]


async def test_a_requests_deadline_counts_from_its_arrival(parts: Parts) -> None:
    await parts.ask(ALICE, timeout_ms=30_000)
    (waiting,) = parts.backlog
    arrived = int(waiting.entry.partition("-")[0])
    assert (waiting.arrived_ms, waiting.deadline_ms) == (arrived, arrived + 30_000)


async def test_an_entry_that_is_read_twice_waits_once(parts: Parts) -> None:
    entry = await parts.enqueue(ALICE, "positions")
    await parts.admission.admit([entry])
    await parts.admission.admit([entry])
    assert len(parts.backlog) == 1
    assert len(parts.shadow) == 1


# Refusals


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"operation": "withdraw"}, "operation"),
        ({"account": "not-an-account"}, "account"),
        ({"operation": "rates", "arguments": {"symbol": "EURUSD"}}, "timeframe"),
        ({"operation": "tick", "arguments": {"symbol": ""}}, "symbol"),
        ({"timeout_ms": 60_001}, "timeout_ms"),
    ],
)
async def test_a_request_that_is_wrong_is_told_which_field(
    parts: Parts, fields: dict[str, Any], named: str
) -> None:
    fields = dict(fields)
    asked = await parts.ask(fields.pop("account", ALICE), **fields)
    error = await parts.error(asked)
    assert error.code == "VALIDATION_FAILED"
    assert named in error.message
    assert len(parts.backlog) == 0
    assert await parts.redis.xlen(parts.keys.requests) == 0


async def test_a_malformed_request_with_an_id_is_answered(parts: Parts) -> None:
    body = b'{"id":"abc","account":5,"operation":"positions","timeout_ms":"soon"}'
    await parts.admission.admit([await parts.enqueue_body(body)])
    assert (await parts.error("abc")).code == "VALIDATION_FAILED"
    assert await dead_letters(parts) == []


@pytest.mark.parametrize(
    "body", [b"", b"not json", b"{}", b"[1]", b'{"id":"a b"}', b"\xff\xfe", b"x" * 20_000]
)
async def test_a_request_without_a_readable_id_is_buried_with_its_reason(
    parts: Parts, body: bytes
) -> None:
    entry = await parts.enqueue_body(body)
    await parts.admission.admit([entry, await parts.enqueue(ALICE, "positions")])
    (letter,) = await dead_letters_after_delivery(parts, entry, body)
    assert letter[b"request"] == body
    assert msgspec.json.decode(letter[b"error"])["code"] == "VALIDATION_FAILED"
    assert len(parts.backlog) == 1  # the next in line is not held up


async def dead_letters_after_delivery(
    parts: Parts, entry: Entry, body: bytes
) -> list[dict[bytes, bytes]]:
    """Only what was delivered to the worker's group can be buried."""
    await parts.redis.xgroup_create(parts.keys.requests, "worker", id="0")
    await parts.redis.xreadgroup("worker", "worker", {parts.keys.requests: ">"})
    await parts.admission.admit([Entry(entry.id, body)])
    return await dead_letters(parts)


async def test_a_request_that_expired_before_it_was_read_is_told_so(parts: Parts) -> None:
    old = Entry("1000-0", (await parts.enqueue(ALICE, "positions", id="old")).body)
    await parts.admission.admit([old])
    assert (await parts.error("old")).code == "DEADLINE_EXCEEDED"
    assert len(parts.backlog) == 0


# Crashes


async def test_a_request_that_crashed_the_worker_too_often_is_buried_and_answered(
    parts: Parts,
) -> None:
    entry = await parts.enqueue(ALICE, "positions", id="poison")
    await parts.redis.xgroup_create(parts.keys.requests, "worker", id="0")
    await parts.redis.xreadgroup("worker", "worker", {parts.keys.requests: ">"})
    await parts.admission.admit([entry], {"poison": 3})
    error = await parts.error("poison")
    assert (error.code, error.retryable) == ("POISONED", False)
    (letter,) = await dead_letters(parts)
    assert letter[b"deliveries"] == b"3"
    assert letter[b"request"] == entry.body


async def test_a_request_that_crashed_less_often_gets_another_chance(parts: Parts) -> None:
    entry = await parts.enqueue(ALICE, "positions", id="unlucky")
    await parts.admission.admit([entry], {"unlucky": 2})
    assert len(parts.backlog) == 1


# Snapshots


@pytest.mark.usefixtures("snapshot_of_alice")
async def test_a_fresh_enough_snapshot_answers_without_the_terminal(parts: Parts) -> None:
    visits = len(parts.terminal.visits)
    reply = await parts.answer(await parts.ask(ALICE, "orders", max_age_ms=60_000))
    assert (reply.source, reply.stale, reply.reason) == ("snapshot", False, None)
    assert bytes(reply.data) == b"[]"
    assert len(parts.terminal.visits) == visits
    assert len(parts.shadow) == 0


@pytest.mark.usefixtures("snapshot_of_alice")
@pytest.mark.parametrize("fields", [{}, {"max_age_ms": 0}, {"stale_if_error_ms": 60_000}])
async def test_who_asks_for_no_age_waits_for_the_terminal(
    parts: Parts, fields: dict[str, Any]
) -> None:
    await parts.ask(ALICE, "orders", **fields)
    assert len(parts.backlog) == 1


@pytest.mark.usefixtures("snapshot_of_alice")
async def test_a_snapshot_never_answers_for_another_account(parts: Parts) -> None:
    await parts.ask(AccountId(ALICE.login, "Other-Broker"), max_age_ms=60_000)
    assert len(parts.backlog) == 1


@pytest.fixture
async def deaf_admission(parts: Parts) -> AsyncIterator[Admission]:
    """Writes work, as they are tried again; reads of snapshots do not."""
    nowhere = connect("redis://127.0.0.1:1", client_name="nowhere")
    replies = Replies(nowhere, parts.lease, parts.keys, parts.clock, snapshot_ttl=60.0)
    yield Admission(
        parts.backlog,
        parts.shadow,
        replies,
        parts.clock,
        parts.line,
        max_timeout=60.0,
        poison_limit=3,
    )
    await nowhere.aclose()


async def test_where_no_snapshot_can_be_read_the_request_waits_for_the_terminal(
    parts: Parts, deaf_admission: Admission
) -> None:
    await deaf_admission.admit([await parts.enqueue(ALICE, "orders", max_age_ms=60_000)])
    waiting: list[Waiting] = list(parts.backlog)
    assert len(waiting) == 1
    assert len(parts.shadow) == 1


# Too late


async def test_who_comes_too_late_in_the_line_is_told_at_once(parts: Parts) -> None:
    parts.costs.observe_switch(ALICE, 12_000)
    ids = [await parts.ask(AccountId(login, "Broker"), timeout_ms=30_000) for login in range(1, 5)]
    error = await parts.error(ids[3])
    assert (error.code, error.retryable) == ("TOO_LATE", True)
    assert 30_000 < (error.retry_after_ms or 0) <= 36_500
    assert "ask with more time" in error.message
    assert [one.request.id for one in parts.backlog] == ids[:3]


async def test_who_rides_along_is_not_too_late(parts: Parts) -> None:
    parts.costs.observe_switch(ALICE, 10_000)
    for login in range(1, 5):
        await parts.ask(AccountId(login, "Broker"), timeout_ms=60_000)
    await parts.ask(AccountId(1, "Broker"), timeout_ms=20_000)
    assert len(parts.backlog) == 5


async def test_all_of_one_burst_are_counted(parts: Parts) -> None:
    parts.costs.observe_switch(ALICE, 6_000)
    entries = [
        await parts.enqueue(AccountId(login, "Broker"), "orders", timeout_ms=60_000)
        for login in range(1, 51)
    ]
    await parts.admission.admit(entries)
    assert 9 <= len(parts.backlog) <= 11
    assert await parts.redis.xlen(parts.keys.requests) == len(parts.backlog)


async def test_nobody_is_refused_by_a_guess(parts: Parts) -> None:
    for login in range(1, 51):
        await parts.ask(AccountId(login, "Broker"), timeout_ms=30_000)
    assert len(parts.backlog) == 50


async def test_an_account_that_once_was_slow_is_not_refused_for_ever(parts: Parts) -> None:
    parts.costs.observe_switch(ALICE, 60_000)
    await parts.ask(ALICE, timeout_ms=30_000)
    assert len(parts.backlog) == 1
