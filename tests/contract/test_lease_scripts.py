"""One worker for a terminal: taking, keeping and giving back the lease."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.contract.conftest import Relay


async def test_a_free_lease_is_taken_for_a_while(idle: Relay) -> None:
    assert await idle.acquire("w1", "n1", ttl_ms=30_000) == [b"acquired", b"w1:n1:1", b""]
    assert await idle.redis.get(idle.keys.lease) == b"w1:n1:1"
    assert 15_000 < await idle.redis.pttl(idle.keys.lease) <= 30_000


async def test_a_held_lease_is_not_taken_and_its_holder_is_named(relay: Relay) -> None:
    word, holder, remaining_ms = await relay.acquire("w2", "n2")
    assert (word, holder) == (b"held", b"w1:n1:1")
    assert 55_000 < remaining_ms <= 60_000
    assert await relay.redis.get(relay.keys.lease) == b"w1:n1:1"


async def test_a_resent_take_over_is_one_take_over(relay: Relay) -> None:
    assert await relay.acquire() == [b"acquired", b"w1:n1:1", b""]
    assert await relay.redis.get(relay.keys.fence) == b"1"


@pytest.mark.parametrize(("worker", "nonce"), [("w1", "n2"), ("w", "1:n1"), ("w1", "n"), ("", "")])
async def test_a_restarted_worker_of_the_same_name_is_another_worker(
    relay: Relay, worker: str, nonce: str
) -> None:
    assert (await relay.acquire(worker, nonce))[0] == b"held"


async def test_each_take_over_has_a_higher_fence(relay: Relay) -> None:
    await relay.lose_lease()
    assert relay.lease == "w2:n2:2"
    await relay.lose_lease()
    assert relay.lease == "w2:n2:3"


async def test_the_fence_outlives_the_lease(relay: Relay) -> None:
    assert await relay.redis.ttl(relay.keys.fence) == -1


async def test_a_crash_is_charged_to_what_was_on_the_terminal_and_to_nothing_else(
    relay: Relay,
) -> None:
    for request_id in ("on-it", "beside-it", "waiting"):
        await relay.submit(request_id)
    await relay.begin(ids="on-it beside-it")
    await relay.expire_lease()
    assert await relay.acquire("w2", "n2") == [b"acquired", b"w2:n2:2", b"on-it beside-it"]
    crashes = [
        await relay.redis.hget(relay.keys.request(request_id), "crashes")
        for request_id in ("on-it", "beside-it", "waiting")
    ]
    assert crashes == [b"1", b"1", None]


async def test_a_crash_is_charged_once(relay: Relay) -> None:
    await relay.submit()
    await relay.begin(ids="r1")
    await relay.expire_lease()
    for _ in range(3):
        await relay.acquire("w2", "n2")
    assert await relay.redis.hget(relay.keys.request("r1"), "crashes") == b"1"
    assert not await relay.redis.exists(relay.keys.running)


async def test_crashes_add_up_over_take_overs(relay: Relay) -> None:
    await relay.submit()
    for _ in range(3):
        await relay.begin(ids="r1")
        await relay.lose_lease()
    assert await relay.redis.hget(relay.keys.request("r1"), "crashes") == b"3"


async def test_a_clean_end_of_a_visit_charges_nobody(relay: Relay) -> None:
    entry = await relay.take_in()
    await relay.begin(ids="r1")
    await relay.complete(relay.settled(entry), visit_is_over=True)
    await relay.expire_lease()
    assert await relay.acquire("w2", "n2") == [b"acquired", b"w2:n2:2", b""]


@pytest.mark.parametrize(("timeout_ms", "at_least"), [(10_000, 40_000), (600_000, 580_000)])
async def test_a_crash_is_remembered_but_not_for_ever(
    relay: Relay, timeout_ms: int, at_least: int
) -> None:
    await relay.submit(timeout_ms=timeout_ms)
    await relay.begin(ids="r1")
    await relay.lose_lease()
    assert await relay.redis.pttl(relay.keys.request("r1")) > at_least


async def test_a_crash_of_a_request_without_a_marker_is_remembered_too(relay: Relay) -> None:
    await relay.begin(ids="plain-xadd")
    await relay.lose_lease()
    marker = relay.keys.request("plain-xadd")
    assert await relay.redis.hget(marker, "crashes") == b"1"
    assert 40_000 < await relay.redis.pttl(marker) <= 60_000


async def test_a_heartbeat_prolongs_the_lease(relay: Relay) -> None:
    assert await relay.renew() == b"ok"
    assert 100_000 < await relay.redis.pttl(relay.keys.lease) <= 120_000


async def test_a_heartbeat_publishes_health_that_goes_when_the_worker_does(relay: Relay) -> None:
    await relay.renew(health={"status": "ok", "detail": ""})
    await relay.renew(health={"status": "degraded", "detail": "idle"})
    health = await relay.redis.hgetall(relay.keys.health)
    assert health == {b"status": b"degraded", b"detail": b"idle"}
    assert 40_000 < await relay.redis.pttl(relay.keys.health) <= 60_000


async def test_a_heartbeat_appends_events_in_their_order(relay: Relay) -> None:
    await relay.renew(events=["one", "two"], health={"status": "ok"})
    await relay.renew(events=["three"])
    events = await relay.redis.xrange(relay.keys.events)
    assert [fields for _, fields in events] == [
        {b"event": b"one"},
        {b"event": b"two"},
        {b"event": b"three"},
    ]
    assert await relay.redis.hgetall(relay.keys.health) == {b"status": b"ok"}


async def test_events_do_not_grow_for_ever(relay: Relay) -> None:
    for _ in range(5):
        await relay.renew(events=["something"] * 100)
    assert await relay.redis.xlen(relay.keys.events) <= 200


async def test_who_lost_the_lease_can_no_longer_speak_for_the_terminal(relay: Relay) -> None:
    relay.lease = await relay.lose_lease()
    assert await relay.renew(events=["mine"], health={"status": "ok"}) == b"FENCED"
    assert not await relay.redis.exists(relay.keys.health, relay.keys.events)
    assert await relay.redis.pttl(relay.keys.lease) <= 60_000


async def test_a_lease_that_ran_out_is_not_revived_by_a_heartbeat(relay: Relay) -> None:
    await relay.expire_lease()
    assert await relay.renew(health={"status": "ok"}) == b"FENCED"
    assert not await relay.redis.exists(relay.keys.lease, relay.keys.health)


async def test_a_lease_given_back_is_free_at_once_and_says_so(relay: Relay) -> None:
    await relay.renew(health={"status": "ok"})
    assert await relay.release() == 1
    assert not await relay.redis.exists(relay.keys.lease, relay.keys.health)
    assert (await relay.acquire("w2", "n2"))[0] == b"acquired"


async def test_nobody_gives_back_what_another_holds(relay: Relay) -> None:
    lost = await relay.lose_lease()
    await relay.renew(health={"status": "ok"})
    relay.lease, successor = lost, relay.lease
    assert await relay.release() == 0
    assert await relay.redis.get(relay.keys.lease) == successor.encode()
    assert await relay.redis.exists(relay.keys.health)


async def test_giving_back_twice_is_giving_back_once(relay: Relay) -> None:
    assert [await relay.release(), await relay.release()] == [1, 0]
