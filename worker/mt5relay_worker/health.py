"""The heartbeat: prolongs the lease and tells, without touching the terminal, how things are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import anyio
import msgspec
from redis.exceptions import RedisError

from mt5relay_shared import __version__
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.health import BreakerState, ConnectionState, Health, Status, encode_health
from mt5relay_shared.logs import get_logger
from mt5relay_shared.operator import Turn
from mt5relay_shared.wire_versions import READS, spelled
from mt5relay_worker.backlog import Backlog
from mt5relay_worker.breaker import CircuitBreaker
from mt5relay_worker.connection_manager import MT5ConnectionManager, ProbeReport
from mt5relay_worker.costs import Costs
from mt5relay_worker.event_log import EventLog
from mt5relay_worker.governor import LoginCounts, LoginGovernor
from mt5relay_worker.lease import Lease, LeaseLostError
from mt5relay_worker.replies import Replies
from mt5relay_worker.schedule import turns
from mt5relay_worker.server_clock import ServerClock
from mt5relay_worker.shadow_fifo import ShadowFifo
from mt5relay_worker.state import ConnectionStatus
from mt5relay_worker.visits import Visits

log = get_logger("health")

HEARTBEATS_UNTIL_EXPIRY = 3
TIMINGS_INTERVAL = 5.0  # seconds between two times that the histograms are published
LOGINS_INTERVAL = 20.0  # seconds between two times that each account's logins are published


@dataclass(slots=True)
class LastProbe:
    """What the health check found last, or None before the first; `at` in loop seconds."""

    report: ProbeReport | None = None
    at: float = float("-inf")

    def note(self, report: ProbeReport, now: float) -> None:
        self.report, self.at = report, now


@dataclass(frozen=True, slots=True)
class HealthSources:
    """Everybody who knows something about how things are."""

    lease: Lease
    status: ConnectionStatus
    breaker: CircuitBreaker
    manager: MT5ConnectionManager
    backlog: Backlog
    costs: Costs
    governor: LoginGovernor
    logins: LoginCounts
    shadow: ShadowFifo
    visits: Visits
    replies: Replies
    probe: LastProbe
    clock: ServerClock
    started_ms: int
    binding: str | None = None
    terminal_path: str | None = None


def current_turns(known: HealthSources) -> dict[AccountId, Turn]:
    """Who waits now, and until when.

    While no switch was made here yet all would be guessed, and nobody is refused by a guess: a
    worker that takes over says that everybody's turn is now.
    """
    current, now_ms = known.status.current_account, known.clock.now_ms()
    found = turns(known.backlog, current, known.costs, now_ms, known.governor)
    if known.costs.is_learned:
        return found
    return {account: msgspec.structs.replace(turn, by_ms=now_ms) for account, turn in found.items()}


async def compose_health(known: HealthSources, waiting: dict[AccountId, Turn]) -> Health:
    """Put the health hash together from what is known."""
    clock, status, breaker = known.clock, known.status, known.breaker
    metrics = await known.manager.metrics()
    error = await known.manager.get_last_error()
    now_ms = clock.now_ms()
    oldest = known.backlog.oldest()
    report = known.probe.report
    if known.visits.tally.last_success_at > known.probe.at:
        report = _as_visits_show(report)
    retry_at = breaker.retry_at
    hourly = known.logins.of_last_hour(now_ms)
    busiest = max(hourly, key=hourly.__getitem__, default=None)
    connected = status.state is ConnectionState.CONNECTED
    return Health(
        status=status_of(status.state, breaker.state),
        state=status.state,
        detail=status.detail,
        state_since_ms=clock.at_ms(status.since),
        breaker=breaker.state,
        breaker_retry_at_ms=None if retry_at is None else clock.at_ms(retry_at),
        current_account=None if status.current_account is None else str(status.current_account),
        connection_ok=connected and (report is None or report.connection_ok),
        auth_ok=None if report is None else report.auth_ok,
        data_feed_ok=None if report is None else report.data_feed_ok,
        latency_ms=None if report is None else report.latency_ms,
        last_error_code=error.code if error else None,
        last_error_text=str(error) if error else None,
        last_error_at_ms=(
            None if metrics.last_failure_at is None else clock.at_ms(metrics.last_failure_at)
        ),
        last_success_at_ms=known.replies.tally.last_success_ms,
        worker_id=known.lease.worker_id,
        fence=known.lease.fence,
        started_at_ms=known.started_ms,
        heartbeat_at_ms=now_ms,
        version=__version__,
        binding=known.binding,
        terminal_path=known.terminal_path,
        terminal_build=metrics.terminal_build,
        package_version=metrics.package_version,
        queue_depth=len(known.backlog),
        oldest_request_age_ms=0 if oldest is None else max(0, now_ms - oldest.arrived_ms),
        waiting_accounts=known.backlog.accounts,
        pool_size=metrics.pool_size,
        pool_limit=metrics.pool_limit,
        idle_evictions=metrics.idle_evictions,
        retries=metrics.retries,
        reconnects=metrics.reconnects,
        logins=metrics.logins,
        logins_saved=max(0, known.shadow.logins - metrics.logins),
        logins_delayed=known.visits.tally.logins_delayed,
        logins_last_hour=hourly.total(),
        busiest_account=None if busiest is None else str(busiest),
        busiest_account_logins=0 if busiest is None else hourly[busiest],
        wire_versions=spelled(READS),
        visits=known.visits.tally.visits,
        requests_total=known.replies.tally.requests,
        errors_total=known.replies.tally.errors,
        stale_replies=known.replies.tally.stale,
        identity_mismatches=metrics.identity_mismatches,
        fenced_writes=known.lease.fenced_writes,
        late_vs_fifo_ms=known.shadow.late_ms,
        switch_p50_ms=known.costs.switch_percentile(0.5),
        switch_p95_ms=known.costs.switch_percentile(0.95),
        read_p95_ms=known.costs.read_percentile(0.95),
        estimated_wait_ms=max(
            0, max((turn.by_ms for turn in waiting.values()), default=now_ms) - now_ms
        ),
    )


def _as_visits_show(report: ProbeReport | None) -> ProbeReport | None:
    """An answered visit is newer proof than an old probe: link and login work."""
    if report is None:
        return None
    feed = report.data_feed_ok or not report.connection_ok
    return replace(report, connection_ok=True, auth_ok=True, data_feed_ok=feed)


def status_of(state: ConnectionState, breaker: BreakerState) -> Status:
    """One word for a load balancer."""
    if state is ConnectionState.ERROR or breaker is BreakerState.OPEN:
        return Status.DOWN
    if state is ConnectionState.CONNECTED and breaker is BreakerState.CLOSED:
        return Status.OK
    return Status.DEGRADED


class Heartbeat:
    """Beats every `interval` seconds, and at once when something changed.

    `on_attempt` is called before each beat and after one that failed: while Redis is away, too, the
    event loop is seen to live.
    """

    def __init__(
        self,
        known: HealthSources,
        events: EventLog,
        *,
        interval: float,
        on_attempt: Callable[[], None] = lambda: None,
    ) -> None:
        self._known = known
        self._events = events
        self._interval = interval
        self._on_attempt = on_attempt
        self._queue_is_published = False
        self._publish_logins_at = 0.0
        self._publish_timings_at = 0.0

    async def run(self) -> None:
        """Beat until cancelled, which is when nothing of this worker can write any more.

        Raises:
            LeaseLostError: another worker has the lease, or it could not be renewed in time.
        """
        while True:
            self._on_attempt()
            try:
                await self.beat()
            except RedisError as error:
                self._on_attempt()
                log.warning("heartbeat.redis_unavailable", error=str(error))
                if self._known.lease.trust_left <= 0:
                    raise LeaseLostError("the lease could not be renewed in time") from error
                await anyio.sleep(min(self._interval, 0.5))
                continue
            with anyio.move_on_after(self._interval):
                await self._events.wait()

    async def beat(self) -> None:
        events = self._events.pending()
        waiting = current_turns(self._known)
        health = await compose_health(self._known, waiting)
        expiry = HEARTBEATS_UNTIL_EXPIRY * self._interval
        await self._known.lease.heartbeat(
            encode_health(health), expiry, [msgspec.json.encode(event) for event in events]
        )
        self._events.published(events)
        if waiting or self._queue_is_published:
            await self._known.lease.publish_queue(waiting, expiry)
            self._queue_is_published = bool(waiting)
        if anyio.current_time() >= self._publish_logins_at:
            self._publish_logins_at = anyio.current_time() + LOGINS_INTERVAL
            logins = self._known.logins.of_last_hour(self._known.clock.now_ms())
            await self._known.lease.publish_logins(logins, 3 * LOGINS_INTERVAL)
        if anyio.current_time() >= self._publish_timings_at:
            self._publish_timings_at = anyio.current_time() + TIMINGS_INTERVAL
            timings = self._known.replies.timings
            await self._known.lease.publish_timings(timings, 3 * TIMINGS_INTERVAL)
