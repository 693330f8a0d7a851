"""Puts a request into the queue, exactly once however often it must be sent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from mt5relay_gateway.backoff import pauses
from mt5relay_gateway.batch import CommandBatch, RedisInterruptedError
from mt5relay_shared.errors import ERROR_CODES, MT5Error, MT5ValidationError, error_for
from mt5relay_shared.keys import Keys
from mt5relay_shared.logs import get_logger
from mt5relay_shared.messages import Request, encode
from mt5relay_shared.scripts import SUBMIT

logger = get_logger(__name__)

MARKER_OUTLIVES_MS = 60_000  # as long as the reply is kept past the deadline


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


def decode_submission(answer: Sequence[Any]) -> Submission:
    """Read what the submit script says; see `scripts/submit.lua`."""
    match answer:
        case [_, b"stored", bytes(reply)]:
            return Stored(reply)
        case [_, b"accepted" | b"attached", bytes(entry)]:
            return Queued(entry.decode())
        case [_, b"refused", bytes(code), int(wait_ms)]:
            return Refused(code.decode(), wait_ms / 1000 if wait_ms else None)
        case [_, b"conflict"]:
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


class Submitter:
    """Calls the submit script, again with the same id as long as the answer may have been lost."""

    def __init__(
        self, batch: CommandBatch, keys: Keys, *, queue_limit: int, gateway_limit: int = 0
    ) -> None:
        self._batch = batch
        self._keys = keys
        self._queue_limit = queue_limit
        self._gateway_limit = gateway_limit

    async def submit(self, request: Request, deadline: float) -> Stored | Queued:
        """Queue the request. `deadline` is by the event loop's clock.

        Raises:
            MT5Error: the refusal, e.g. `NoWorkerError`, with `retry_after` where known.
            MT5ValidationError: the request's id belongs to another question.
            RedisInterruptedError: Redis could not be reached until the deadline.
            RedisUnavailableError: Redis refused the script.
        """
        match await self._submit_until(request, deadline):
            case Refused() as refused:
                raise _refusal(refused, request)
            case Conflict():
                raise conflict(request)
            case accepted:
                logger.debug("request.queued", request_id=request.id, account=request.account)
                return accepted

    def withdraw(self, request: Request) -> None:
        """Say, without waiting, that this gateway waits no more; a worker may drop it then."""
        if request.reply_to:
            keys = self._keys
            self._batch.post(
                "HDEL", keys.request(request.id), f"to:{keys.replies(request.reply_to)}"
            )

    async def _submit_until(self, request: Request, deadline: float) -> Submission:
        """Where Redis was away the worker may still be coming back, so `NO_WORKER` is not final."""
        clock, was_away = asyncio.get_running_loop().time, False
        fingerprint = request.fingerprint()
        for pause in pauses():
            is_last = clock() + pause >= deadline
            try:
                submission = await self._submit_once(request, fingerprint)
            except RedisInterruptedError:
                was_away = True
                if is_last:
                    raise
            else:
                is_final = submission != Refused("NO_WORKER", None)
                if is_final or is_last or not was_away:
                    return submission
            await asyncio.sleep(pause)
            request = _with_time_left(request, deadline - clock())
        raise AssertionError("pauses never end")

    async def _submit_once(self, request: Request, fingerprint: str) -> Submission:
        keys, reply_to = self._keys, request.reply_to
        return decode_submission(
            await self._batch.run(
                SUBMIT,
                (
                    keys.requests,
                    keys.request(request.id),
                    keys.reply(request.id),
                    keys.lease,
                    keys.health,
                    keys.queue,
                    keys.shares,
                ),
                (
                    request.id,
                    fingerprint,
                    encode(request),
                    keys.replies(reply_to) if reply_to else "",
                    request.timeout_ms,
                    self._queue_limit,
                    MARKER_OUTLIVES_MS,
                    request.account,
                    self._gateway_limit,
                ),
            )
        )


def _with_time_left(request: Request, seconds: float) -> Request:
    """The wire's deadline counts from arrival, so a late arrival must promise less."""
    return msgspec.structs.replace(request, timeout_ms=max(1, int(seconds * 1000)))
