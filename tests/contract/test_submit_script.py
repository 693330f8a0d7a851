"""What becomes of a request when it is submitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.contract.conftest import Relay


async def test_an_accepted_request_stands_in_the_stream_as_it_was_written(relay: Relay) -> None:
    word, entry = await relay.submit(body='{"v":1,"id":"r1"}')
    assert word == b"accepted"
    entries = await relay.redis.xrange(relay.keys.requests)
    assert entries == [(entry, {b"request": b'{"v":1,"id":"r1"}'})]


async def test_an_accepted_request_is_marked_with_its_deadline_in_server_time(
    relay: Relay,
) -> None:
    _, entry = await relay.submit(gateway="gw", timeout_ms=10_000)
    marker = await relay.redis.hgetall(relay.keys.request("r1"))
    assert marker == {
        b"entry": entry,
        b"fingerprint": b"asks-this",
        b"deadline": b"%d" % (int(entry.partition(b"-")[0]) + 10_000),
        b"to:" + relay.stream("gw").encode(): b"1",
    }


async def test_a_marker_outlives_the_deadline_and_then_goes(relay: Relay) -> None:
    await relay.submit(timeout_ms=10_000, marker_outlives_ms=50_000)
    assert 40_000 < await relay.redis.pttl(relay.keys.request("r1")) <= 60_000


async def test_every_answer_tells_the_servers_time(relay: Relay) -> None:
    seconds, _ = await relay.redis.time()
    await relay.submit()
    later, _ = await relay.redis.time()
    assert seconds * 1000 <= relay.server_time_ms < (later + 1) * 1000


async def test_a_resent_submit_makes_one_entry(relay: Relay) -> None:
    accepted = await relay.submit(gateway="gw")
    attached = await relay.submit(gateway="gw")
    assert (accepted[0], attached[0]) == (b"accepted", b"attached")
    assert accepted[1] == attached[1]
    assert await relay.redis.xlen(relay.keys.requests) == 1


async def test_a_retry_through_another_gateway_attaches_and_both_are_told(relay: Relay) -> None:
    for gateway in ("gw1", "gw2"):
        await relay.listen(gateway)
    entry = await relay.take_in(gateway="gw1")
    assert await relay.submit(gateway="gw2") == [b"attached", entry]
    await relay.complete(relay.settled(entry, reply="answer", gateway="gw1"))
    assert await relay.heard("gw1") == await relay.heard("gw2") == [{b"r1": b"answer"}]


async def test_who_wants_no_push_attaches_without_a_trace(relay: Relay) -> None:
    await relay.submit()
    before = await relay.redis.hgetall(relay.keys.request("r1"))
    await relay.submit(gateway="")
    assert await relay.redis.hgetall(relay.keys.request("r1")) == before


async def test_another_body_under_an_id_in_flight_is_a_conflict(relay: Relay) -> None:
    await relay.submit(fingerprint="asks-this")
    assert await relay.submit(fingerprint="asks-that", gateway="gw") == [b"conflict"]
    assert await relay.redis.xlen(relay.keys.requests) == 1
    marker = await relay.redis.hgetall(relay.keys.request("r1"))
    assert b"to:" + relay.stream("gw").encode() not in marker


async def test_an_answered_request_gets_its_stored_reply(relay: Relay) -> None:
    entry = await relay.take_in()
    await relay.complete(relay.settled(entry, reply="answer"))
    assert await relay.submit() == [b"stored", b"answer"]
    assert await relay.redis.xlen(relay.keys.requests) == 0


async def test_without_a_worker_a_request_is_refused(idle: Relay) -> None:
    assert await idle.submit() == [b"refused", b"NO_WORKER", 0]
    assert await idle.redis.keys(f"{idle.keys.tag}:*") == []


async def test_while_the_breaker_is_open_the_refusal_says_when_to_come_back(relay: Relay) -> None:
    seconds, _ = await relay.redis.time()
    retry_at_ms = (seconds + 60) * 1000
    await relay.renew(health={"breaker": "OPEN", "breaker_retry_at_ms": str(retry_at_ms)})
    word, code, wait_ms = await relay.submit()
    assert (word, code) == (b"refused", b"CIRCUIT_OPEN")
    assert 40_000 < wait_ms <= 60_000


@pytest.mark.parametrize("retry_at", ["", "1000"])
async def test_an_open_breaker_whose_pause_is_over_or_unknown_names_no_wait(
    relay: Relay, retry_at: str
) -> None:
    await relay.renew(health={"breaker": "OPEN", "breaker_retry_at_ms": retry_at})
    assert await relay.submit() == [b"refused", b"CIRCUIT_OPEN", 0]


@pytest.mark.parametrize("breaker", ["CLOSED", "HALF_OPEN", ""])
async def test_a_breaker_that_is_not_open_refuses_nobody(relay: Relay, breaker: str) -> None:
    await relay.renew(health={"breaker": breaker, "breaker_retry_at_ms": ""})
    assert (await relay.submit())[0] == b"accepted"


async def test_a_full_queue_refuses_the_next(relay: Relay) -> None:
    for request_id in ("r1", "r2"):
        assert (await relay.submit(request_id, queue_limit=2))[0] == b"accepted"
    assert await relay.submit("r3", queue_limit=2) == [b"refused", b"QUEUE_FULL", 100]
    assert (await relay.submit("r4", queue_limit=0))[0] == b"accepted"


async def test_a_full_queue_says_how_long_it_takes(relay: Relay) -> None:
    await relay.renew(health={"estimated_wait_ms": "4000"})
    await relay.submit("r1", queue_limit=1)
    assert await relay.submit("r2", queue_limit=1) == [b"refused", b"QUEUE_FULL", 4000]


async def test_who_could_not_be_answered_in_time_is_refused_at_once(relay: Relay) -> None:
    await relay.renew(health={"estimated_wait_ms": "10001"})
    await relay.submit("r1", timeout_ms=60_000)
    assert await relay.submit("r2", timeout_ms=10_000) == [b"refused", b"TOO_LATE", 10_001]
    assert (await relay.submit("r3", timeout_ms=10_001))[0] == b"accepted"


async def test_who_can_ride_along_is_not_refused_for_the_length_of_the_line(relay: Relay) -> None:
    await relay.renew(health={"estimated_wait_ms": "60000"})
    await relay.submit("r1", account="1@Demo", timeout_ms=60_000)
    turn = f'{{"waiting":1,"since_ms":0,"by_ms":{relay.server_time_ms + 5_000}}}'
    assert await relay.publish_queue("1@Demo", turn) == b"ok"
    assert (await relay.submit("r2", account="1@Demo", timeout_ms=9_000))[0] == b"accepted"
    assert (await relay.submit("r3", account="1@Demo", timeout_ms=1_000))[1] == b"TOO_LATE"
    assert (await relay.submit("r4", account="2@Demo", timeout_ms=9_000))[1] == b"TOO_LATE"


async def test_who_waits_is_said_by_the_holder_alone_and_forgotten_in_time(relay: Relay) -> None:
    await relay.publish_queue("1@Demo", "{}")
    assert 0 < await relay.redis.pttl(relay.keys.queue) <= 60_000
    await relay.publish_queue()
    assert not await relay.redis.exists(relay.keys.queue)
    relay.lease = await relay.lose_lease()
    assert await relay.publish_queue("1@Demo", "{}") == b"FENCED"
    assert not await relay.redis.exists(relay.keys.queue)


async def test_where_nobody_waits_an_old_estimate_refuses_nobody(relay: Relay) -> None:
    await relay.renew(health={"estimated_wait_ms": "10001"})
    assert (await relay.submit(timeout_ms=10))[0] == b"accepted"


async def test_refusals_are_weighed_in_a_fixed_order(relay: Relay) -> None:
    await relay.submit("r1")
    await relay.renew(health={"breaker": "OPEN", "estimated_wait_ms": "99999"})
    codes = [await relay.refusal_code("r2", queue_limit=1)]
    await relay.renew(health={"breaker": "CLOSED"})
    codes.append(await relay.refusal_code("r2", queue_limit=1))
    codes.append(await relay.refusal_code("r2", queue_limit=0))
    await relay.renew(health={"breaker": "OPEN"})
    await relay.expire_lease()
    codes.append(await relay.refusal_code("r2", queue_limit=1))
    assert codes == [b"CIRCUIT_OPEN", b"QUEUE_FULL", b"TOO_LATE", b"NO_WORKER"]


async def test_a_refused_request_leaves_nothing_behind(relay: Relay) -> None:
    await relay.submit("r1")
    await relay.submit("r2", queue_limit=1)
    assert not await relay.redis.exists(relay.keys.request("r2"))


async def test_what_is_in_flight_or_answered_is_not_refused(relay: Relay) -> None:
    answered = await relay.take_in("answered")
    await relay.complete(relay.settled(answered, "answered", "answer"))
    await relay.submit("in-flight")
    await relay.renew(health={"breaker": "OPEN"})
    await relay.expire_lease()
    assert await relay.submit("answered") == [b"stored", b"answer"]
    assert (await relay.submit("in-flight"))[0] == b"attached"


async def test_what_a_crash_left_behind_does_not_pass_for_a_request_in_flight(
    relay: Relay,
) -> None:
    await relay.begin(ids="r1")
    await relay.lose_lease()
    assert await relay.redis.hgetall(relay.keys.request("r1")) == {b"crashes": b"1"}
    assert (await relay.submit("r1"))[0] == b"accepted"


# Places in the queue


async def test_one_gateway_leaves_room_for_a_newcomer(relay: Relay) -> None:
    taken = await fill(relay, "greedy", queue_limit=90)
    assert taken == 80
    assert await fill(relay, "modest", queue_limit=90, most=9) == 9
    assert await relay.redis.xlen(relay.keys.requests) == 89


async def test_places_that_become_free_go_to_whoever_has_fewer(relay: Relay) -> None:
    await fill(relay, "greedy", queue_limit=90)
    await fill(relay, "modest", queue_limit=90)
    entries = await relay.deliver()
    settled = [relay.settled(one, f"greedy-{n}", gateway="greedy") for n, one in enumerate(entries)]
    await relay.complete(*settled[:40])
    refused = await relay.submit("greedy-again", gateway="greedy", queue_limit=90)
    assert refused[0] == b"accepted"
    assert await fill(relay, "modest", queue_limit=90) > 30
    shares = await relay.redis.hgetall(relay.keys.shares)
    counts = sorted(int(count) for count in shares.values())
    assert sum(counts) == await relay.redis.xlen(relay.keys.requests)
    assert counts[0] > 0.9 * counts[1]


async def test_a_gateways_own_limit_refuses_only_that_gateway(relay: Relay) -> None:
    assert await fill(relay, "gw1", queue_limit=0, gateway_limit=3) == 3
    assert await fill(relay, "gw2", queue_limit=0, gateway_limit=3) == 3


async def test_an_empty_queue_forgets_every_miscount(relay: Relay) -> None:
    await fill(relay, "gw", queue_limit=0, gateway_limit=3)
    await relay.redis.xtrim(relay.keys.requests, maxlen=0)
    assert (await relay.submit("next", gateway="gw", gateway_limit=3))[0] == b"accepted"
    assert await relay.redis.hgetall(relay.keys.shares) == {relay.stream("gw").encode(): b"1"}


async def test_who_never_submitted_through_the_script_takes_nobodys_place(relay: Relay) -> None:
    await relay.submit("r1", gateway="gw")
    await relay.redis.xadd(relay.keys.requests, {"request": "{}"})
    first, plain = await relay.deliver()
    await relay.complete(relay.settled(plain, "plain", gateway="gw"))
    await relay.complete(relay.settled(first, gateway="gw"))
    assert not await relay.redis.exists(relay.keys.shares)


async def fill(
    relay: Relay, gateway: str, *, queue_limit: int, gateway_limit: int = 0, most: int = 1000
) -> int:
    """Submit until refused, or `most`; returns how many were accepted."""
    for number in range(most):
        answer = await relay.submit(
            f"{gateway}-{number}",
            gateway=gateway,
            queue_limit=queue_limit,
            gateway_limit=gateway_limit,
        )
        if answer[0] == b"refused":
            assert answer[1] == b"QUEUE_FULL"
            return number
    return most
