"""A server out of memory under noeviction takes in nothing, rather than half of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.exceptions import OutOfMemoryError
from tests.contract.conftest import Begun, Parties, Relay
from tests.servers import AclServer, running_server

from mt5relay_shared.keys import Keys


@pytest.fixture
async def full(server: AclServer, keys: Keys) -> AsyncIterator[Relay]:
    """A terminal with a worker, a request in flight, and a server that has become full."""
    with running_server() as own:
        parties = Parties.at(own.url)
        relay = Relay(parties, keys)
        await relay.acquire()
        await relay.listen("gw")
        await relay.take_in(gateway="gw")
        await relay.redis.config_set("maxmemory", 1)
        yield relay
        await parties.leave()


async def keys_of(relay: Relay) -> dict[bytes, bytes]:
    names = sorted(await relay.redis.keys("*"))
    return {name: await relay.redis.dump(name) for name in names}


@pytest.mark.parametrize("is_empty", [False, True], ids=["somebody waits", "nobody waits"])
async def test_no_request_is_accepted_by_halves(full: Relay, is_empty: bool) -> None:
    if is_empty:
        await full.redis.xtrim(full.keys.requests, maxlen=0)
    before = await keys_of(full)
    for _ in range(2):
        with pytest.raises(OutOfMemoryError):
            await full.submit("r2", gateway="gw")
    assert await keys_of(full) == before


async def test_a_visit_is_not_begun_and_one_that_was_is_answered_as_a_whole(full: Relay) -> None:
    ((entry, _),) = await full.redis.xrange(full.keys.requests)
    before = await keys_of(full)
    with pytest.raises(OutOfMemoryError):
        await full.begin(Begun(entry, gateway="gw"))
    assert await keys_of(full) == before
    answered = await full.complete(full.settled(entry, gateway="gw"), read=full.full_read())
    assert answered == [b"ok", 1]
    assert len(await full.heard("gw")) == 1
    assert await full.redis.exists(full.keys.reply("r1"), full.keys.snapshot("1@Demo")) == 2
    assert await full.pending() == 0
