"""An entry that somebody made by hand, with an id and a size of their choice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mt5relay_shared.accounts import AccountId
from mt5relay_worker.admission import AHEAD_MS, MAX_BURIED_BYTES, Entry

if TYPE_CHECKING:
    from tests.worker.conftest import Parts

ALICE = AccountId(1_001, "Broker")


async def test_of_an_unreadable_request_only_the_beginning_is_kept(parts: Parts) -> None:
    body = b"x" * 1_000_000
    await parts.enqueue_body(body)
    await parts.redis.xgroup_create(parts.keys.requests, "worker", id="0")
    delivered: Any = await parts.redis.xreadgroup("worker", "worker", {parts.keys.requests: ">"})
    ((entry, _),) = next(iter(delivered.values()))
    await parts.admission.admit([Entry(entry.decode(), body)])
    letters: Any = await parts.redis.xrange(parts.keys.dead)
    ((_, letter),) = letters
    assert letter[b"request"] == body[:MAX_BURIED_BYTES]


@pytest.mark.parametrize("at_ms", [10**14, 2**64 - 1])
async def test_an_entry_from_far_ahead_counts_as_just_arrived(parts: Parts, at_ms: int) -> None:
    body = (await parts.enqueue(ALICE, "positions", timeout_ms=5_000)).body
    before = parts.clock.now_ms()
    await parts.admission.admit([Entry(f"{at_ms}-1", body)])
    (waiting,) = parts.backlog
    assert before <= waiting.arrived_ms <= parts.clock.now_ms()
    assert waiting.deadline_ms <= parts.clock.now_ms() + 5_000


async def test_where_the_servers_clock_was_set_back_the_id_still_counts(parts: Parts) -> None:
    body = (await parts.enqueue(ALICE, "positions", timeout_ms=5_000)).body
    at_ms = parts.clock.now_ms() + AHEAD_MS // 2
    await parts.admission.admit([Entry(f"{at_ms}-1", body)])
    (waiting,) = parts.backlog
    assert waiting.arrived_ms == at_ms
