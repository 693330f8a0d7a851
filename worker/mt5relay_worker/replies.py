"""Writes to Redis for a visit: what is on the terminal now, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5Error
from mt5relay_shared.keys import WORKER_GROUP, Keys
from mt5relay_shared.messages import ErrorReply, OkReply, Reply, Request, encode, error_reply
from mt5relay_shared.operations import OPERATIONS
from mt5relay_shared.scripts import BEGIN, BURY, COMPLETE, Argument
from mt5relay_shared.snapshots import FIELDS, Snapshot, decode_snapshot
from mt5relay_shared.timings import Phase, Timings
from mt5relay_worker.backlog import Waiting
from mt5relay_worker.credential_turns import Credential
from mt5relay_worker.lease import Lease
from mt5relay_worker.server_clock import ServerClock

REPLY_KEPT_MS = 60_000  # past the deadline
RUNNING_KEPT_MS = 24 * 3_600_000
REPLY_STREAM_KEPT = 10_000  # entries
DEAD_KEPT = 1_000  # entries
GATEWAYS_BACK_AFTER = 30.0  # seconds; streams expire in an outage, and gateways make them again
_PER_CALL = 500  # replies in one script call, so that other clients of the server are not held up


@dataclass(frozen=True, slots=True)
class Answered:
    """A reply and the stream entry that it settles."""

    entry: str
    request: Request
    reply: Reply


@dataclass(frozen=True, slots=True)
class Begun:
    """What a visit begins with: the account's credential, if enrolled, and the entries that nobody
    waits for any more, which were taken off the queue."""

    credential: Credential | None
    dropped: frozenset[str]


@dataclass(slots=True)
class Tally:
    """Counters since the start, for the health hash."""

    requests: int = 0
    errors: int = 0
    stale: int = 0
    last_success_ms: int | None = None


class Replies:
    """Every write but the heartbeat; each raises LeaseLostError once another has taken over."""

    def __init__(
        self, redis: Redis, lease: Lease, keys: Keys, clock: ServerClock, *, snapshot_ttl: float
    ) -> None:
        self.tally = Tally()
        self.timings = Timings()
        self._redis = redis
        self._lease = lease
        self._keys = keys
        self._clock = clock
        self._snapshot_ttl_ms = round(snapshot_ttl * 1000)
        self._sequence = 0

    async def begin(self, account: AccountId, serves: Sequence[Waiting] = ()) -> Begun:
        """Note what goes onto the terminal now, and take off the queue what nobody waits for."""
        keys = [self._keys.running, self._keys.accounts, self._keys.requests, self._keys.shares]
        may_be_gone = "1" if self._lease.held_for > GATEWAYS_BACK_AFTER else ""
        arguments: list[Argument] = [WORKER_GROUP, str(account), RUNNING_KEPT_MS, may_be_gone]
        for one in serves:
            keys.append(self._keys.request(one.request.id))
            arguments += [one.entry, one.request.id, self._stream_of(one.request)]
        _, envelope, dropped = await self._lease.write(BEGIN, keys, arguments)
        credential = Credential(account, envelope) if envelope else None
        return Begun(credential, frozenset(entry.decode() for entry in dropped))

    def _stream_of(self, request: Request) -> str:
        return self._keys.replies(request.reply_to) if request.reply_to else ""

    async def answer(self, answers: Sequence[Answered]) -> None:
        """Answer requests that are not on the terminal."""
        for start in range(0, len(answers), _PER_CALL):
            await self._complete(answers[start : start + _PER_CALL], None, "")
        self._count(answers)

    async def finish_visit(
        self,
        answers: Sequence[Answered],
        snapshot: Snapshot | None = None,
        *,
        is_over: bool = True,
    ) -> None:
        """Answer a visit's requests, store its snapshot, and end what `begin` noted, unless the
        next visit has noted its own."""
        head, last = answers[:-_PER_CALL], answers[-_PER_CALL:]
        for start in range(0, len(head), _PER_CALL):
            await self._complete(head[start : start + _PER_CALL], None, "")
        await self._complete(last, snapshot, "1" if is_over else "")
        self._count(answers)

    async def _complete(
        self, answers: Sequence[Answered], snapshot: Snapshot | None, visit_is_over: str
    ) -> None:
        keys = [self._keys.requests, self._keys.running]
        keys += [self._keys.snapshot(snapshot.account if snapshot else "-"), self._keys.shares]
        arguments: list[Argument] = [WORKER_GROUP, self._lease.fence, visit_is_over]
        arguments += self._snapshot_arguments(snapshot)
        arguments += [self._snapshot_ttl_ms, REPLY_STREAM_KEPT]
        now_ms = self._clock.now_ms()
        for one in answers:
            keys += [self._keys.request(one.request.id), self._keys.reply(one.request.id)]
            arguments += [one.entry, one.request.id, encode(one.reply)]
            arguments += [self._stream_of(one.request), _expiry_ms(one.entry, one.request, now_ms)]
        await self._lease.write(COMPLETE, keys, arguments)

    def _snapshot_arguments(self, snapshot: Snapshot | None) -> list[Argument]:
        if snapshot is None:
            return ["", 0, 0, ""]
        self._sequence += 1
        data = msgspec.json.encode(snapshot.data)
        return [data, snapshot.as_of_ms, self._sequence, snapshot.synchronized]

    def _count(self, answers: Sequence[Answered]) -> None:
        self.tally.requests += len(answers)
        now_ms = self._clock.now_ms()
        for one in answers:
            match one.reply:
                case ErrorReply(error=error):
                    self.tally.errors += 1
                    outcome = error.code
                case OkReply(stale=True):
                    self.tally.stale += 1
                    outcome = "stale"
                case OkReply():
                    self.tally.last_success_ms = now_ms
                    outcome = "ok"
            took = (now_ms - arrival_ms(one.entry)) / 1000
            self.timings.observe(Phase.TOTAL, _operation_of(one.request), outcome, took)

    async def bury(
        self, entry: str, body: bytes, error: MT5Error, request: Request | None, crashes: int = 0
    ) -> None:
        """Move an entry to the dead letters; answer it where there is an id to answer to."""
        now_ms = self._clock.now_ms()
        reply = error_reply(request or NOBODY, error, now_ms)
        request_id = request.id if request else ""
        await self._lease.write(
            BURY,
            [
                self._keys.requests,
                self._keys.dead,
                self._keys.request(request_id),
                self._keys.reply(request_id),
                self._keys.shares,
            ],
            [
                WORKER_GROUP,
                entry,
                body,
                msgspec.json.encode(reply.error),
                crashes,
                DEAD_KEPT,
                request_id,
                encode(reply),
                self._stream_of(request) if request else "",
                _expiry_ms(entry, request, now_ms) if request else REPLY_KEPT_MS,
            ],
        )

    async def snapshots(self, accounts: Sequence[AccountId]) -> dict[AccountId, Snapshot]:
        """The stored snapshots of these accounts, in one round trip."""
        pipeline = self._redis.pipeline(transaction=False)
        for account in accounts:
            pipeline.hmget(self._keys.snapshot(account), *FIELDS)
        found: list[list[Any] | RedisError] = await pipeline.execute(raise_on_error=False)
        decoded = (
            decode_snapshot(account, dict(zip(FIELDS, fields, strict=True)))
            for account, fields in zip(accounts, found, strict=True)
            if not isinstance(fields, RedisError)  # a key of another type is no snapshot
        )
        return {snapshot.account: snapshot for snapshot in decoded if snapshot is not None}


def _operation_of(request: Request) -> str:
    """For figures, which must not grow with what callers make up."""
    return request.operation if request.operation in OPERATIONS else "unknown"


NOBODY = Request(id="unknown", account="", operation="")


def arrival_ms(entry: str) -> int:
    """When an entry arrived, in Redis server time: the first half of its id."""
    return int(entry.partition("-")[0])


def _expiry_ms(entry: str, request: Request, now_ms: int) -> int:
    """How long the reply is kept from now on."""
    arrived_ms = min(arrival_ms(entry), now_ms)  # whoever adds an entry may choose its id
    return max(0, arrived_ms + request.timeout_ms - now_ms) + REPLY_KEPT_MS
