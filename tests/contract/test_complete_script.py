"""How requests are answered: once, under the lease, and everybody who waits is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mt5relay_shared.messages import ErrorReply, decode_reply

if TYPE_CHECKING:
    from tests.contract.conftest import Relay


async def test_an_answer_is_stored_for_later_and_for_a_while(relay: Relay) -> None:
    entry = await relay.take_in()
    assert await relay.complete(relay.settled(entry, reply="answer", expiry_ms=30_000)) == [
        b"ok",
        1,
    ]
    assert await relay.redis.get(relay.keys.reply("r1")) == b"answer"
    assert 15_000 < await relay.redis.pttl(relay.keys.reply("r1")) <= 30_000


async def test_an_answered_request_leaves_the_queue(relay: Relay) -> None:
    entry = await relay.take_in()
    await relay.complete(relay.settled(entry))
    assert await relay.pending() == 0
    assert await relay.redis.xlen(relay.keys.requests) == 0
    assert not await relay.redis.hexists(relay.keys.request("r1"), "entry")


async def test_who_waits_is_told_the_answer(relay: Relay) -> None:
    await relay.listen("gw")
    entry = await relay.take_in(gateway="gw")
    await relay.complete(relay.settled(entry, reply="answer", gateway="gw"))
    assert await relay.heard("gw") == [{b"r1": b"answer"}]


async def test_a_plain_request_that_nobody_submitted_is_answered_too(relay: Relay) -> None:
    await relay.listen("gw")
    await relay.redis.xadd(relay.keys.requests, {"request": "{}"})
    (entry,) = await relay.deliver()
    await relay.complete(relay.settled(entry, reply="answer", gateway="gw"))
    assert await relay.heard("gw") == [{b"r1": b"answer"}]


async def test_a_gateway_that_is_gone_is_not_brought_back(relay: Relay) -> None:
    entry = await relay.take_in(gateway="gone")
    await relay.complete(relay.settled(entry, gateway="gone"))
    assert not await relay.redis.exists(relay.stream("gone"))
    assert await relay.redis.exists(relay.keys.reply("r1"))


async def test_the_replies_of_a_visit_to_one_gateway_are_one_entry(relay: Relay) -> None:
    for gateway in ("gw1", "gw2"):
        await relay.listen(gateway)
    sent = [("r1", "gw1"), ("r2", "gw2"), ("r3", "gw1")]
    entries = [await relay.take_in(request_id, gateway=gateway) for request_id, gateway in sent]
    answered = await relay.complete(
        *(
            relay.settled(entry, request_id, f"to {request_id}", gateway=gateway)
            for entry, (request_id, gateway) in zip(entries, sent, strict=True)
        )
    )
    assert answered == [b"ok", 3]
    assert await relay.heard("gw1") == [{b"r1": b"to r1", b"r3": b"to r3"}]
    assert await relay.heard("gw2") == [{b"r2": b"to r2"}]


async def test_a_visit_may_answer_hundreds_at_once(relay: Relay) -> None:
    await relay.listen("gw")
    ids = [f"r{number}" for number in range(500)]
    for request_id in ids:
        await relay.submit(request_id, gateway="gw")
    entries = await relay.deliver()
    settled = [
        relay.settled(entry, request_id, gateway="gw")
        for entry, request_id in zip(entries, ids, strict=True)
    ]
    assert await relay.complete(*settled) == [b"ok", 500]
    heard = await relay.heard("gw")
    assert sorted(name for entry in heard for name in entry) == sorted(map(str.encode, ids))
    assert len(heard) <= 2


async def test_the_first_answer_stands(relay: Relay) -> None:
    entry = await relay.take_in()
    await relay.complete(relay.settled(entry, reply="first"))
    assert await relay.complete(relay.settled(entry, reply="second")) == [b"ok", 0]
    assert await relay.redis.get(relay.keys.reply("r1")) == b"first"


async def test_a_resent_answer_tells_nobody_twice(relay: Relay) -> None:
    for gateway in ("gw1", "gw2"):
        await relay.listen(gateway)
    entry = await relay.take_in(gateway="gw1")
    await relay.submit(gateway="gw2")
    for _ in range(3):
        await relay.complete(relay.settled(entry, reply="answer", gateway="gw1"))
    assert await relay.heard("gw1") == await relay.heard("gw2") == [{b"r1": b"answer"}]


ORDERS_OF_1 = '{"status":"ok","id":"r1","account":"1@Demo","operation":"orders"}'
ORDERS_OF_2 = '{"status":"ok","id":"r1","account":"2@Demo","operation":"orders"}'


async def test_a_second_entry_under_an_answered_id_gets_the_first_answer(relay: Relay) -> None:
    await relay.listen("gw")
    await relay.complete(relay.settled(await relay.take_in(), reply=ORDERS_OF_1))
    await relay.redis.xadd(relay.keys.requests, {"request": "{}"})
    (second,) = await relay.deliver()
    again = relay.settled(second, reply=ORDERS_OF_1, gateway="gw")
    assert await relay.complete(again) == [b"ok", 0]
    assert await relay.heard("gw") == [{b"r1": ORDERS_OF_1.encode()}]
    assert await relay.redis.xlen(relay.keys.requests) == 0


async def test_a_second_entry_that_asks_of_another_account_never_gets_the_first_answer(
    relay: Relay,
) -> None:
    await relay.listen("gw")
    await relay.complete(relay.settled(await relay.take_in(), reply=ORDERS_OF_1))
    await relay.redis.xadd(relay.keys.requests, {"request": "{}"})
    (second,) = await relay.deliver()
    await relay.complete(relay.settled(second, reply=ORDERS_OF_2, gateway="gw"))
    ((told,),) = [list(fields.values()) for fields in await relay.heard("gw")]
    reply = decode_reply(told)
    assert isinstance(reply, ErrorReply)
    assert (reply.account, reply.error.code) == ("2@Demo", "VALIDATION_FAILED")
    assert await relay.redis.get(relay.keys.reply("r1")) == ORDERS_OF_1.encode()


async def test_a_worker_that_lost_its_lease_changes_nothing(relay: Relay) -> None:
    await relay.listen("gw")
    entry = await relay.take_in(gateway="gw")
    lost = await relay.lose_lease()
    await relay.begin(ids="r1")
    relay.lease = lost
    answered = await relay.complete(
        relay.settled(entry, gateway="gw"), read=relay.full_read(), visit_is_over=True
    )
    assert answered == [b"FENCED"]
    assert await relay.heard("gw") == []
    assert await relay.pending() == 1
    assert await relay.redis.exists(relay.keys.request("r1"), relay.keys.running) == 2
    assert not await relay.redis.exists(relay.keys.reply("r1"), relay.keys.snapshot("1@Demo"))


async def test_without_any_lease_nothing_is_written(relay: Relay) -> None:
    entry = await relay.take_in()
    await relay.expire_lease()
    assert await relay.complete(relay.settled(entry)) == [b"FENCED"]
    assert not await relay.redis.exists(relay.keys.reply("r1"))


async def test_a_lease_with_the_same_fence_but_another_nonce_is_not_mine(relay: Relay) -> None:
    entry = await relay.take_in()
    relay.lease = relay.lease.replace("n1", "n2")
    assert await relay.complete(relay.settled(entry)) == [b"FENCED"]


async def test_a_snapshot_is_stored_with_its_age_and_for_a_while(relay: Relay) -> None:
    await relay.complete(
        read=relay.full_read("read", as_of_ms=7, sequence=3, synchronized="assumed")
    )
    snapshot = relay.keys.snapshot("1@Demo")
    assert await relay.redis.hgetall(snapshot) == {
        b"data": b"read",
        b"as_of": b"7",
        b"fence": b"1",
        b"sequence": b"3",
        b"synchronized": b"assumed",
    }
    assert 40_000 < await relay.redis.pttl(snapshot) <= 60_000


@pytest.mark.parametrize(
    ("sequence", "kept"), [(4, b"old"), (5, b"old"), (6, b"new"), (10, b"new")]
)
async def test_a_snapshot_gives_way_only_to_a_newer_read(
    relay: Relay, sequence: int, kept: bytes
) -> None:
    await relay.complete(read=relay.full_read("old", sequence=5))
    await relay.complete(read=relay.full_read("new", sequence=sequence))
    assert await relay.redis.hget(relay.keys.snapshot("1@Demo"), "data") == kept


async def test_the_next_workers_first_read_is_newer_than_any_before(relay: Relay) -> None:
    await relay.complete(read=relay.full_read("old", sequence=99))
    await relay.lose_lease()
    await relay.complete(read=relay.full_read("new", sequence=1))
    assert await relay.redis.hget(relay.keys.snapshot("1@Demo"), "data") == b"new"


async def test_fences_are_compared_as_numbers(relay: Relay) -> None:
    await relay.redis.set(relay.keys.fence, 8)
    await relay.lose_lease()  # fence 9
    await relay.complete(read=relay.full_read("at fence 9", sequence=9))
    await relay.lose_lease()  # fence 10
    await relay.complete(read=relay.full_read("at fence 10", sequence=10))
    await relay.complete(read=relay.full_read("at fence 10, later", sequence=11))
    kept = await relay.redis.hget(relay.keys.snapshot("1@Demo"), "data")
    assert kept == b"at fence 10, later"


async def test_an_answer_without_a_read_leaves_the_snapshot_alone(relay: Relay) -> None:
    entry = await relay.take_in()
    await relay.complete(relay.settled(entry))
    assert not await relay.redis.exists(relay.keys.snapshot("1@Demo"))


@pytest.mark.parametrize(("visit_is_over", "left"), [(False, 1), (True, 0)])
async def test_only_the_end_of_a_visit_takes_its_requests_off_the_terminal(
    relay: Relay, visit_is_over: bool, left: int
) -> None:
    entry = await relay.take_in()
    await relay.begin(ids="r1")
    await relay.complete(relay.settled(entry), visit_is_over=visit_is_over)
    assert await relay.redis.exists(relay.keys.running) == left


async def test_an_answered_id_keeps_meaning_the_same_question(relay: Relay) -> None:
    await relay.complete(relay.settled(await relay.take_in()))
    (again, *_), (other, *_) = (
        await relay.submit(fingerprint="asks-this"),
        await relay.submit(fingerprint="asks-something-else"),
    )
    assert (again, other) == (b"stored", b"conflict")
    assert await relay.redis.pttl(relay.keys.request("r1")) > 0
