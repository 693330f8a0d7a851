"""What a request gets where no fresh answer is: its error, or a snapshot that says it is old."""

from __future__ import annotations

from collections.abc import Sequence

from redis.exceptions import RedisError

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5Error
from mt5relay_shared.logs import get_logger
from mt5relay_shared.messages import Reply, error_reply
from mt5relay_shared.snapshots import Snapshot, stale_reply
from mt5relay_worker.backlog import Waiting
from mt5relay_worker.replies import Answered, Replies
from mt5relay_worker.server_clock import ServerClock

log = get_logger("fallback")


class Fallback:
    """Answers requests that failed."""

    def __init__(self, replies: Replies, clock: ServerClock) -> None:
        self._replies = replies
        self._clock = clock

    async def answers(self, failed: Sequence[Waiting], error: MT5Error) -> list[Answered]:
        """An answer for each: stale where it allows that and a snapshot is young enough."""
        snapshots = await self._snapshots_for(failed) if error.retryable else {}
        now_ms = self._clock.now_ms()
        return [
            Answered(
                one.entry,
                one.request,
                _stale_or_error(one, snapshots.get(one.account), error, now_ms),
            )
            for one in failed
        ]

    async def _snapshots_for(self, failed: Sequence[Waiting]) -> dict[AccountId, Snapshot]:
        accounts = {one.account for one in failed if one.request.stale_if_error_ms > 0}
        if not accounts:
            return {}
        try:
            return await self._replies.snapshots(sorted(accounts))
        except RedisError as trouble:  # then the error itself is the best answer
            log.warning("fallback.snapshots_unavailable", error=str(trouble))
            return {}


def _stale_or_error(one: Waiting, snapshot: Snapshot | None, error: MT5Error, now_ms: int) -> Reply:
    operation = one.question.operation
    if snapshot is not None and one.is_in_snapshot:
        stale = stale_reply(one.request, operation, snapshot, now_ms, error.code)
        if stale is not None:
            return stale
    return error_reply(one.request, error, now_ms)
