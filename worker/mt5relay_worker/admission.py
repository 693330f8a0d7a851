"""From a stream entry to a place in the backlog, or to an immediate answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from redis.exceptions import RedisError

from mt5relay_shared.errors import (
    DeadlineExceededError,
    MT5Error,
    MT5ValidationError,
    PoisonedRequestError,
    error_for,
)
from mt5relay_shared.logs import get_logger
from mt5relay_shared.messages import (
    MalformedRequestError,
    Request,
    decode_request,
    error_reply,
)
from mt5relay_shared.snapshots import fresh_reply
from mt5relay_worker.backlog import Backlog, Waiting
from mt5relay_worker.replies import Answered, Replies, arrival_ms
from mt5relay_worker.schedule import Line
from mt5relay_worker.server_clock import ServerClock
from mt5relay_worker.shadow_fifo import ShadowFifo

log = get_logger("admission")

MAX_BURIED_BYTES = 65_536  # of a request as it came, so that a thousand dead letters fill no server
AHEAD_MS = 60_000
"""An entry may be from so far ahead of now: Redis servers' clocks are set back. What is from later
was given its id by hand, and counts as just arrived."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the request stream; `body` is None where the entry was deleted."""

    id: str
    body: bytes | None


class Admission:
    """Decides for each entry: wait, be answered from a snapshot, be refused, or be buried."""

    def __init__(
        self,
        backlog: Backlog,
        shadow: ShadowFifo,
        replies: Replies,
        clock: ServerClock,
        line: Callable[[], Line | None],
        *,
        max_timeout: float,
        poison_limit: int,
    ) -> None:
        self._backlog = backlog
        self._shadow = shadow
        self._replies = replies
        self._clock = clock
        self._line = line
        self._max_timeout_ms = round(max_timeout * 1000)
        self._poison_limit = poison_limit
        self._order = 0

    @property
    def waiting(self) -> int:
        """How many of the entries it took in are not answered yet."""
        return len(self._backlog)

    def knows(self, entry: str) -> bool:
        return entry in self._backlog

    async def admit(self, entries: Iterable[Entry], crashes: dict[str, int] | None = None) -> None:
        """Take in what has arrived. `crashes` counts, by request id, how often a worker died."""
        answered: list[Answered] = []
        newcomers: list[Waiting] = []
        now_ms = self._clock.now_ms()
        for entry in entries:
            if self.knows(entry.id):  # read again after trouble on the way
                continue
            waiting = await self._examine(entry, crashes or {}, answered, now_ms)
            if waiting is not None:
                newcomers.append(waiting)
        answered += await self._answer_from_snapshots(newcomers)
        settled = {one.entry for one in answered}
        answered += self._queue_up([one for one in newcomers if one.entry not in settled])
        await self._replies.answer(answered)

    async def _examine(
        self, entry: Entry, crashes: dict[str, int], answered: list[Answered], now_ms: int
    ) -> Waiting | None:
        body = entry.body or b""
        try:
            request = decode_request(body)
        except MalformedRequestError as error:
            if error.addressee is None:
                await self._bury(entry.id, body, error)
            else:
                answered.append(self._refusal(entry.id, error.addressee, error))
            return None
        if crashes.get(request.id, 0) >= self._poison_limit:
            times = crashes[request.id]
            poisoned = PoisonedRequestError(f"the worker died {times} times while this was running")
            log.error("request.buried", request_id=request.id, account=request.account)
            await self._replies.bury(entry.id, body, poisoned, request, times)
            return None
        arrived_ms = _arrived_ms(entry.id, now_ms)
        try:
            question = request.question()
            self._check_deadline(arrived_ms, request, now_ms)
        except MT5Error as error:
            answered.append(self._refusal(entry.id, request, error))
            return None
        self._order += 1
        finish = self._shadow.arrive(entry.id, question.account, question.operation, arrived_ms)
        return Waiting(entry.id, self._order, request, question, arrived_ms, now_ms, finish)

    async def _bury(self, entry: str, body: bytes, error: MT5Error) -> None:
        log.warning("request.unreadable", entry=entry, error=error.message)
        await self._replies.bury(entry, body[:MAX_BURIED_BYTES], error, None)

    def _check_deadline(self, arrived_ms: int, request: Request, now_ms: int) -> None:
        if request.timeout_ms > self._max_timeout_ms:
            raise MT5ValidationError(
                f"timeout_ms: {request.timeout_ms} is above this worker's {self._max_timeout_ms};"
                " ask with less, or raise MT5_MAX_TIMEOUT"
            )
        if arrived_ms + request.timeout_ms <= now_ms:
            raise DeadlineExceededError("it expired before the worker could take it in")

    def _refusal(self, entry: str, request: Request, error: MT5Error) -> Answered:
        log.info("request.refused", request_id=request.id, account=request.account, code=error.code)
        return Answered(entry, request, error_reply(request, error, self._clock.now_ms()))

    def _queue_up(self, newcomers: Sequence[Waiting]) -> list[Answered]:
        """Let everybody wait whose turn comes before the deadline; refuse the others at once.

        `submit` refuses by the line of the last heartbeat; here is the line as it is.
        """
        line = self._line() if newcomers else None
        refused: list[Answered] = []
        for one in newcomers:
            late_ms = line.starts_ms(one.account) - one.deadline_ms if line else 0
            if late_ms > 0:
                self._shadow.refuse(one.entry)
                refused.append(self._refusal(one.entry, one.request, self._too_late(one, late_ms)))
                continue
            self._backlog.add(one)
            if line:
                line.join(one.account)
        return refused

    def _too_late(self, one: Waiting, late_ms: float) -> MT5Error:
        wait_ms = max(0.0, one.deadline_ms + late_ms - self._clock.now_ms())
        return error_for(
            "TOO_LATE",
            f"its turn would come in {wait_ms / 1000:.1f} s, after its deadline; ask with more"
            " time, or later",
            retry_after=wait_ms / 1000,
        )

    async def _answer_from_snapshots(self, newcomers: Sequence[Waiting]) -> list[Answered]:
        """Answer those whom a stored snapshot serves, as a gateway would have done."""
        asking = [one for one in newcomers if one.request.max_age_ms > 0 and one.is_in_snapshot]
        if not asking:
            return []
        try:
            snapshots = await self._replies.snapshots(sorted({one.account for one in asking}))
        except RedisError as trouble:  # then the terminal answers, as it would without a snapshot
            log.warning("admission.snapshots_unavailable", error=str(trouble))
            return []
        now_ms = self._clock.now_ms()
        answered: list[Answered] = []
        for one in asking:
            snapshot = snapshots.get(one.account)
            if snapshot is None:
                continue
            reply = fresh_reply(one.request, one.question.operation, snapshot, now_ms)
            if reply is not None:
                self._shadow.refuse(one.entry)
                answered.append(Answered(one.entry, one.request, reply))
        return answered


def _arrived_ms(entry: str, now_ms: int) -> int:
    at_ms = arrival_ms(entry)
    return at_ms if at_ms <= now_ms + AHEAD_MS else now_ms
