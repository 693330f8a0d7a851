"""The health check: looks at an idle terminal; makes the one probe while the breaker is open."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from mt5relay_shared.errors import MT5Error, Outcome, error_for
from mt5relay_shared.logs import get_logger
from mt5relay_worker.breaker import CircuitBreaker
from mt5relay_worker.connection_manager import (
    TERMINAL_FAILURES,
    MT5ConnectionManager,
    ProbeReport,
)
from mt5relay_worker.credential_turns import Credential
from mt5relay_worker.health import LastProbe
from mt5relay_worker.visits import Visits

log = get_logger("health_check")

SHORTEST_NAP = 0.05  # seconds


class HealthCheck:
    """Passive while work flows; never logs in just to look while the breaker is closed."""

    def __init__(
        self,
        manager: MT5ConnectionManager,
        breaker: CircuitBreaker,
        visits: Visits,
        last_probe: LastProbe,
        *,
        interval: float,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._manager = manager
        self._breaker = breaker
        self._visits = visits
        self._last_probe = last_probe
        self._interval = interval
        self._is_stopping = is_stopping
        self._hurry = anyio.Event()

    def hurry(self) -> None:
        """Look now: somebody asked for it, or the breaker changed."""
        self._hurry.set()

    async def run(self) -> None:
        await self._start_terminal()
        while not self._is_stopping():
            self._hurry = anyio.Event()
            with anyio.move_on_after(self._nap()):
                await self._hurry.wait()
            if not self._is_stopping():
                await self.check()

    async def _start_terminal(self) -> None:
        """Attach before the first request asks for it."""
        try:
            await self._manager.initialize()
        except MT5Error as failure:
            self._breaker.record(Outcome.FAILURE, str(failure), anyio.current_time())
            self._visits.wake()

    def _nap(self) -> float:
        if self._breaker.is_closed:
            return self._interval
        pause = self._breaker.retry_after(anyio.current_time())
        return max(SHORTEST_NAP, min(pause, self._interval))

    async def check(self) -> None:
        """Do what the breaker's state asks for."""
        now = anyio.current_time()
        if self._breaker.is_closed:
            if now - self._visits.tally.last_success_at >= self._interval:
                await self._look()
        elif self._breaker.try_probe(now):
            await self._try_terminal()

    async def _look(self) -> None:
        """Ask the idle terminal how it is; where it is not well, walk the way of any failure."""
        try:
            if not (await self._probe()).connection_ok:
                await self._manager.reconnect()
                await self._probe()
        except MT5Error as error:
            await self._recover(error)

    async def _recover(self, error: MT5Error) -> None:
        log.warning("health_check.failed", code=error.code, error=error.message)
        try:
            await self._manager.reconnect()
        except MT5Error as failure:
            # The terminal may be logged in to an account whose own server is down: then it serves
            # the accounts of other servers still.
            last_good = self._visits.tally.last_good
            if last_good and await self._visits.lets_in_a_witness(last_good.account):
                return
            self._breaker.record(Outcome.FAILURE, str(failure), anyio.current_time())
            self._visits.wake()

    async def _try_terminal(self) -> None:
        """The half-open probe: a login to the account that worked last, or a mere start."""
        outcome, cause = Outcome.SUCCESS, "the probe succeeded"
        last_good = self._visits.tally.last_good
        try:
            await self._use_terminal(last_good)
        except MT5Error as error:
            failed = error.code in TERMINAL_FAILURES
            outcome, cause = (Outcome.FAILURE if failed else Outcome.NEUTRAL), str(error)
        if (
            outcome is Outcome.FAILURE
            and last_good is not None
            and await self._visits.lets_in_a_witness(last_good.account)
        ):
            outcome, cause = Outcome.SUCCESS, "another account was let in"
        self._breaker.record(outcome, cause, anyio.current_time())
        if outcome is Outcome.NEUTRAL and last_good is not None:  # it is no witness any more
            self._visits.tally.good.pop(last_good.account, None)
        self._visits.wake()

    async def _use_terminal(self, last_good: Credential | None) -> None:
        if last_good is None:
            await self._manager.reconnect(max_attempts=1)
        else:
            await self._manager.login(last_good)
        if not (await self._probe()).connection_ok:
            raise error_for("BROKER_UNAVAILABLE", "the terminal has no link to the broker")

    async def _probe(self) -> ProbeReport:
        report = await self._manager.probe()
        self._last_probe.note(report, anyio.current_time())
        return report
