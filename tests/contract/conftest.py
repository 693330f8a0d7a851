"""One terminal's keys and both sides' steps on them, on a real server and on fakeredis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from fakeredis import FakeServer
from fakeredis.aioredis import FakeAsyncRedisConnection
from redis.asyncio import ConnectionPool, Redis
from tests.servers import GATEWAY, TESTER, WORKER, as_user

from mt5relay_shared.keys import WORKER_CONSUMER, WORKER_GROUP, Keys
from mt5relay_shared.redis_client import connect
from mt5relay_shared.scripts import ACQUIRE, BEGIN, BURY, COMPLETE, PUBLISH, RELEASE, RENEW, SUBMIT

MINUTE_MS = 60_000


@dataclass(frozen=True)
class Begun:
    """A request that a worker is about to serve."""

    entry: bytes
    id: str = "r1"
    gateway: str = ""


@dataclass(frozen=True)
class Settled:
    """A reply as a worker writes it."""

    entry: bytes
    id: str
    reply: str
    gateway: str
    expiry_ms: int


@dataclass(frozen=True)
class Read:
    """A full read as a worker stores it."""

    data: str
    as_of_ms: int
    sequence: int
    synchronized: str


NO_READ = Read(data="", as_of_ms=0, sequence=0, synchronized="")


@dataclass(frozen=True)
class Parties:
    """The connections to one store; `onlooker` may do everything. One for all where users are
    unknown."""

    onlooker: Redis
    gateway: Redis
    worker: Redis

    @classmethod
    def at(cls, url: str) -> Parties:
        """Each as its own user of `users.acl`."""
        return cls(
            *(connect(as_user(url, user), client_name=user) for user in (TESTER, GATEWAY, WORKER))
        )

    async def leave(self) -> None:
        for one in (self.onlooker, self.gateway, self.worker):
            await one.aclose()


class Relay:
    """Both sides of one terminal, one script at a time."""

    def __init__(self, parties: Parties, keys: Keys) -> None:
        # redis-py's types allow for the answers of every protocol at once
        self.redis: Any = parties.onlooker
        self.gateway: Any = parties.gateway
        self.worker: Any = parties.worker
        self.keys = keys
        self.lease = ""
        self.server_time_ms = 0  # as the last submit said

    def stream(self, gateway: str) -> str:
        return self.keys.replies(gateway) if gateway else ""

    # The gateway's side.

    async def submit(
        self,
        request_id: str = "r1",
        *,
        fingerprint: str = "asks-this",
        body: str = '{"v":1}',
        gateway: str = "",
        timeout_ms: int = 10_000,
        queue_limit: int = 0,
        gateway_limit: int = 0,
        marker_outlives_ms: int = 5_000,
        account: str = "1@Demo",
    ) -> list[Any]:
        """Returns the answer without the server's time, which stands in front."""
        keys = self.keys
        self.server_time_ms, answer = await SUBMIT.run(
            self.gateway,
            [
                *(keys.requests, keys.lease, keys.health, keys.queue, keys.shares),
                *(keys.request(request_id), keys.reply(request_id)),
            ],
            [
                *(self.stream(gateway), queue_limit, gateway_limit, marker_outlives_ms),
                *(fingerprint, body, timeout_ms, account),
            ],
        )
        return list(answer)

    async def withdraw(self, request_id: str, gateway: str) -> None:
        """A gateway's caller went away; it withdraws by a plain command."""
        await self.gateway.hdel(self.keys.request(request_id), f"to:{self.stream(gateway)}")

    async def refusal_code(self, request_id: str, *, queue_limit: int) -> bytes:
        word, code, _ = await self.submit(request_id, queue_limit=queue_limit)
        assert word == b"refused"
        return bytes(code)

    async def listen(self, gateway: str) -> None:
        """A gateway creates its own reply stream before its first request."""
        await self.gateway.xadd(self.stream(gateway), {"hello": "1"})

    async def heard(self, gateway: str) -> list[dict[bytes, bytes]]:
        """What was pushed to a gateway, entry by entry."""
        entries = await self.redis.xrange(self.stream(gateway))
        return [fields for _, fields in entries if b"hello" not in fields]

    # The worker's side.

    async def acquire(
        self, worker: str = "w1", nonce: str = "n1", *, ttl_ms: int = MINUTE_MS
    ) -> list[Any]:
        keys = self.keys
        answer: list[Any] = await ACQUIRE.run(
            self.worker,
            [keys.lease, keys.fence, keys.running],
            [worker, nonce, ttl_ms, keys.request(""), MINUTE_MS],
        )
        if answer[1] == b"acquired":
            self.lease = answer[2].decode()
        return answer[1:]

    async def expire_lease(self) -> None:
        """As if the holder had been silent for too long."""
        await self.redis.delete(self.keys.lease)

    async def lose_lease(self) -> str:
        """Another worker takes over; returns the lease that is worth nothing now."""
        lost = self.lease
        await self.expire_lease()
        await self.acquire("w2", "n2")
        return lost

    async def renew(
        self, *, events: Sequence[str] = (), health: dict[str, str] | None = None
    ) -> bytes:
        fields = [text for pair in (health or {}).items() for text in pair]
        answer: list[Any] = await RENEW.run(
            self.worker,
            [self.keys.lease, self.keys.health, self.keys.events],
            [self.lease, 2 * MINUTE_MS, MINUTE_MS, 100, len(events), *events, *fields],
        )
        return bytes(answer[1])

    async def publish_queue(self, *fields: str) -> bytes:
        answer: list[Any] = await PUBLISH.run(
            self.worker, [self.keys.lease, self.keys.queue], [self.lease, MINUTE_MS, *fields]
        )
        return bytes(answer[0])

    async def release(self) -> int:
        return int(
            await RELEASE.run(self.worker, [self.keys.lease, self.keys.health], [self.lease])
        )

    async def begin(
        self,
        *begun: Begun,
        account: str = "1@Demo",
        ids: str = "",
        may_gateways_be_gone: bool = True,
    ) -> list[Any]:
        """`ids`, separated by spaces, are of entries that no submit has marked."""
        keys = self.keys
        begun = (*begun, *(Begun(b"0-1", request_id) for request_id in ids.split()))
        answer: list[Any] = await BEGIN.run(
            self.worker,
            [
                *(keys.lease, keys.running, keys.accounts, keys.requests, keys.shares),
                *(keys.request(one.id) for one in begun),
            ],
            [
                *(self.lease, WORKER_GROUP, account, MINUTE_MS),
                "1" if may_gateways_be_gone else "",
                *(part for one in begun for part in (one.entry, one.id, self.stream(one.gateway))),
            ],
        )
        return answer

    async def deliver(self) -> list[bytes]:
        """Read what is new, as the one consumer; returns the entries' ids."""
        await self.group()
        read: dict[bytes, list[Any]] | None = await self.worker.xreadgroup(
            WORKER_GROUP, WORKER_CONSUMER, {self.keys.requests: ">"}
        )
        return [entry for entry, _ in (read or {}).get(self.keys.requests.encode(), [])]

    async def group(self) -> None:
        if not await self.redis.exists(self.keys.requests) or not await self.redis.xinfo_groups(
            self.keys.requests
        ):
            await self.worker.xgroup_create(self.keys.requests, WORKER_GROUP, "0", mkstream=True)

    async def pending(self) -> int:
        return int((await self.redis.xpending(self.keys.requests, WORKER_GROUP))["pending"])

    async def take_in(self, request_id: str = "r1", *, gateway: str = "") -> bytes:
        """Submit and deliver one request; returns its entry."""
        await self.submit(request_id, gateway=gateway)
        (entry,) = await self.deliver()
        return entry

    def settled(
        self,
        entry: bytes,
        request_id: str = "r1",
        reply: str = '{"status":"ok"}',
        *,
        gateway: str = "",
        expiry_ms: int = MINUTE_MS,
    ) -> Settled:
        return Settled(entry, request_id, reply, gateway, expiry_ms)

    def full_read(
        self,
        data: str = "{}",
        *,
        as_of_ms: int = 1,
        sequence: int = 1,
        synchronized: str = "confirmed",
    ) -> Read:
        return Read(data, as_of_ms, sequence, synchronized)

    async def complete(
        self,
        *settled: Settled,
        read: Read = NO_READ,
        account: str = "1@Demo",
        visit_is_over: bool = False,
    ) -> list[Any]:
        keys = self.keys
        fence = self.lease.rpartition(":")[2]
        answer: list[Any] = await COMPLETE.run(
            self.worker,
            [
                *(keys.lease, keys.requests, keys.running, keys.snapshot(account), keys.shares),
                *(key for one in settled for key in (keys.request(one.id), keys.reply(one.id))),
            ],
            [
                *(self.lease, WORKER_GROUP, fence, "1" if visit_is_over else ""),
                *(read.data, read.as_of_ms, read.sequence, read.synchronized),
                *(MINUTE_MS, 1_000),
                *(part for one in settled for part in self._arguments(one)),
            ],
        )
        return answer

    def _arguments(self, one: Settled) -> tuple[bytes | str | int, ...]:
        return (one.entry, one.id, one.reply, self.stream(one.gateway), one.expiry_ms)

    async def bury(
        self,
        entry: bytes,
        *,
        request_id: str = "r1",
        gateway: str = "",
        body: str = "not json",
        kept: int = 100,
    ) -> bytes:
        keys = self.keys
        answer: list[Any] = await BURY.run(
            self.worker,
            [
                *(keys.lease, keys.requests, keys.dead),
                *(keys.request(request_id), keys.reply(request_id), keys.shares),
            ],
            [
                *(self.lease, WORKER_GROUP, entry, body, '{"code":"POISONED"}', 3, kept),
                *(request_id, '{"status":"error"}' if request_id else ""),
                *(self.stream(gateway), MINUTE_MS),
            ],
        )
        return bytes(answer[0])


@pytest.fixture(params=["server", "fakeredis"])
async def parties(request: pytest.FixtureRequest) -> AsyncIterator[Parties]:
    """Who talks to each of the stores on which the scripts must mean the same."""
    if request.param == "server":
        at_server = Parties.at(request.getfixturevalue("server").url)
        yield at_server
        await at_server.leave()
        return
    pool = ConnectionPool(
        connection_class=FakeAsyncRedisConnection,
        server=FakeServer(version=(7,)),
        protocol=3,
        legacy_responses=False,
    )
    client = Redis(connection_pool=pool)
    yield Parties(client, client, client)
    await client.aclose()
    await pool.aclose()


@pytest.fixture
def store(parties: Parties) -> Redis:
    """A client that may do everything."""
    return parties.onlooker


@pytest.fixture
async def idle(parties: Parties, keys: Keys) -> Relay:
    """A terminal for which nobody works."""
    return Relay(parties, keys)


@pytest.fixture
async def relay(idle: Relay) -> Relay:
    """A terminal with a worker that holds the lease."""
    await idle.acquire()
    return idle
