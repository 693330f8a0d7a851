"""The lease: who may work for the terminal. Every write goes through it."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
import msgspec
import stamina
from redis.asyncio import Redis
from redis.exceptions import RedisError

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.keys import Keys
from mt5relay_shared.logs import get_logger
from mt5relay_shared.operator import Turn
from mt5relay_shared.redis_trouble import passes_by_itself
from mt5relay_shared.scripts import ACQUIRE, EXCUSE, PUBLISH, RELEASE, RENEW, Argument, Script
from mt5relay_shared.timings import Timings
from mt5relay_worker.server_clock import ServerClock

log = get_logger("lease")

CRASH_MEMORY_MS = 24 * 3_600_000
EVENTS_KEPT = 10_000
STANDBY_INTERVAL = 0.05  # seconds between two looks at a lease that another holds
_NO_LONGER_MINE = "the lease is no longer mine: it ran out, was deleted, or another worker has it"


class LeaseLostError(Exception):
    """Somebody else works for the terminal now, or might: stop at once and write nothing more."""


@dataclass(frozen=True, slots=True)
class Takeover:
    """The lease is ours. `charged` are the requests that were running when the last holder died."""

    charged: tuple[str, ...]


class Lease:
    """Holds the lease's value and how long it can be trusted.

    The trust window starts when a renewal is *sent*: an answer that took long says nothing about
    now. A write that Redis refuses is tried again only inside that window.
    """

    def __init__(
        self, redis: Redis, keys: Keys, clock: ServerClock, *, worker_id: str, ttl: float
    ) -> None:
        self.worker_id = worker_id
        self.value = ""
        self.fenced_writes = 0
        self._redis = redis
        self._keys = keys
        self._clock = clock
        self._ttl = ttl
        self._nonce = secrets.token_hex(8)
        self._trusted_until = 0.0
        self._prolonged_until = 0.0  # by another thread
        self._taken_at = 0.0

    @property
    def fence(self) -> int:
        return int(self.value.rpartition(":")[2])

    @property
    def ttl(self) -> float:
        """Seconds that a renewal is good for."""
        return self._ttl

    @property
    def held_for(self) -> float:
        """Seconds since it was taken."""
        return anyio.current_time() - self._taken_at

    @property
    def trust_left(self) -> float:
        """Seconds for which nobody else can have the lease; negative when over."""
        return max(self._trusted_until, self._prolonged_until) - anyio.current_time()

    async def acquire(
        self,
        is_stopping: Callable[[], bool],
        on_standby: Callable[[], Awaitable[object]] | None = None,
    ) -> Takeover | None:
        """Wait until the lease is free and take it; None when the process is to stop first.

        `on_standby` is awaited once, when another is found to have it.
        """
        obstacle, trouble_at = "", float("-inf")
        while not is_stopping():
            try:
                word, value, charged = await self._try_to_acquire(trouble_at)
            except RedisError as error:
                if not passes_by_itself(error):
                    raise
                trouble_at = anyio.current_time()
                found, pause = f"Redis: {error}", 1.0
            else:
                if word == "acquired":
                    self.value, self._taken_at = value, anyio.current_time()
                    log.info("lease.acquired", fence=self.fence, charged=charged)
                    return Takeover(tuple(charged.split()))
                found, pause = f"held by {value.partition(':')[0]}", STANDBY_INTERVAL
                if on_standby is not None:
                    await on_standby()
                    on_standby = None
            if found != obstacle:
                log.warning("lease.waiting", reason=found)
                obstacle = found
            await anyio.sleep(pause)
        return None

    async def _try_to_acquire(self, trouble_at: float) -> tuple[str, str, str]:
        began = anyio.current_time()
        # Redis may have cost the last holder its lease: no request is to blame for that. A lease
        # that was still held after the trouble has run out within its life.
        cause = "redis" if began - trouble_at < 2 * self._ttl else ""
        now, word, value, extra = await ACQUIRE.run(
            self._redis,
            [self._keys.lease, self._keys.fence, self._keys.running],
            [
                self.worker_id,
                self._nonce,
                round(self._ttl * 1000),
                self._keys.request(""),
                CRASH_MEMORY_MS,
                cause,
            ],
        )
        self._observe(now, began)
        return _text(word), _text(value), _text(extra)

    async def heartbeat(
        self, health: dict[str, str], health_ttl: float, events: Sequence[bytes]
    ) -> None:
        """Prolong the lease, publish health, append events.

        Raises:
            LeaseLostError: another has it.
            redis.exceptions.RedisError: Redis could not be asked.
        """
        began = anyio.current_time()
        fields = [text for pair in health.items() for text in pair]
        now, word = await self._renew(self._redis, health_ttl, events, fields)
        if _text(word) == "FENCED":
            raise self._lost()
        self._observe(now, began)

    async def _renew(
        self, redis: Redis, health_ttl: float, events: Sequence[bytes], fields: Sequence[str]
    ) -> Any:  # noqa: ANN401 - the script's answer
        return await RENEW.run(
            redis,
            [self._keys.lease, self._keys.health, self._keys.events],
            [
                self.value,
                round(self._ttl * 1000),
                round(health_ttl * 1000),
                EVENTS_KEPT,
                len(events),
                *events,
                *fields,
            ],
        )

    async def prolong(self, redis: Redis) -> None:
        """Prolong the lease over another connection and say nothing else.

        For one thread beside the event loop's. That is safe because each of the two replaces a
        number of its own, in one step, and the rest of what both read stays as it was acquired.

        Raises:
            LeaseLostError: another has it.
            redis.exceptions.RedisError: Redis could not be asked.
        """
        began = anyio.current_time()
        _, word = await self._renew(redis, health_ttl=0.0, events=(), fields=())
        if _text(word) == "FENCED":
            raise LeaseLostError(_NO_LONGER_MINE)
        self._prolonged_until = began + self._ttl

    async def publish_queue(self, turns: Mapping[AccountId, Turn], expiry: float) -> None:
        """Say who waits; like the logins sent once only, for a later heartbeat says it anew."""
        encoded = {str(account): msgspec.json.encode(turn) for account, turn in turns.items()}
        await self._publish(self._keys.queue, encoded, expiry)

    async def publish_logins(self, counts: Mapping[AccountId, int], expiry: float) -> None:
        """Say how often each account was logged in to."""
        named = {str(account): count for account, count in counts.items()}
        await self._publish(self._keys.logins, named, expiry)

    async def publish_timings(self, timings: Timings, expiry: float) -> None:
        """Say how long requests took."""
        await self._publish(self._keys.timings, timings.fields(), expiry)

    async def _publish(self, key: str, fields: Mapping[str, Argument], expiry: float) -> None:
        pairs: list[Argument] = [part for pair in fields.items() for part in pair]
        answer = await PUBLISH.run(
            self._redis, [self._keys.lease, key], [self.value, round(expiry * 1000), *pairs]
        )
        if _text(answer[0]) == "FENCED":
            raise self._lost()

    async def write(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]
    ) -> list[Any]:
        """Run a script whose first key is the lease and first argument its value.

        All such scripts are idempotent, so what got no answer is sent again while the lease can be
        trusted.

        Raises:
            LeaseLostError: the script was fenced off, or the trust window ended first.
        """
        keys, arguments = [self._keys.lease, *keys], [self.value, *arguments]
        try:
            answer: list[Any] = await script.run(self._redis, keys, arguments)
        except RedisError as error:
            if not passes_by_itself(error):
                raise
            answer = await self._write_again(script, keys, arguments)
        if _text(answer[0]) == "FENCED":
            raise self._lost()
        return answer

    async def _write_again(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]
    ) -> list[Any]:
        answer: list[Any] = []
        try:
            async for attempt in stamina.retry_context(
                on=passes_by_itself,
                attempts=None,
                timeout=max(self.trust_left, 0.001),  # 0 would mean something else to stamina
                wait_initial=0.05,
                wait_max=1.0,
                wait_jitter=0.05,
            ):
                with attempt:
                    answer = await script.run(self._redis, keys, arguments)
        except RedisError as error:
            if not passes_by_itself(error):
                raise
            raise LeaseLostError(
                f"Redis refused {script.name} until the lease ran out: {error}"
            ) from error
        return answer

    async def excuse(self) -> None:
        """Take off what was running, so that it is not charged for the end of this worker.

        Only as long as no other worker has taken over: its own requests are left alone.
        """
        await EXCUSE.run(self._redis, [self._keys.lease, self._keys.running], [self.value])

    async def release(self) -> None:
        """Give it back, so that the next worker need not wait."""
        was_mine = await RELEASE.run(
            self._redis, [self._keys.lease, self._keys.health], [self.value]
        )
        log.info("lease.released", fence=self.fence, was_mine=bool(was_mine))

    def _observe(self, now: int, began: float) -> None:
        self._clock.observe(now, began, anyio.current_time())
        self._trusted_until = began + self._ttl

    def _lost(self) -> LeaseLostError:
        self.fenced_writes += 1
        return LeaseLostError(_NO_LONGER_MINE)

    def __repr__(self) -> str:
        return f"<Lease {self.worker_id} trusted for {self.trust_left:.1f} s>"


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
