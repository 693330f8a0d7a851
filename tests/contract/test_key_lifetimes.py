"""Nothing that grows with use stays for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.contract.conftest import Relay


async def test_every_key_expires_but_those_the_contract_names(relay: Relay) -> None:
    await relay.listen("gw")
    await relay.redis.hset(relay.keys.accounts, "1@Demo", "sealed")
    answered = await relay.take_in("answered", gateway="gw")
    buried = await relay.take_in("buried")
    await relay.begin(ids="answered")
    await relay.complete(relay.settled(answered, "answered"), read=relay.full_read())
    await relay.bury(buried, request_id="buried")
    await relay.renew(events=["something"], health={"status": "ok"})
    await relay.submit("waiting", gateway="gw")
    await relay.begin(ids="waiting")
    found = [key.decode() for key in await relay.redis.keys(f"{relay.keys.tag}:*")]
    lasting = {key for key in found if await relay.redis.pttl(key) == -1}
    keys = relay.keys
    assert lasting == {
        *(keys.requests, keys.accounts, keys.fence, keys.events, keys.dead),
        keys.replies("gw"),  # its gateway gives it an expiry, and refreshes it while it lives
    }
    assert {
        *(keys.lease, keys.health, keys.running, keys.shares),
        *(keys.request("waiting"), keys.request("answered"), keys.request("buried")),
        *(keys.reply("answered"), keys.reply("buried"), keys.snapshot("1@Demo")),
    } == set(found) - lasting
