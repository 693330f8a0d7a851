"""One worker for one terminal: builds the parts, starts and stops them in an order it explains."""

from __future__ import annotations

import os
import random
import secrets
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.envelopes import SealingKey
from mt5relay_shared.keys import Keys
from mt5relay_shared.logs import get_logger
from mt5relay_shared.redis_client import Connect, connect
from mt5relay_shared.scripts import ANNOUNCE
from mt5relay_worker.admission import Admission
from mt5relay_worker.backlog import Backlog
from mt5relay_worker.breaker import BreakerPolicy, CircuitBreaker
from mt5relay_worker.commands import Commands
from mt5relay_worker.connection_manager import ConnectionLimits, MT5ConnectionManager
from mt5relay_worker.costs import Costs
from mt5relay_worker.credential_keeper import CredentialKeeper
from mt5relay_worker.delivery import Delivery
from mt5relay_worker.event_log import EventLog
from mt5relay_worker.expiry import Expiry
from mt5relay_worker.fallback import Fallback
from mt5relay_worker.governor import GovernorPolicy, LoginCounts, LoginGovernor
from mt5relay_worker.health import HealthSources, Heartbeat, LastProbe
from mt5relay_worker.health_check import HealthCheck
from mt5relay_worker.intake import Intake
from mt5relay_worker.lease import Lease, LeaseLostError, Takeover
from mt5relay_worker.lease_keeper import CLIENT_NAME, LeaseKeeper
from mt5relay_worker.lockout import Lockout, LockoutPolicy
from mt5relay_worker.replies import Replies
from mt5relay_worker.retry import RetryPolicy
from mt5relay_worker.schedule import Line
from mt5relay_worker.server_clock import ServerClock
from mt5relay_worker.sessions import SessionPool
from mt5relay_worker.settings import WorkerSettings
from mt5relay_worker.shadow_fifo import ShadowFifo
from mt5relay_worker.state import ConnectionStatus
from mt5relay_worker.terminal.process import Terminal
from mt5relay_worker.visits import Visits

EXCUSE_LIMIT, EXCUSE_PAUSE = 10.0, 0.2  # seconds

log = get_logger("worker")


def _jitter() -> float:
    """A factor for pauses, so that what failed together does not come back together."""
    return random.uniform(1.0, 1.1)


@dataclass(frozen=True)
class _Agents:
    """Everything that runs while the lease is held."""

    manager: MT5ConnectionManager
    keeper: LeaseKeeper | None
    heartbeat: Heartbeat
    intake: Intake
    visits: Visits
    expiry: Expiry
    health_check: HealthCheck
    credential_keeper: CredentialKeeper


