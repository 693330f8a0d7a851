"""A store for the model to be compared with: the same steps, and its keys in the model's words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fakeredis import FakeServer
from fakeredis.aioredis import FakeAsyncRedisConnection
from redis.asyncio import ConnectionPool, Redis
from tests.contract.conftest import NO_READ, Begun, Parties, Read, Relay
from tests.contract.script_model import ANOTHER_QUESTION, Answer, FullRead, Settlement, Start

from mt5relay_shared.keys import WORKER_GROUP, Keys
from mt5relay_shared.scripts import ANNOUNCE

TIMES = {"deadline", "as_of", "synchronized"}  # fields that the model does not follow
STREAMS = {"requests", "dead"}
HASHES = {"request", "health", "snapshot", "shares"}
# redis-py makes a dict of an entry's fields; one that stands there twice would be seen once.
RAW_ENTRIES = "return redis.call('XRANGE', KEYS[1], '-', '+')"


class Store:
    """Runs steps on one store, and names its stream entries by their number of arrival."""

    def __init__(self, name: str, parties: Parties) -> None:
        self.name = name
        self.redis: Any = parties.onlooker  # its types allow for every protocol's answers at once
        self.keys = Keys("model")
        self.relay = Relay(parties, self.keys)
        self._parties = parties
        self._entries: dict[int, bytes] = {}
        self._numbers: dict[bytes, int] = {}

    def _number(self, entry: bytes) -> int:
        """The entry's number; a new one for an entry that was not seen before."""
        if entry not in self._numbers:
            self._numbers[entry] = len(self._entries) + 1
            self._entries[len(self._entries) + 1] = entry
        return self._numbers[entry]

    async def submit(self, request_id: str, fingerprint: str, gateway: str, limit: int) -> Answer:
        match await self.relay.submit(
            request_id, fingerprint=fingerprint, gateway=gateway, queue_limit=limit
        ):
            case [b"accepted" | b"attached" as word, entry]:
                return (word.decode(), self._number(entry))
            case [word, first, *_]:
                return (word.decode(), first.decode())
            case [word]:
                return (word.decode(),)
            case unknown:
                raise AssertionError(unknown)

    async def add(self) -> int:
        """An entry from a client that knows no scripts."""
        return self._number(await self.redis.xadd(self.keys.requests, {"request": "{}"}))

    async def listen(self, gateway: str) -> None:
        await self.relay.listen(gateway)
        await self.redis.pexpire(self.keys.replies(gateway), 60_000)

    async def acquire(self, worker: str, nonce: str) -> Answer:
        match await self.relay.acquire(worker, nonce):
            case [b"acquired", value, charged]:
                return ("acquired", value.decode(), charged.decode())
            case [word, value, _]:
                return (word.decode(), value.decode())
            case unknown:
                raise AssertionError(unknown)

    async def deliver(self) -> list[int]:
        return [self._number(entry) for entry in await self.relay.deliver()]

    async def begin(self, lease: str, starts: Sequence[Start]) -> Answer:
        self.relay.lease = lease
        begun = [Begun(self._entries[one.entry], one.id, one.gateway) for one in starts]
        match await self.relay.begin(*begun):
            case [b"ok", credential, dropped]:
                return ("ok", credential, [self._number(entry) for entry in dropped])
            case answer:
                return _decoded(answer)

    async def withdraw(self, request_id: str, gateway: str) -> None:
        await self.relay.withdraw(request_id, gateway)

    async def complete(
        self,
        lease: str,
        settlements: Sequence[Settlement],
        read: FullRead | None,
        *,
        visit_is_over: bool,
    ) -> Answer:
        self.relay.lease = lease
        settled = [
            self.relay.settled(self._entries[one.entry], one.id, one.reply, gateway=one.gateway)
            for one in settlements
        ]
        full = NO_READ if read is None else Read(read.data, 1, read.sequence, "confirmed")
        answer = await self.relay.complete(*settled, read=full, visit_is_over=visit_is_over)
        return _decoded(answer)

    async def bury(self, lease: str, entry: int, request_id: str, gateway: str) -> Answer:
        self.relay.lease = lease
        word = await self.relay.bury(self._entries[entry], request_id=request_id, gateway=gateway)
        return (word.decode(),)

    async def renew(self, lease: str, health: Mapping[str, str]) -> Answer:
        self.relay.lease = lease
        return ((await self.relay.renew(health=dict(health))).decode(),)

    async def announce(self, lease: str, key: str) -> Answer:
        return _decoded(
            await ANNOUNCE.run(
                self.relay.worker, [self.keys.lease, self.keys.sealing_key], [lease, key]
            )
        )

    async def release(self, lease: str) -> Answer:
        self.relay.lease = lease
        return (await self.relay.release(),)

    async def expire(self, *names: str) -> None:
        """As if their time had passed."""
        await self.redis.delete(*names)

    async def forget_everything(self) -> None:
        await self.redis.flushall()
        self._numbers.clear()

    async def forget_scripts(self) -> None:
        await self.redis.script_flush()

    async def close(self) -> None:
        await self._parties.leave()
        await self.redis.connection_pool.aclose()

    async def _names(self) -> list[str]:
        """The keys of the terminal, without their tag."""
        found: list[bytes] = await self.redis.keys(f"{self.keys.tag}:*")
        return sorted(key.decode().removeprefix(f"{self.keys.tag}:") for key in found)

    async def picture(self) -> tuple[dict[str, Any], set[str]]:
        """Its keys in the model's words, and the names of those that never expire."""
        names = await self._names()
        async with self.redis.pipeline(transaction=False) as pipeline:
            for name in names:
                _read(pipeline, f"{self.keys.tag}:{name}", name.partition(":")[0])
                pipeline.pttl(f"{self.keys.tag}:{name}")
            answers = await pipeline.execute()
        values = dict(zip(names, answers[::2], strict=True))
        lasting = {name for name, ttl in zip(names, answers[1::2], strict=True) if ttl == -1}
        picture = {name: self._in_words(name.partition(":")[0], values[name]) for name in names}
        picture["pending"] = await self._pending() if "requests" in names else []
        return {
            name: value for name, value in picture.items() if value or "replies" in name
        }, lasting

    async def _pending(self) -> list[int]:
        if not await self.redis.xinfo_groups(self.keys.requests):
            return []
        pending = await self.redis.xpending_range(
            self.keys.requests, WORKER_GROUP, min="-", max="+", count=1000
        )
        return [self._number(one["message_id"]) for one in pending]

    def _in_words(self, kind: str, value: Any) -> Any:
        match kind:
            case "requests":
                return [self._number(entry) for entry, _ in value]
            case "dead":
                return [self._number(fields[b"entry"]) for _, fields in value]
            case "replies":
                return [_pushed(fields) for _, fields in value if fields[0] != b"hello"]
            case "request":
                return self._marker(value)
            case "health" | "snapshot":
                return _text(value)
            case "shares":
                return self._without_stream(_text(value))
            case _:
                return value.decode()

    def _marker(self, fields: Mapping[bytes, bytes]) -> dict[str, Any]:
        marker: dict[str, Any] = _text(fields)
        for name in ("entry", "dropped"):
            if name in marker:
                marker[name] = self._number(fields[name.encode()])
        return self._without_stream(marker)

    def _without_stream(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        stream = self.keys.replies("")
        return {name.replace(stream, ""): value for name, value in fields.items()}


def _read(pipeline: Any, key: str, kind: str) -> None:
    if kind == "replies":
        pipeline.eval(RAW_ENTRIES, 1, key)
    elif kind in STREAMS:
        pipeline.xrange(key)
    elif kind in HASHES:
        pipeline.hgetall(key)
    else:
        pipeline.get(key)


def _pushed(fields: Sequence[bytes]) -> list[tuple[str, str]]:
    texts = [one.decode() for one in fields]
    return sorted(zip(texts[::2], map(_without_time, texts[1::2]), strict=True))


def _without_time(reply: str) -> str:
    error = json.loads(reply).get("error", {})
    return ANOTHER_QUESTION if error.get("code") == "VALIDATION_FAILED" else reply


def _text(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    texts = {name.decode(): value.decode() for name, value in fields.items()}
    return {name: value for name, value in texts.items() if name not in TIMES}


def _decoded(answer: Sequence[Any]) -> Answer:
    return tuple(one.decode() if isinstance(one, bytes) else one for one in answer)


def real_store(url: str) -> Store:
    return Store("server", Parties.at(url))


def fake_store() -> Store:
    pool = ConnectionPool(
        connection_class=FakeAsyncRedisConnection,
        server=FakeServer(version=(7,)),
        protocol=3,
        legacy_responses=False,
    )
    client = Redis.from_pool(pool)
    return Store("fakeredis", Parties(client, client, client))
