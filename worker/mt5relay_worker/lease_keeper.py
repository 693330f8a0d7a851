"""The lease's keeper: prolongs it while the event loop is busy, and ends one that stands still.

It has a thread, an event loop and a connection of its own, so whatever holds up the worker's loop
and leaves the interpreter free does not cost it the lease: a slow disk, a suspended console, a long
computation in Python. One native call that keeps the interpreter to itself stops the keeper too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from types import FrameType

import anyio
from redis.asyncio import Redis
from redis.exceptions import RedisError

from mt5relay_shared.logs import get_logger
from mt5relay_worker.lease import Lease, LeaseLostError

log = get_logger("lease_keeper")

EXIT_STALLED = 70  # EX_SOFTWARE
CLIENT_NAME = "keeper"
_LOG_LIMIT = 2.0  # seconds to write the last line
_STOP_LIMIT = 3.0  # seconds for the thread to end


class Silence:
    """For how long somebody showed no life, as seen by one who looks every now and then.

    What passed between two looks counts for no more than `longest_step` seconds: a whole process
    that was frozen, the looker included, says nothing about the one who is looked at.
    """

    def __init__(self, longest_step: float) -> None:
        self.seconds = 0.0
        self._longest_step = longest_step
        self._signs = 0

    def look(self, signs: int, elapsed: float) -> float:
        """Take in how many signs of life there have been, `elapsed` seconds after the last look.

        Returns:
            Seconds of silence.
        """
        if signs != self._signs:
            self._signs, self.seconds = signs, 0.0
        else:
            self.seconds += min(elapsed, self._longest_step)
        return self.seconds

    def __repr__(self) -> str:
        return f"<Silence of {self.seconds:.1f} s>"


def until_due(trust_left: float, ttl: float) -> float:
    """Seconds until the lease wants to be prolonged: once a third of its time has gone by."""
    return max(0.0, trust_left - ttl * 2 / 3)


def stack_of(thread: int) -> list[str]:
    """Where a thread is, innermost call last: file, line and function, never a variable."""
    frame: FrameType | None = sys._current_frames().get(thread)  # pyright: ignore[reportPrivateUsage]
    calls = [
        f"{at.f_code.co_filename}:{line} in {at.f_code.co_qualname}"
        for at, line in traceback.walk_stack(frame)
    ]
    return calls[::-1] if frame is not None else []


class LeaseKeeper:
    """Prolongs the lease when nothing else has for a third of its time, whatever the loop does.

    It never keeps a dead loop alive: when `note_life` has not been called for `stall_limit` seconds
    the process is ended with status 70, at once and without cleaning up, for a supervisor to start
    another. The terminal process ends by itself when its pipe closes.

    Args:
        lease: one that is held.
        connect: makes the keeper's own client; called on its thread.
        stall_limit: seconds; well above what a heartbeat waits for Redis.
        end_process: told the exit status.
    """

    def __init__(
        self,
        lease: Lease,
        connect: Callable[[], Redis],
        *,
        stall_limit: float,
        end_process: Callable[[int], object] = os._exit,
    ) -> None:
        self._lease = lease
        self._connect = connect
        self._stall_limit = stall_limit
        self._end_process = end_process
        self._signs = 0
        self._watched = 0
        self._worker_loop: asyncio.AbstractEventLoop | None = None

    def note_life(self) -> None:
        """The event loop lives; called on its thread, which alone writes the count."""
        self._signs += 1

    async def run(self) -> None:
        """Keep until cancelled; when this ends nothing is prolonged any more."""
        self._watched, self._worker_loop = threading.get_ident(), asyncio.get_running_loop()
        stop, ended = Future[None](), Future[None]()
        stop.set_running_or_notify_cancel()  # who waits for it here or there can't cancel it
        ended.set_running_or_notify_cancel()
        thread = threading.Thread(
            target=self._live, args=(stop, ended), name="lease-keeper", daemon=True
        )
        thread.start()
        has_ended = asyncio.wrap_future(ended)
        try:
            await asyncio.shield(has_ended)
        finally:
            stop.set_result(None)
            with anyio.CancelScope(shield=True):
                await asyncio.wait({has_ended}, timeout=_STOP_LIMIT)
            if has_ended.cancel():
                # What it may still send finds the lease given back, and changes nothing.
                log.warning("lease.keeper.abandoned")
            else:
                thread.join()

    def _live(self, stop: Future[None], ended: Future[None]) -> None:
        try:
            asyncio.run(self._keep(stop))
        except BaseException as defect:  # the worker's to raise: the top of this thread
            ended.set_exception(defect)
        else:
            ended.set_result(None)

    async def _keep(self, stop: Future[None]) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._prolong)
            tasks.start_soon(self._watch)
            await asyncio.wrap_future(stop)
            tasks.cancel_scope.cancel()

    async def _prolong(self) -> None:
        """Until cancelled, or until another worker has it: the heartbeat finds that out as well."""
        redis = self._connect()
        try:
            with contextlib.suppress(LeaseLostError):
                await self._prolong_when_due(redis)
        finally:
            with anyio.CancelScope(shield=True):
                await redis.aclose()

    async def _prolong_when_due(self, redis: Redis) -> None:
        lease, in_trouble = self._lease, False
        while True:
            if wait := until_due(lease.trust_left, lease.ttl):
                await anyio.sleep(wait)
                continue  # it may have been prolonged meanwhile
            try:
                with anyio.fail_after(lease.ttl / 3):
                    await lease.prolong(redis)
            except (RedisError, TimeoutError) as error:
                if not in_trouble:
                    self._say("lease.keeper.redis_unavailable", error=str(error) or "no answer")
                in_trouble = True
                await anyio.sleep(lease.ttl / 20)
            else:
                in_trouble = False

    async def _watch(self) -> None:
        pause = min(1.0, self._stall_limit / 10)
        silence = Silence(longest_step=2 * pause)
        looked_at = anyio.current_time()
        while silence.look(self._signs, anyio.current_time() - looked_at) < self._stall_limit:
            looked_at = anyio.current_time()
            await anyio.sleep(pause)
        self._end(silence.seconds)

    def _end(self, silent_for: float) -> None:
        """Say where the loop stands, if that can be said at all, and end the process."""
        stands_at = stack_of(self._watched)
        fields = {"silent_for": round(silent_for, 1), "stands_at": stands_at}
        # On a thread that may hang for ever: what holds the loop up may be the log itself.
        saying = threading.Thread(
            target=partial(log.critical, "worker.stalled", **fields), daemon=True
        )
        saying.start()
        saying.join(_LOG_LIMIT)
        self._end_process(EXIT_STALLED)

    def _say(self, event: str, **fields: object) -> None:
        """Log on the worker's loop: a log that hangs must not hold up the keeper."""
        assert self._worker_loop is not None  # noqa: S101 - set before the thread is started
        with contextlib.suppress(RuntimeError):  # the loop has been closed
            self._worker_loop.call_soon_threadsafe(partial(log.warning, event, **fields))

    def __repr__(self) -> str:
        return f"<LeaseKeeper of {self._lease!r}, stall limit {self._stall_limit:g} s>"
