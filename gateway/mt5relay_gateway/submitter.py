"""Puts a request into the queue, exactly once however often it must be sent."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from mt5relay_gateway.backoff import pauses
from mt5relay_gateway.batch import CommandBatch, KeysAndArguments, RedisInterruptedError
from mt5relay_gateway.peer import Peer
from mt5relay_shared.errors import ERROR_CODES, MT5Error, MT5ValidationError, error_for
from mt5relay_shared.keys import Keys
from mt5relay_shared.logs import get_logger
from mt5relay_shared.messages import Request, encode
from mt5relay_shared.scripts import SUBMIT, Argument

logger = get_logger(__name__)

MAX_CALL = 128  # requests in one call of the script, so that it holds up nobody for long
MARKER_OUTLIVES_MS = 60_000  # as long as the reply is kept past the deadline
NOT_LATE_MS = 20  # between asking and sending
REPLACED_WITHIN = 2.0  # seconds that a worker which was just there may take to be followed
SEEN_TWICE_AFTER = 0.2  # seconds, else: one worker may be handing over to another


@dataclass(frozen=True, slots=True)
class Stored:
    """It was answered before; this is the reply."""

    reply: bytes


@dataclass(frozen=True, slots=True)
class Queued:
    """It waits, or is being worked on; the reply will be pushed."""

    entry: str


@dataclass(frozen=True, slots=True)
class Refused:
    """It was not queued. `retry_after` in seconds, None where unknown."""

    code: str
    retry_after: float | None


@dataclass(frozen=True, slots=True)
class Conflict:
    """The id belongs to another question."""


Submission = Stored | Queued | Refused | Conflict

_NO_WORKER = Refused("NO_WORKER", None)


def decode_submission(answer: Sequence[Any]) -> Submission:
    """Read what the submit script says of one request; see `scripts/submit.lua`."""
    match answer:
        case [b"stored", bytes(reply)]:
            return Stored(reply)
        case [b"accepted" | b"attached", bytes(entry)]:
            return Queued(entry.decode())
        case [b"refused", bytes(code), int(wait_ms)]:
            return Refused(code.decode(), wait_ms / 1000 if wait_ms else None)
        case [b"conflict"]:
            return Conflict()
        case _:
            raise MT5Error("the submit script answered in a way this version does not know")


def _refusal(refused: Refused, request: Request) -> MT5Error:
    spec = ERROR_CODES.get(refused.code)
    return error_for(
        refused.code,
        f"refused: {spec.meaning if spec else refused.code}",
        retry_after=refused.retry_after,
        request_id=request.id,
    )


def conflict(request: Request) -> MT5ValidationError:
    return MT5ValidationError(
        f"request_id: {request.id!r} was used for another question; use a new id for this one",
        request_id=request.id,
    )


@dataclass(slots=True, eq=False)
class _Submission:
    """A request on its way into the queue, and the future that awaits what becomes of it."""

    request: Request
    deadline: float  # by the event loop's clock
    reply: asyncio.Future[bytes | None]
    is_for_place: bool  # in the queue is enough; else the reply itself is awaited
    fingerprint: str = ""
    pauses: Iterator[float] = field(default_factory=pauses)
    was_away: bool = False  # Redis, when this was tried before
    refused_at: float | None = None  # for want of a worker, when first

    def __post_init__(self) -> None:
        self.fingerprint = self.request.fingerprint()

    def promised(self, now: float, version: int) -> Request:
        """The request in a version of the wire contract; the deadline there counts from arrival, so
        one that comes late must promise less."""
        left_ms = max(1, int((self.deadline - now) * 1000))
        if self.request.timeout_ms - left_ms > NOT_LATE_MS:
            return msgspec.structs.replace(self.request, v=version, timeout_ms=left_ms)
        if self.request.v != version:
            return msgspec.structs.replace(self.request, v=version)
        return self.request

    def succeed(self, reply: bytes | None) -> None:
        if not self.reply.done():
            self.reply.set_result(reply)

    def fail(self, error: MT5Error) -> None:
        if not self.reply.done():  # one for each: a shared one would collect tracebacks
            self.reply.set_exception(copy.copy(error))


class Submitter:
    """Calls the submit script, again with the same id as long as the answer may have been lost."""

    def __init__(
        self, batch: CommandBatch, keys: Keys, *, queue_limit: int, gateway_limit: int = 0
    ) -> None:
        self._batch = batch
        self._keys = keys
        self._queue_limit = queue_limit
        self._gateway_limit = gateway_limit
        self._peer = Peer(batch, keys)
        self._worker_seen_at = float("-inf")
        self._waiting: dict[str | None, list[_Submission]] = {}
        self._sending: set[asyncio.Task[None]] = set()

    async def submit(self, request: Request, deadline: float) -> None:
        """Queue the request and wait until it is. `deadline` is by the event loop's clock.

        Raises:
            MT5Error: the refusal, e.g. `NoWorkerError`, with `retry_after` where known.
            MT5ValidationError: the request's id belongs to another question.
            MT5StateError: the worker reads no version of the wire contract that this client speaks.
            RedisInterruptedError: Redis could not be reached until the deadline.
            RedisUnavailableError: Redis refused the script.
        """
        queued: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._enqueue(_Submission(request, deadline, queued, is_for_place=True))
        await queued

    def start(self, request: Request, deadline: float, reply: asyncio.Future[bytes | None]) -> None:
        """Queue the request and see to that until it is, or until nobody awaits `reply`.

        `reply` is settled where the request was answered before, and fails as `submit` does; else
        it is left to whoever receives the replies.
        """
        self._enqueue(_Submission(request, deadline, reply, is_for_place=False))

    def withdraw(self, request: Request) -> None:
        """Say, without waiting, that this gateway waits no more; a worker may drop it then."""
        if request.reply_to:
            keys = self._keys
            self._batch.post(
                "HDEL", keys.request(request.id), f"to:{keys.replies(request.reply_to)}"
            )

    def _enqueue(self, one: _Submission) -> None:
        """All that is asked in one tick of the event loop is submitted by one call."""
        waiting = self._waiting.setdefault(one.request.reply_to, [])
        waiting.append(one)
        if len(waiting) == 1:
            self._begin(self._send(one.request.reply_to))

    def _begin(self, sending: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(sending, name="mt5relay-submit")
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, reply_to: str | None) -> None:
        waiting = self._waiting.pop(reply_to)
        for start in range(MAX_CALL, len(waiting), MAX_CALL):
            self._begin(self._call(reply_to, waiting[start : start + MAX_CALL]))
        await self._call(reply_to, waiting[:MAX_CALL])

    async def _call(self, reply_to: str | None, waiting: Sequence[_Submission]) -> None:
        sent: list[_Submission] = []

        def compose() -> KeysAndArguments | None:
            """For those only who still wait: Redis may have been away meanwhile."""
            sent[:] = [one for one in waiting if not one.reply.done()]
            return self._composed(reply_to, sent, version) if sent else None

        try:
            version = await self._peer.version()
            answers = await self._batch.run_late(SUBMIT, compose)
        except RedisInterruptedError as error:
            for one in waiting:
                one.was_away = True
                self._try_again(one, error)
        except MT5Error as error:
            for one in waiting:
                one.fail(error)
        else:
            for one, answer in zip(sent, answers[1:] if answers else (), strict=True):
                self._settle(one, answer)

    def _composed(
        self, reply_to: str | None, waiting: Sequence[_Submission], version: int
    ) -> KeysAndArguments:
        keys, now = self._keys, asyncio.get_running_loop().time()
        names = [keys.requests, keys.lease, keys.health, keys.queue, keys.shares]
        arguments: list[Argument] = [
            *(keys.replies(reply_to) if reply_to else "", self._queue_limit),
            *(self._gateway_limit, MARKER_OUTLIVES_MS),
        ]
        for one in waiting:
            request = one.promised(now, version)
            names += (keys.request(request.id), keys.reply(request.id))
            arguments += (one.fingerprint, encode(request), request.timeout_ms, request.account)
        return names, arguments

    def _settle(self, one: _Submission, answer: Sequence[Any]) -> None:
        submission = decode_submission(answer)
        if submission != _NO_WORKER:
            self._worker_seen_at = _now()
        match submission:
            case Queued():
                logger.debug(
                    "request.queued", request_id=one.request.id, account=one.request.account
                )
                if one.is_for_place:
                    one.succeed(None)
            case Stored(reply):
                one.succeed(reply)
            case Conflict():
                one.fail(conflict(one.request))
            case Refused("NO_WORKER") as refused if self._may_come_back(one):
                self._try_again(one, _refusal(refused, one.request))
            case Refused() as refused:
                one.fail(_refusal(refused, one.request))

    def _may_come_back(self, one: _Submission) -> bool:
        """Whether another worker may be about to take over, or this one to be started again."""
        now = _now()
        if one.refused_at is None:
            one.refused_at = now
        gone_at = max(self._worker_seen_at + REPLACED_WITHIN, one.refused_at + SEEN_TWICE_AFTER)
        return one.was_away or now < gone_at

    def _try_again(self, one: _Submission, error: MT5Error) -> None:
        """After a pause, for as long as anybody waits; else it fails with this error."""
        loop, pause = asyncio.get_running_loop(), next(one.pauses)
        if loop.time() + pause >= one.deadline:
            one.fail(error)
        elif not one.reply.done():
            loop.call_later(pause, self._enqueue, one)


def _now() -> float:
    return asyncio.get_running_loop().time()