class Worker:
    """Drains one terminal's stream until told to stop, or until it may no longer.

    Order of starting: the lease first, for nothing may be written without it; the heartbeat and the
    lease's keeper, so that it is kept; the recovery of what an earlier worker left; then everything
    else.
    Order of stopping: no new visit is begun, the one under way is finished, the terminal process
    ends, the lease is prolonged no more, and it is given back last, when nothing of this worker can
    write. What still waits stays in the stream for the next worker.

    Without a `keeper` there is no thread, and the lease lasts as long as the event loop is prompt:
    for virtual time. `on_standby` is awaited once, where another worker has the lease: what needs
    no lease can be prepared then.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        terminal: Terminal,
        *,
        connect: Connect = connect,
        keeper: type[LeaseKeeper] | None = None,
        on_standby: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._settings = settings
        self._on_standby = on_standby
        self._terminal = terminal
        self._connect = connect
        self._keeper_class = keeper
        self._keys: Keys = settings.keys
        self._clock = ServerClock()
        self._stop_requested = anyio.Event()
        self._worker_id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"

    def stop(self) -> None:
        """Ask for a graceful stop; called on the event loop's thread, any number of times."""
        self._stop_requested.set()

    def _is_stopping(self) -> bool:
        return self._stop_requested.is_set()

    async def run(self) -> None:
        """Work until `stop()`.

        Raises:
            LeaseLostError: another worker works for this terminal now; exit and be restarted.
        """
        async with self._client("worker") as redis, self._client("intake") as blocking:
            lease = Lease(
                redis,
                self._keys,
                self._clock,
                worker_id=self._worker_id,
                ttl=self._settings.lease_ttl,
            )
            takeover = await lease.acquire(self._is_stopping, self._on_standby)
            if takeover is None:
                await self._terminal.stop()
                return
            await _warn_about_eviction(redis)
            await self._work(redis, blocking, lease, takeover)

    @asynccontextmanager
    async def _client(self, name: str) -> AsyncGenerator[Redis]:
        client = self._make_client(name)
        try:
            yield client
        finally:
            await client.aclose()

    def _make_client(self, name: str) -> Redis:
        return self._connect(
            self._settings.redis_url.get_secret_value(),
            client_name=f"mt5relay-{name}",
            tag=self._keys.tag,
            allow_plaintext=self._settings.allow_plaintext_redis,
        )

    async def _work(self, redis: Redis, blocking: Redis, lease: Lease, takeover: Takeover) -> None:
        agents = self._build(redis, blocking, lease)
        try:
            async with anyio.create_task_group() as keeping_the_lease:
                keeping_the_lease.start_soon(agents.heartbeat.run)
                if agents.keeper is not None:
                    keeping_the_lease.start_soon(agents.keeper.run)
                await _recover(agents.intake, takeover)
                await self._serve(agents)
                await agents.manager.shutdown()
                keeping_the_lease.cancel_scope.cancel()
        except* LeaseLostError as lost:
            reason = str(_first(lost))
            log.error("worker.lease_lost", reason=reason)
            await self._excuse(lease)
            raise LeaseLostError(reason) from None
        finally:
            with anyio.CancelScope(shield=True):
                await agents.manager.shutdown()
        await _release(lease)

    async def _excuse(self, lease: Lease) -> None:
        """Say that no request ended this worker, as soon as Redis takes it in.

        A worker that is started again meanwhile would charge what was running; and while Redis is
        in trouble it could do nothing either.
        """
        with anyio.move_on_after(EXCUSE_LIMIT, shield=True):
            while not self._is_stopping():
                try:
                    await lease.excuse()
                except RedisError:
                    await anyio.sleep(EXCUSE_PAUSE)
                else:
                    return

    async def _serve(self, agents: _Agents) -> None:
        async with anyio.create_task_group() as serving:
            for agent in (
                *(agents.intake, agents.expiry, agents.visits),
                *(agents.health_check, agents.credential_keeper),
            ):
                serving.start_soon(agent.run)
            await self._stop_requested.wait()
            log.info("worker.stopping")
            agents.visits.wake()
            agents.health_check.hurry()
            agents.credential_keeper.hurry()
            grace = self._settings.shutdown_grace  # what has not ended by then is cancelled
            serving.cancel_scope.deadline = anyio.current_time() + grace

    def _build(self, redis: Redis, blocking: Redis, lease: Lease) -> _Agents:
        settings, clock, keys = self._settings, self._clock, self._keys
        events = EventLog(clock)
        events.lease_changed("held", f"taken by {self._worker_id}")
        status = ConnectionStatus(anyio.current_time(), events.state_changed)
        breaker = CircuitBreaker(
            BreakerPolicy(
                settings.breaker_failure_threshold,
                settings.breaker_pause,
                settings.breaker_longest_pause,
            ),
            on_change=events.breaker_changed,
            jitter=_jitter,
        )
        backlog, costs, last_probe = Backlog(), Costs(), LastProbe()
        shadow = ShadowFifo(costs)
        replies = Replies(redis, lease, keys, clock, snapshot_ttl=settings.snapshot_ttl)
        fallback = Fallback(replies, clock)
        governor = LoginGovernor(
            GovernorPolicy(
                settings.login_rate, settings.login_burst, settings.minimum_dwell * 1000
            ),
            jitter=_jitter,
        )
        logins = LoginCounts()

        def note_login(account: AccountId) -> None:
            governor.logged_in(account, clock.now_ms())
            logins.add(account, clock.now_ms())

        lockout = Lockout(
            LockoutPolicy(settings.lockout_cooldown, settings.lockout_longest_cooldown)
        )
        manager = self._manager(lease, status, note_login)
        keeper = self._keeper(lease)
        visits = Visits(
            backlog=backlog,
            costs=costs,
            shadow=shadow,
            manager=manager,
            status=status,
            breaker=breaker,
            lockout=lockout,
            governor=governor,
            replies=replies,
            fallback=fallback,
            delivery=Delivery(replies, fallback, costs, shadow, clock),
            clock=clock,
            is_stopping=self._is_stopping,
            on_refused_credential=events.credential_refused,
        )
        known = HealthSources(
            lease=lease,
            status=status,
            breaker=breaker,
            manager=manager,
            backlog=backlog,
            costs=costs,
            governor=governor,
            logins=logins,
            shadow=shadow,
            visits=visits,
            replies=replies,
            probe=last_probe,
            clock=clock,
            started_ms=clock.now_ms(),
            binding=settings.terminal,
            terminal_path=settings.terminal_options.terminal_path,
        )
        health_check = HealthCheck(
            manager,
            breaker,
            visits,
            last_probe,
            interval=settings.health_check_interval,
            is_stopping=self._is_stopping,
        )

        def current_line() -> Line | None:
            """None while nothing is known of what a switch costs here."""
            if not costs.is_learned:
                return None
            return Line(backlog, status.current_account, costs, clock.now_ms(), governor)

        admission = Admission(
            backlog,
            shadow,
            replies,
            clock,
            current_line,
            max_timeout=settings.max_timeout,
            poison_limit=settings.poison_limit,
        )

        def wake_everybody() -> None:
            visits.wake()
            health_check.hurry()

        return _Agents(
            manager=manager,
            keeper=keeper,
            heartbeat=Heartbeat(
                known,
                events,
                interval=settings.heartbeat_interval,
                on_attempt=keeper.note_life if keeper is not None else lambda: None,
            ),
            intake=Intake(
                blocking,
                keys,
                admission,
                Commands(breaker, lockout, events, wake_everybody=wake_everybody).obey,
                is_stopping=self._is_stopping,
                on_arrival=visits.wake,
            ),
            visits=visits,
            expiry=Expiry(backlog, shadow, replies, fallback, clock, is_stopping=self._is_stopping),
            health_check=health_check,
            credential_keeper=CredentialKeeper(
                redis=redis,
                keys=keys,
                lease=lease,
                credentials=manager.credentials,
                lockout=lockout,
                events=events,
                key_file=None if settings.private_key else settings.private_key_file,
                is_stopping=self._is_stopping,
            ),
        )

    def _keeper(self, lease: Lease) -> LeaseKeeper | None:
        if self._keeper_class is None:
            return None
        return self._keeper_class(
            lease,
            lambda: self._make_client(CLIENT_NAME),
            stall_limit=self._settings.stall_limit,
        )

    def _manager(
        self, lease: Lease, status: ConnectionStatus, note_login: Callable[[AccountId], None]
    ) -> MT5ConnectionManager:
        settings = self._settings

        async def publish_sealing_key(key: SealingKey) -> None:
            body = msgspec.json.encode(key)
            await lease.write(ANNOUNCE, [self._keys.sealing_key], [body])

        return MT5ConnectionManager(
            self._terminal,
            status=status,
            pool=SessionPool(settings.connection_pool_size, settings.connection_idle_timeout),
            retry=RetryPolicy(
                settings.connection_retry_limit, settings.connection_retry_delay, jitter=_jitter
            ),
            limits=ConnectionLimits(
                login=settings.connection_timeout,
                call=settings.call_limit,
                start=settings.start_limit,
            ),
            on_start=publish_sealing_key,
            on_login=note_login,
        )


async def _warn_about_eviction(redis: Any) -> None:  # noqa: ANN401 - redis-py half types this
    """A server that evicts keys under pressure loses requests and replies without a word.

    `INFO` tells the policy to a user who may not read the configuration.
    """
    try:
        policy = (await redis.info("memory")).get("maxmemory_policy")
    except RedisError:  # refused: `mt5relay doctor` looks at it too
        return
    if policy not in (None, "noeviction"):
        log.warning("redis.may_evict", policy=policy, remedy="set maxmemory-policy noeviction")


async def _recover(intake: Intake, takeover: Takeover) -> None:
    """A take-over that Redis interrupts is begun anew, by the next worker."""
    try:
        await intake.recover(takeover.charged)
    except RedisError as error:
        raise LeaseLostError(f"Redis failed while taking over: {error}") from error


def _first(group: BaseExceptionGroup[LeaseLostError]) -> BaseException:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


async def _release(lease: Lease) -> None:
    try:
        await lease.release()
    except RedisError as error:
        log.warning("lease.not_released", error=str(error))  # it expires by itself
