"""What is noted before a visit, and what becomes of a request that no visit survives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.contract.conftest import Begun

if TYPE_CHECKING:
    from tests.contract.conftest import Relay


async def test_a_visit_begins_with_the_accounts_sealed_credential(relay: Relay) -> None:
    await relay.redis.hset(relay.keys.accounts, "1@Demo", b"sealed \xff")
    assert await relay.begin() == [b"ok", b"sealed \xff", []]


async def test_an_account_that_was_never_enrolled_has_no_credential(relay: Relay) -> None:
    assert await relay.begin(account="2@Demo") == [b"ok", None, []]


async def test_what_goes_onto_the_terminal_is_noted_for_a_while(relay: Relay) -> None:
    await relay.begin(ids="r1 r2")
    await relay.begin(ids="r3")
    assert await relay.redis.get(relay.keys.running) == b"r3"
    assert 40_000 < await relay.redis.pttl(relay.keys.running) <= 60_000


async def test_who_lost_the_lease_gets_no_credential_and_begins_nothing(relay: Relay) -> None:
    await relay.redis.hset(relay.keys.accounts, "1@Demo", "sealed")
    relay.lease = await relay.lose_lease()
    assert await relay.begin() == [b"FENCED"]
    assert not await relay.redis.exists(relay.keys.running)


async def test_a_buried_request_stands_among_the_dead_as_it_came(relay: Relay) -> None:
    entry = await relay.take_in()
    assert await relay.bury(entry, body="as it came") == b"ok"
    ((_, letter),) = await relay.redis.xrange(relay.keys.dead)
    assert letter == {
        b"entry": entry,
        b"request": b"as it came",
        b"error": b'{"code":"POISONED"}',
        b"deliveries": b"3",
    }


async def test_a_buried_request_leaves_the_queue(relay: Relay) -> None:
    entry = await relay.take_in()
    await relay.bury(entry)
    assert await relay.pending() == 0
    assert await relay.redis.xlen(relay.keys.requests) == 0
    assert not await relay.redis.hexists(relay.keys.request("r1"), "entry")


async def test_a_buried_request_is_answered_and_everybody_who_waits_is_told(relay: Relay) -> None:
    for gateway in ("gw1", "gw2"):
        await relay.listen(gateway)
    entry = await relay.take_in(gateway="gw1")
    await relay.submit(gateway="gw2")
    await relay.bury(entry, gateway="gw1")
    told = [{b"r1": b'{"status":"error"}'}]
    assert await relay.heard("gw1") == await relay.heard("gw2") == told
    assert await relay.submit() == [b"stored", b'{"status":"error"}']
    assert 40_000 < await relay.redis.pttl(relay.keys.reply("r1")) <= 60_000


async def test_where_no_id_could_be_read_nobody_is_answered(relay: Relay) -> None:
    await relay.redis.xadd(relay.keys.requests, {"request": "{"})
    (entry,) = await relay.deliver()
    assert await relay.bury(entry, request_id="") == b"ok"
    assert await relay.redis.xlen(relay.keys.dead) == 1
    assert not await relay.redis.exists(relay.keys.reply(""))


async def test_a_resent_burial_buries_once(relay: Relay) -> None:
    await relay.listen("gw")
    entry = await relay.take_in(gateway="gw")
    words = [await relay.bury(entry, gateway="gw") for _ in range(3)]
    assert words == [b"ok", b"gone", b"gone"]
    assert await relay.redis.xlen(relay.keys.dead) == 1
    assert len(await relay.heard("gw")) == 1


async def test_a_burial_does_not_overwrite_an_answer(relay: Relay) -> None:
    first = await relay.take_in()
    await relay.complete(relay.settled(first, reply="answer"))
    await relay.redis.xadd(relay.keys.requests, {"request": "{}"})
    (second,) = await relay.deliver()
    await relay.bury(second)
    assert await relay.redis.get(relay.keys.reply("r1")) == b"answer"


async def test_a_burial_does_not_bring_back_a_gateway_that_is_gone(relay: Relay) -> None:
    entry = await relay.take_in(gateway="gone")
    await relay.bury(entry, gateway="gone")
    assert not await relay.redis.exists(relay.stream("gone"))


async def test_who_lost_the_lease_buries_nothing(relay: Relay) -> None:
    entry = await relay.take_in()
    relay.lease = await relay.lose_lease()
    assert await relay.bury(entry) == b"FENCED"
    assert await relay.pending() == 1
    assert not await relay.redis.exists(relay.keys.dead, relay.keys.reply("r1"))


async def test_the_dead_do_not_grow_for_ever(relay: Relay) -> None:
    for number in range(300):
        await relay.redis.xadd(relay.keys.requests, {"request": str(number)})
    for entry in await relay.deliver():
        await relay.bury(entry, request_id="", kept=10)
    assert await relay.redis.xlen(relay.keys.dead) <= 110


# What nobody waits for any more


async def test_a_withdrawn_request_is_dropped_unanswered_and_its_id_is_free(relay: Relay) -> None:
    await relay.listen("gw")
    entry = await relay.take_in(gateway="gw")
    await relay.withdraw("r1", "gw")
    assert await relay.begin(Begun(entry, gateway="gw")) == [b"ok", None, [entry]]
    assert await relay.redis.xlen(relay.keys.requests) == await relay.pending() == 0
    assert not await relay.redis.exists(relay.keys.reply("r1"), relay.keys.running)
    assert (await relay.submit(gateway="gw"))[0] == b"accepted"


async def test_a_dropped_id_keeps_meaning_the_same_question(relay: Relay) -> None:
    await relay.begin(Begun(await relay.take_in(gateway="gone"), gateway="gone"))
    assert await relay.submit(fingerprint="another") == [b"conflict"]


async def test_a_resent_begin_names_the_dropped_again(relay: Relay) -> None:
    entry = await relay.take_in(gateway="gone")
    begun = Begun(entry, gateway="gone")
    assert [(await relay.begin(begun))[2] for _ in range(2)] == [[entry], [entry]]


async def test_a_request_of_a_gateway_that_is_gone_is_dropped(relay: Relay) -> None:
    entry = await relay.take_in(gateway="gone")
    begun = Begun(entry, gateway="gone")
    assert await relay.begin(begun, may_gateways_be_gone=False) == [b"ok", None, []]
    assert await relay.redis.get(relay.keys.running) == b"r1"
    assert await relay.begin(begun) == [b"ok", None, [entry]]


async def test_one_who_still_waits_is_enough(relay: Relay) -> None:
    await relay.listen("gw2")
    entry = await relay.take_in(gateway="gw1")
    await relay.submit(gateway="gw2")
    assert (await relay.begin(Begun(entry, gateway="gw1")))[2] == []


async def test_what_somebody_will_collect_is_never_dropped(relay: Relay) -> None:
    kept = await relay.take_in("kept", gateway="gone")
    await relay.submit("kept")
    stored_only = await relay.take_in("stored-only")
    begun = [Begun(kept, "kept", "gone"), Begun(stored_only, "stored-only")]
    assert (await relay.begin(*begun))[2] == []


async def test_a_plain_entry_is_never_dropped(relay: Relay) -> None:
    await relay.redis.xadd(relay.keys.requests, {"request": "{}"})
    (entry,) = await relay.deliver()
    assert (await relay.begin(Begun(entry, gateway="never-made-a-stream")))[2] == []


async def test_where_some_are_dropped_no_visit_has_begun(relay: Relay) -> None:
    await relay.listen("gw")
    dropped = await relay.take_in("dropped", gateway="gone")
    waiting = await relay.take_in("waiting", gateway="gw")
    begun = [Begun(dropped, "dropped", "gone"), Begun(waiting, "waiting", "gw")]
    assert (await relay.begin(*begun))[2] == [dropped]
    assert not await relay.redis.exists(relay.keys.running)
