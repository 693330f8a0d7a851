"""What a visit found, on its way to those who asked, while the terminal is at the next one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import msgspec
from anyio.abc import TaskGroup

from mt5relay_shared.errors import MT5Error, error_for
from mt5relay_shared.logs import get_logger
from mt5relay_shared.messages import OkReply
from mt5relay_shared.operations import SNAPSHOT_OPERATIONS
from mt5relay_shared.snapshots import Snapshot, SnapshotData
from mt5relay_shared.timings import Phase
from mt5relay_worker.backlog import Waiting
from mt5relay_worker.costs import Costs
from mt5relay_worker.fallback import Fallback
from mt5relay_worker.replies import Answered, Replies
from mt5relay_worker.schedule import Visit
from mt5relay_worker.server_clock import ServerClock
from mt5relay_worker.shadow_fifo import ShadowFifo
from mt5relay_worker.terminal.protocol import ReadResult, Visited
from mt5relay_worker.visit_spans import VisitSpans

log = get_logger("visits")


@dataclass(frozen=True, slots=True)
class Finished:
    """A visit that went through, and whom its reads settle, each with the read of their question.

    Times are milliseconds of Redis server time.
    """

    visit: Visit
    visited: Visited
    settled: Sequence[tuple[Waiting, ReadResult]]
    began_ms: int
    read_began_ms: int


class Delivery:
    """Writes the replies of one visit after the other.

    At most one visit's are under way while the terminal works: who can't be told what was found
    must not ask for more.
    """

    def __init__(
        self,
        replies: Replies,
        fallback: Fallback,
        costs: Costs,
        shadow: ShadowFifo,
        clock: ServerClock,
    ) -> None:
        self._replies = replies
        self._fallback = fallback
        self._costs = costs
        self._shadow = shadow
        self._clock = clock
        self._spans = VisitSpans()
        self._tasks: TaskGroup | None = None
        self._is_free = anyio.Event()
        self._is_free.set()

    @asynccontextmanager
    async def under_way(self) -> AsyncGenerator[None]:
        """Within this, `deliver` need not wait for what it writes; at the end all is written."""
        async with anyio.create_task_group() as self._tasks:
            yield

    async def deliver(self, finished: Finished, *, goes_on: bool) -> None:
        """Answer those whom a visit settles; beside the next one, where the terminal goes on.

        Raises:
            LeaseLostError: another worker has taken over.
        """
        if not self._is_free.is_set():
            await self._is_free.wait()
        if not goes_on or self._tasks is None:
            await self._write(finished, is_over=True)
            return
        self._is_free = anyio.Event()
        self._tasks.start_soon(self._write_beside, finished)

    async def _write_beside(self, finished: Finished) -> None:
        """Leaves alone what Redis knows to be running: that is the next visit's by now."""
        await self._write(finished, is_over=False)
        self._is_free.set()

    async def _write(self, finished: Finished, *, is_over: bool) -> None:
        visited, read_began_ms = finished.visited, finished.read_began_ms
        now_ms = self._clock.now_ms()
        account = str(finished.visit.account)
        answers: list[Answered] = []
        for one, result in finished.settled:
            if result.data is None:
                answers += await self._fallback.answers([one], error_of(result))
                continue
            reply = OkReply(
                id=one.request.id,
                account=account,
                operation=one.request.operation,
                data=msgspec.Raw(result.data),
                as_of_ms=read_began_ms,
                age_ms=max(0, now_ms - read_began_ms),
                source="terminal",
                synchronized=visited.synchronized,
                server_utc_offset=visited.server_utc_offset,
            )
            answers.append(Answered(one.entry, one.request, reply))
        await self._replies.finish_visit(answers, _snapshot_of(finished), is_over=is_over)
        self._measure(finished)

    def _measure(self, finished: Finished) -> None:
        """Tell the shadow what was served, at the costs that strict FIFO would have had too.

        What a small visit takes beside switch and reads (the pipe, Redis) strict FIFO would take
        for every request.
        """
        visited = finished.visited
        now_ms, account = self._clock.now_ms(), str(finished.visit.account)
        on_terminal_ms = visited.switch_ms + sum(result.took_ms for result in visited.results)
        full_read_ms = sum(result.took_ms for result in _full_read(finished))
        overhead_ms = max(0.0, now_ms - finished.began_ms - on_terminal_ms)
        self._costs.observe_overhead(overhead_ms, len(finished.settled))
        overhead_ms = min(overhead_ms, self._costs.overhead_ms)
        login_ms = visited.switch_ms if visited.switched else 0.0
        fifo_switch_ms = login_ms or self._costs.switch_ms(finished.visit.account)
        observe = self._replies.timings.observe
        for one, result in finished.settled:
            log.debug(
                "request.served",
                request_id=one.request.id,
                account=account,
                operation=one.request.operation,
                waited_ms=now_ms - one.arrived_ms,
            )
            read_ms = full_read_ms if one.is_in_snapshot else result.took_ms
            outcome = "ok" if result.data is not None else result.code or "INTERNAL"
            for phase, took_ms in (
                (Phase.WAIT, finished.read_began_ms - visited.switch_ms - one.arrived_ms),
                (Phase.SWITCH, login_ms),
                (Phase.READ, read_ms),
            ):
                observe(phase, one.question.operation, outcome, took_ms / 1000)
            self._spans.record(one.request, outcome, now_ms - finished.began_ms, login_ms)
            self._shadow.serve(one.entry, now_ms, fifo_switch_ms, read_ms + overhead_ms)


def error_of(result: ReadResult) -> MT5Error:
    return error_for(result.code or "INTERNAL", result.message, mt5_error=result.mt5)


def _full_read(finished: Finished) -> Sequence[ReadResult]:
    """The results that make up a snapshot, none where the visit read none."""
    return finished.visited.results[: len(SNAPSHOT_OPERATIONS) * finished.visit.reads_snapshot]


def _snapshot_of(finished: Finished) -> Snapshot | None:
    """The full read, where each of its parts has data."""
    parts = [result.data for result in _full_read(finished)]
    if not parts or any(part is None for part in parts):
        return None
    info, positions, orders = (msgspec.Raw(part or b"") for part in parts)
    data = SnapshotData(account_info=info, positions=positions, orders=orders)
    return Snapshot(
        finished.visit.account, data, finished.read_began_ms, finished.visited.synchronized
    )
