"""The terminal program: it is started, attached to, logged in and out of, and it dies."""

from __future__ import annotations

import ntpath
import random
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable

from mt5relay_worker.simulator.book import AccountKey
from mt5relay_worker.simulator.broker import Broker
from mt5relay_worker.simulator.faults import Faults, FaultsFile
from mt5relay_worker.simulator.journal import INVALID_ACCOUNT, SERVICE_NOT_AVAILABLE, Journal
from mt5relay_worker.simulator.session import NOBODY, Access, Session, begin_session
from mt5relay_worker.simulator.surface import CallError, Constants
from mt5relay_worker.simulator.waiting import Sleep, hang, sleep_holding_lock

DEFAULT_PATH = "C:\\Program Files\\MetaTrader 5\\terminal64.exe"
FIRST_BUILD = 5_200
BUILDS_AN_UPDATE = 47
_MINUTE = 60.0
_UNTROUBLED = frozenset({"initialize", "login", "shutdown", "last_error"})


def not_started(path: str | None) -> str | None:
    """What -10003 says of a program that is not there; None where none was named."""
    return f"IPC initialize failed, Process create failed '{path}'" if path else None


class Machine:
    """One terminal program and the link to it. Faults happen here."""

    def __init__(
        self,
        broker: Broker,
        faults_file: FaultsFile,
        journal: Journal,
        *,
        rng: random.Random,
        clock: Callable[[], float],
        sleep: Sleep,
        pace: float,
    ) -> None:
        self.faults = Faults()
        self.path = DEFAULT_PATH
        self.build = FIRST_BUILD
        self.is_attached = False
        self.was_ever_attached = False
        self.is_algo_on = True
        self._broker = broker
        self._faults_file = faults_file
        self._journal = journal
        self._rng = rng
        self._clock = clock
        self._given_sleep = sleep
        self._pace = pace
        self._session = NOBODY
        self._is_synchronization_told = True
        self._owner: int | None = None
        self._is_running: bool | None = None
        self._saved: dict[AccountKey, Access] = {}
        self._switches = 0
        self._closed_until = 0.0
        self._recompiled_at = 0.0
        self._detached_at: float | None = None
        self._link_lost_at: float | None = None
        self._market_closed_at: float | None = None
        self._logins: defaultdict[str, deque[float]] = defaultdict(deque)
        self._throttled_until: dict[str, float] = {}

    def __repr__(self) -> str:
        link = "attached" if self.is_attached else "detached"
        return f"<Machine {link}, logged in to {self._session.account}>"

    # -- before every call --------------------------------------------------------------------

    def enter(self, function: str) -> None:
        """What happens at any call, before the call itself.

        Raises:
            RuntimeError: a second thread calls, which the real package does not survive.
        """
        self._take_up_faults(self._faults_file.current())
        self._keep_journal()
        self._guard_thread(function)
        if function in self.faults.calls_that_hang:
            hang(self._sleep)
        if function not in _UNTROUBLED and self._happens(self.faults.account_changed_probability):
            self._change_account()

    def _take_up_faults(self, faults: Faults) -> None:
        before, self.faults = self.faults, faults
        if before is faults:
            return
        now = self._clock()
        if faults.recompile_seconds != before.recompile_seconds:
            self._recompiled_at = now + faults.recompile_seconds
        if faults.update_outage_seconds != before.update_outage_seconds:
            self._closed_until = now + faults.update_outage_seconds
            if faults.update_outage_seconds:
                self.build += BUILDS_AN_UPDATE
                self._die()
        if faults.broker_link_lost != before.broker_link_lost:
            self._link_lost_at = now if faults.broker_link_lost else None
        if faults.market_closed != before.market_closed:
            self._market_closed_at = now if faults.market_closed else None
        self._journal.delay_seconds = faults.journal_delay_seconds
        self._journal.is_silent = faults.journal_silent

    def _guard_thread(self, function: str) -> None:
        """The first thread to call owns the binding, until `shutdown`."""
        caller = threading.get_ident()
        if self._owner is None:
            self._owner = caller
        if self._owner == caller:
            return
        if self.faults.second_thread == "raise":
            raise RuntimeError(
                f"{function}() was called from a second thread; MetaTrader5 is not thread-safe:"
                " make every call on one thread"
            )
        self._sleep(self.faults.second_thread_stall_seconds)

    def _change_account(self) -> None:
        others = [key for key in self._broker.keys if key != self._session.account]
        if self.is_attached and others:
            self._begin(self._rng.choice(others), "full", is_stale=False)

    def _begin(self, key: AccountKey, access: Access, *, is_stale: bool) -> None:
        """A login, whoever made it, passes through the stages of one."""
        before, now = self._session, self._clock()
        self._enter_session(
            begin_session(
                key, access, before=before, faults=self.faults, is_stale=is_stale, now=now
            )
        )

    def _enter_session(self, session: Session) -> None:
        self._session = session
        if session.account is not None:
            self._journal.authorized(session.account, self._clock())
        self._is_synchronization_told = session.account is None
        self._keep_journal()

    def _keep_journal(self) -> None:
        """Tell of a synchronization once its moment has come, at the time of that moment."""
        session, now = self._session, self._clock()
        is_due = not self._is_synchronization_told and session.synchronized_at <= now
        if is_due and session.account is not None and self._journal.is_kept:
            self._is_synchronization_told = True
            ledger = self._broker.ledger(session.account, now)
            symbols = len(self._broker.market.symbols)
            self._journal.synchronized(
                session.account, ledger, session.access, symbols, session.synchronized_at
            )
        self._journal.flush(now)

    # -- attaching ----------------------------------------------------------------------------

    def attach(self, path: str | None, timeout: float) -> None:
        """Attach to the terminal, starting it where it does not run; `timeout` in seconds."""
        self._refuse_to_attach(path, timeout)
        self._wait_until_open(timeout)
        faults = self.faults
        is_running = not faults.cold_start if self._is_running is None else self._is_running
        between = (
            faults.initialize_running_seconds if is_running else faults.initialize_cold_seconds
        )
        self._spend(self._rng.uniform(*between), timeout)
        self.path = path or self.path
        if self._is_running is not True:
            self._start()
        self.is_attached = self.was_ever_attached = True

    def _start(self) -> None:
        """Whoever was logged in when the terminal ended is logged in again."""
        self._is_running = True
        self._journal.started(self.build, ntpath.dirname(self.path), self._clock())
        if self._session.account is not None:
            self._enter_session(self._session)

    def _refuse_to_attach(self, path: str | None, timeout: float) -> None:
        faults = self.faults
        if faults.initialize_hangs:
            hang(self._sleep)
        if faults.terminal_missing:
            raise CallError(Constants.RES_E_INTERNAL_FAIL_INIT, not_started(path))
        if self._detached_at is not None:
            since = self._clock() - self._detached_at
            if since < faults.initialize_too_soon_seconds:
                raise CallError(Constants.RES_E_AUTH_FAILED)
        if not self.is_algo_on:
            self.is_algo_on = True
            self._time_out(timeout)
        if self._happens(faults.initialize_timeout_probability):
            self._time_out(timeout)

    def _wait_until_open(self, timeout: float) -> None:
        left = max(self._closed_until, self._recompiled_at) - self._clock()
        if left > timeout:
            self._sleep(timeout)
            raise CallError(Constants.RES_E_INTERNAL_FAIL_TIMEOUT)
        if left > 0:
            self._sleep(left)

    def detach(self) -> None:
        """Let go of the terminal, which keeps running, logged in."""
        if self.is_attached:
            self._detached_at = self._clock()
        self.is_attached = False
        self._owner = None

    def drop_link(self) -> None:
        self.is_attached = False

    def require_link(self) -> None:
        if not self.is_attached:
            raise CallError(Constants.RES_E_INTERNAL_FAIL_CONNECT)

    # -- logging in ---------------------------------------------------------------------------

    def log_in(self, login: int, password: str | None, server: str | None, timeout: float) -> None:
        """Switch to an account; `timeout` in seconds. Without a password a saved one is used."""
        self.require_link()
        faults = self.faults
        if faults.broker_link_lost:
            self._spend(faults.broker_link_lost_answer_seconds, timeout)
            self._journal.unreachable(self._find(login, server), self._clock())
            raise CallError(Constants.RES_E_INTERNAL_FAIL_TIMEOUT)
        key = self._find(login, server)
        access = self._access(key, password)
        if access is None or self._is_throttled(key[0]):
            self._spend(self._rng.uniform(*faults.wrong_password_seconds), timeout)
            if self._broker.has_server(key[0]):  # of an unknown one the journal says nothing
                reason = INVALID_ACCOUNT if access is None else SERVICE_NOT_AVAILABLE
                self._journal.refused(key, reason, self._clock())
            raise CallError(Constants.RES_E_AUTH_FAILED)
        try:
            self._travel(key, timeout)
        except CallError:
            self._end_up(key, access)
            raise
        self._switch(key, access)

    def _find(self, login: int, server: str | None) -> AccountKey:
        """Without a server the current one is preferred, then any that knows the login."""
        if server is not None:
            return (server, login)
        here = self._session.account[0] if self._session.account else ""
        known = [key for key in self._broker.keys if key[1] == login]
        return min(known, key=lambda key: key[0] != here, default=(here, login))

    def _access(self, key: AccountKey, password: str | None) -> Access | None:
        saved = self._saved.get(key)
        if password is None:
            return saved
        opened = self._broker.access(key, password)
        return saved if opened is None and self.faults.saved_password_accepted else opened

    def _is_throttled(self, server: str) -> bool:
        """Count a login; the one beyond the limit closes the server for some minutes."""
        limit, now = self.faults.throttle_logins_per_minute, self._clock()
        if limit == 0:
            return False
        if now < self._throttled_until.get(server, 0.0):
            return True
        recent = self._logins[server]
        recent.append(now)
        while recent[0] <= now - _MINUTE:
            recent.popleft()
        if len(recent) > limit:
            self._throttled_until[server] = now + self.faults.throttle_minutes * _MINUTE
        return len(recent) > limit

    def _travel(self, key: AccountKey, timeout: float) -> None:
        if self._happens(self.faults.login_timeout_probability):
            self._time_out(timeout)
        self._spend(self._login_seconds(key), timeout)

    def _login_seconds(self, key: AccountKey) -> float:
        faults, current = self.faults, self._session.account
        if key == current:
            return self._rng.uniform(*faults.login_same_account_seconds)
        is_same_server = current is not None and current[0] == key[0]
        latency = faults.login_same_server if is_same_server else faults.login_other_server
        return latency.sample(self._rng)

    def _end_up(self, key: AccountKey, access: Access) -> None:
        """Where a login that timed out leaves the terminal."""
        match self.faults.login_timeout_ends_on:
            case "old":
                pass
            case "new":
                self._switch(key, access)
            case "none":
                self._session = NOBODY

    def _switch(self, key: AccountKey, access: Access) -> None:
        faults, before = self.faults, self._session
        self._begin(key, access, is_stale=self._happens(faults.stale_login_probability))
        self._saved[key] = access
        if key == before.account:
            return
        self._switches += 1
        self.is_algo_on = self.is_algo_on and not faults.algo_off_after_switch
        every = faults.terminal_dies_every_switches
        if every and self._switches % every == 0:
            self._die()

    def _die(self) -> None:
        """Whoever was logged in will be again once the terminal is started."""
        self.is_attached = False
        self._is_running = False

    # -- what can be seen ---------------------------------------------------------------------

    def session(self) -> Session:
        """The session that readers see. Raises -10004 without a link."""
        self.require_link()
        return self._session.shown(self._clock())

    def now(self) -> float:
        return self._clock()

    def market_time(self) -> float:
        """Up to when prices are known: they stop with the link to the broker and the market."""
        ends = (self._link_lost_at, self._market_closed_at)
        known = min((end for end in ends if end is not None), default=self._clock())
        return self._broker.last_open(known)

    def is_market_open(self) -> bool:
        now = self._clock()
        return self._market_closed_at is None and self._broker.last_open(now) == now

    # -- waiting ------------------------------------------------------------------------------

    def _happens(self, probability: float) -> bool:
        return probability > 0 and self._rng.random() < probability

    def _spend(self, seconds: float, timeout: float) -> None:
        """Take so long, scaled; where the caller does not wait that long, -10005 after that."""
        scaled = seconds * self._scale()
        self._sleep(min(scaled, timeout))
        if scaled > timeout:
            raise CallError(Constants.RES_E_INTERNAL_FAIL_TIMEOUT)

    def _time_out(self, timeout: float) -> None:
        self._sleep(timeout * self._scale())
        raise CallError(Constants.RES_E_INTERNAL_FAIL_TIMEOUT)

    def _scale(self) -> float:
        return self.faults.scale * self._pace

    def _sleep(self, seconds: float) -> None:
        if seconds <= 0:
            return
        # A sleep that was passed in is somebody's virtual time, in which no lock can be held.
        if self.faults.hold_interpreter_lock and self._given_sleep is time.sleep:
            sleep_holding_lock(seconds)
        else:
            self._given_sleep(seconds)
