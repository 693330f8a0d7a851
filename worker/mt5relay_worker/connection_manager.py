"""`MT5ConnectionManager`: the one way to the terminal, for one caller at a time.

The binding holds one account at a time, so a login and the reads that depend on it are one turn:
pass the reads to `login`, never call it twice and hope that nobody came between::

    async with MT5ConnectionManager(terminal, status=status, pool=pool, ...) as manager:
        visited = await manager.login(credential, reads=[Read("positions"), Read("orders")])
        info = await manager.get_account_info(credential)

Callers are served first come, first served. `is_connected`, `get_last_error` and `metrics` answer
at once from what is known and never wait for a turn.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

import anyio
import msgspec

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.envelopes import SealingKey
from mt5relay_shared.errors import (
    MT5ConnectionError,
    MT5DataError,
    MT5Error,
    MT5StateError,
    PoisonedRequestError,
    error_for,
)
from mt5relay_shared.health import ConnectionState
from mt5relay_shared.logs import get_logger
from mt5relay_shared.records import AccountInfo
from mt5relay_worker.credential_turns import Credential, CredentialTurns, credential_refused
from mt5relay_worker.retry import RetryPolicy
from mt5relay_worker.sessions import SessionPool
from mt5relay_worker.state import ConnectionStatus, Detail
from mt5relay_worker.terminal.process import Terminal, VisitEndedProcessError
from mt5relay_worker.terminal.protocol import (
    Answer,
    Command,
    Detach,
    Failed,
    Forget,
    Hello,
    Initialize,
    Initialized,
    Probe,
    Probed,
    Read,
    Visit,
    Visited,
)

log = get_logger("connection")

TERMINAL_FAILURES = frozenset(
    {"MT5_INIT_FAILED", "MT5_CONNECTION_LOST", "BROKER_UNAVAILABLE", "MT5_TIMEOUT"}
)
"""Failures of the terminal itself. Data that can't be trusted may be one account's own trouble, and
one account must not stop the others: it is not tried again here."""

AUTH_FAILED = -6
DEADLY = 2  # times in a row that a visit ended the terminal process; the second one is traced


class DeadlyReadError(PoisonedRequestError):
    """A read that ended the terminal process each time; the terminal itself is well."""

    index: int  # of the visit's reads


def _deadly_read(reads: Sequence[Read], error: VisitEndedProcessError) -> DeadlyReadError:
    index = error.reading or 0
    deadly = DeadlyReadError(
        f"{reads[index].operation}: reading it ended the terminal process {DEADLY} times;"
        f" the last time: {error.message}"
    )
    deadly.index = index
    return deadly


def is_one_servers(error: MT5Error) -> bool:
    """Whether one broker server takes no logins: no fault of the terminal, nor of the account."""
    code = error.mt5_error.code if error.mt5_error else None
    return error.code == "BROKER_UNAVAILABLE" and code == AUTH_FAILED


def is_terminals(error: MT5Error) -> bool:
    """Whether the terminal itself failed, so that attaching anew may help."""
    return error.code in TERMINAL_FAILURES and not is_one_servers(error)


AnswerT = TypeVar("AnswerT", bound=Answer)
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Seconds. `call` is the hard limit after which the terminal process is killed."""

    login: float = 60.0
    call: float = 90.0
    start: float = 180.0
    probe: float = 10.0


@dataclass(frozen=True, slots=True)
class ConnectionMetrics:
    """Counters since the start. `last_failure_at` is in the seconds of the event loop's clock."""

    pool_size: int
    pool_limit: int
    idle_evictions: int
    retries: int
    reconnects: int
    logins: int
    identity_mismatches: int
    last_failure_at: float | None
    terminal_build: int | None
    package_version: str | None


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """How the terminal is. `latency_ms` is the round trip through the terminal process."""

    connection_ok: bool
    auth_ok: bool
    data_feed_ok: bool
    latency_ms: float
    trade_allowed: bool
    account: AccountId | None


class MT5ConnectionManager:
    """Initializes once, keeps the pool of logical sessions, retries what may pass, tells the state.

    A failure of the terminal (not of an account) is tried again by the retry policy, each time from
    a terminal that was initialized anew; after the last attempt the state is ERROR.
    """

    def __init__(
        self,
        terminal: Terminal,
        *,
        status: ConnectionStatus,
        pool: SessionPool,
        retry: RetryPolicy,
        limits: ConnectionLimits,
        on_start: Callable[[SealingKey], Awaitable[None]] | None = None,
        on_login: Callable[[AccountId], None] = lambda _: None,
    ) -> None:
        self._terminal = terminal
        self._status = status
        self._pool = pool
        self._retry = retry
        self._limits = limits
        self._on_start = on_start
        self._on_login = on_login  # told of each that was tried
        self._turn = anyio.Lock(fast_acquire=True)  # fair: callers are served as they came
        self._is_initialized = False
        self._credential: Credential | None = None  # that was logged in with last
        self._evictor: asyncio.Task[None] | None = None
        self._last_error: MT5Error | None = None
        self._last_failure_at: float | None = None
        self._attached = Initialized(None, None)
        self.credentials = CredentialTurns(
            self._turn,
            terminal,
            lambda command: self._command(command, limits.probe),
            self._introduced,
        )
        self._retries = self._reconnects = self._logins = self._identity_mismatches = 0

    async def __aenter__(self) -> Self:
        await self.initialize()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.shutdown()

    async def initialize(self) -> None:
        """Start the terminal process and attach to the terminal, once; later calls do nothing.

        Raises:
            MT5InitError: it failed, also after every retry. The state is ERROR then.
        """
        async with self._turn:
            if not self._is_ready:
                await self._logged("initialize", lambda: self._with_retry(self._make_ready))
            if self._evictor is None:
                self._evictor = asyncio.create_task(self._evict_idle_sessions())

    async def shutdown(self) -> None:
        """Detach and end the terminal process. The terminal keeps running, logged in."""
        if self._evictor is not None:
            self._evictor.cancel()
            self._evictor = None
        async with self._turn:
            if self._status.state is ConnectionState.DISCONNECTED and not self._terminal.is_running:
                return
            await self._logged("shutdown", self._detach)

    async def login(
        self, credential: Credential, reads: Sequence[Read] = (), limit: float | None = None
    ) -> Visited:
        """Be logged in to an account and make `reads` in the same turn, identity verified.

        `limit` is how many seconds the login may take where that is less than the configured limit;
        the hard limit, after which the terminal process is killed, comes as much sooner.

        Raises:
            DeadlyReadError: a read ended the terminal process, twice.
            MT5AuthError: refused, at once and again after a look at the terminal.
            MT5DataError: the terminal's answer could not be trusted.
            MT5Error: the terminal failed, also after every retry.
        """
        deaths = 0

        async def attempt() -> Visited:
            nonlocal deaths
            try:
                return await self._visit(credential, reads, limit, traced=deaths > 0)
            except VisitEndedProcessError as error:
                deaths += 1
                if deaths < DEADLY or error.reading is None:
                    raise
                # A terminal that can be attached again is well: it was the read. Where it can't
                # be, that failure is raised instead, and is the terminal's.
                await self._make_ready()
                raise _deadly_read(reads, error) from error

        async with self._turn:
            return await self._logged(
                "login", lambda: self._with_retry(attempt), account=str(credential.account)
            )

    async def reconnect(self, max_attempts: int = 3) -> None:
        """Start the terminal anew, with the retry policy's pauses before each attempt.

        Raises:
            MT5Error: every attempt failed. The state is ERROR then.
        """
        async with self._turn:
            await self._logged(
                "reconnect",
                lambda: self._retrying(
                    self._probe_anew,
                    self._retry.delays(max_attempts),
                    self._failure("a reconnect was asked for"),
                ),
            )

    async def probe(self) -> ProbeReport:
        """Ask the terminal how it is, without logging in to anything. Does not retry.

        Raises:
            MT5Error: it does not answer; the state is left as it was.
        """
        async with self._turn:
            self._status.busy_with(Detail.PROBING)
            report = await self._logged("probe", self._probe)
            self._status.busy_with(Detail.IDLE if report.trade_allowed else Detail.ALGO_OFF)
            return report

    @property
    def is_attached(self) -> bool:
        """Whether the terminal process runs and has attached the terminal."""
        return self._is_ready

    @property
    def credential(self) -> Credential | None:
        """What the terminal is logged in with, by all that is known; None where nothing is."""
        known = self._credential
        return known if known and known.account == self._status.current_account else None

    async def is_connected(self) -> bool:
        """Whether the last thing known of the terminal is that it works."""
        _log_at_once("is_connected")
        return self._status.state is ConnectionState.CONNECTED

    async def get_account_info(self, credential: Credential) -> AccountInfo:
        """Log in and read the account; identity is verified before and after.

        Raises:
            MT5Error: as `login`, or what became of the read.
        """
        visited = await self.login(credential, [Read("account_info")])
        result = visited.results[0]
        if result.data is None:
            raise error_for(result.code or "INTERNAL", result.message, mt5_error=result.mt5)
        return msgspec.json.decode(result.data, type=AccountInfo)

    async def get_last_error(self) -> MT5Error | None:
        """The last failure, with the package's own code and text where it had one."""
        _log_at_once("get_last_error")
        return self._last_error

    async def metrics(self) -> ConnectionMetrics:
        """Counters and sizes, as they are now."""
        _log_at_once("metrics")
        return ConnectionMetrics(
            pool_size=len(self._pool),
            pool_limit=self._pool.limit,
            idle_evictions=self._pool.idle_evictions,
            retries=self._retries,
            reconnects=self._reconnects,
            logins=self._logins,
            identity_mismatches=self._identity_mismatches,
            last_failure_at=self._last_failure_at,
            terminal_build=self._attached.terminal_build,
            package_version=self._attached.package_version,
        )

    # One turn's steps: whoever calls these holds the turn.

    @property
    def _is_ready(self) -> bool:
        return self._is_initialized and self._terminal.is_running

    def _is_current(self, credential: Credential) -> bool:
        known = self.credential
        return known is not None and known.fingerprint == credential.fingerprint

    async def _make_ready(self) -> None:
        if not self._terminal.is_running:
            await self._start_process()
        self._status.busy_with(Detail.STARTING)
        timeout_ms = round(self._limits.login * 1000)
        await self._command(Initialize(timeout_ms), self._limits.start, Initialized)
        self._is_initialized = True

    async def _start_process(self) -> None:
        self._lost()
        hello = await self._terminal.start()
        for warning in hello.warnings:
            log.warning("credential.warning", message=warning)
        await self._introduced(hello)

    async def _introduced(self, hello: Hello) -> None:
        self.credentials.key_ids = list(hello.key_ids)
        if self._on_start is not None:
            await self._on_start(SealingKey(hello.key_id, hello.public_key, hello.envelope_version))

    async def _detach(self) -> None:
        if self._is_ready:
            with contextlib.suppress(MT5Error):  # gone already is as good
                await self._command(Detach(), self._limits.probe)
        await self._terminal.stop()
        self._lost()
        self._entered(ConnectionState.DISCONNECTED, Detail.STOPPED, "shut down")

    async def _visit(
        self, credential: Credential, reads: Sequence[Read], limit: float | None, *, traced: bool
    ) -> Visited:
        if not self._is_ready:
            await self._make_ready()
        self._status.busy_with(Detail.READING if self._is_current(credential) else Detail.SWITCHING)
        try:
            visited = await self._send_visit(credential, reads, limit, traced=traced)
        except MT5Error as error:
            self._status.current_account = None
            self._pool.forget(credential.account)  # as the terminal process did
            if error.code != "MT5_AUTH_FAILED":
                raise
            visited = await self._try_refused_once_more(credential, reads, limit)
        await self._used(credential, visited)
        return visited

    async def _try_refused_once_more(
        self, credential: Credential, reads: Sequence[Read], limit: float | None
    ) -> Visited:
        """-6 is not proof of a wrong password: look at the terminal, then try once more."""
        report = await self._probe()
        if not report.connection_ok:
            raise error_for("BROKER_UNAVAILABLE", "no link to the broker")
        self._retries += 1
        return await self._send_visit(credential, reads, limit)

    async def _send_visit(
        self,
        credential: Credential,
        reads: Sequence[Read],
        limit: float | None,
        *,
        traced: bool = False,
    ) -> Visited:
        configured = self._limits.login
        login_limit = configured if limit is None else min(limit, configured)
        command = Visit(
            login=credential.account.login,
            server=credential.account.server,
            fingerprint=credential.fingerprint,
            envelope=credential.envelope,
            timeout_ms=round(login_limit * 1000),
            reads=list(reads),
            traced=traced,
        )
        sent_at = anyio.current_time()
        call_limit = self._limits.call - (configured - login_limit)
        is_login = not self._is_current(credential)
        try:
            visited = await self._command(command, call_limit, Visited)
            is_login = visited.switched
        finally:
            if is_login:
                self._on_login(credential.account)
        return msgspec.structs.replace(visited, sent_at=sent_at)

    async def _used(self, credential: Credential, visited: Visited) -> None:
        if (visited.login, visited.server) != (
            credential.account.login,
            credential.account.server,
        ):
            self._identity_mismatches += 1
            raise MT5DataError(f"asked for {credential.account}, the terminal process read another")
        self._logins += visited.switched
        self._status.current_account = credential.account
        self._credential = credential
        now = anyio.current_time()
        await self._forget(self._pool.use(credential.account, credential.fingerprint, now))

    async def _probe(self) -> ProbeReport:
        began = anyio.current_time()
        found = await self._command(Probe(), self._limits.probe, Probed)
        return ProbeReport(
            connection_ok=found.connected,
            auth_ok=found.login != 0,
            data_feed_ok=found.data_feed_ok,
            latency_ms=(anyio.current_time() - began) * 1000,
            trade_allowed=found.trade_allowed,
            account=AccountId(found.login, found.server) if found.login else None,
        )

    async def _probe_anew(self) -> None:
        if not self._is_ready:
            await self._make_ready()
        if not (await self._probe()).connection_ok:
            raise error_for("BROKER_UNAVAILABLE", "the terminal has no link to the broker")

    async def _command(
        self, command: Command, limit: float, expected: type[AnswerT] | None = None
    ) -> AnswerT:
        """Ask the terminal; its `Failed` and its silence become exceptions."""
        try:
            answer = await self._terminal.ask(command, limit)
        except MT5Error as error:
            self._lost()
            self._status.busy_with(Detail.WEDGED)
            raise error
        if isinstance(answer, Failed):
            self._identity_mismatches += answer.identity_mismatch
            if answer.about_credential is not None:
                raise credential_refused(answer.message, answer.about_credential)
            raise error_for(answer.code, answer.message, mt5_error=answer.mt5)
        if expected is not None and not isinstance(answer, expected):
            self._lost()
            raise MT5StateError(f"the terminal process answered {type(answer).__name__}")
        if isinstance(answer, Initialized):
            self._attached = answer
        return answer  # type: ignore[return-value]

    async def _with_retry(self, attempt: Callable[[], Awaitable[ResultT]]) -> ResultT:
        if self._status.state is ConnectionState.ERROR:  # given up before: one try is enough
            return await self._retrying(attempt, [0.0], self._failure("given up before"))
        try:
            result = await attempt()
        except MT5Error as error:
            if not is_terminals(error):
                if self._is_ready:
                    self._entered(ConnectionState.CONNECTED, Detail.IDLE, "the terminal answers")
                raise
            return await self._retrying(attempt, self._retry.delays(), error)
        self._entered(ConnectionState.CONNECTED, Detail.IDLE, "the terminal works")
        return result

    async def _retrying(
        self,
        attempt: Callable[[], Awaitable[ResultT]],
        delays: Iterable[float],
        failure: MT5Error,
    ) -> ResultT:
        """Try again after each pause (seconds), from a terminal that is attached anew."""
        self._note(failure)
        self._entered(ConnectionState.RECONNECTING, _detail_of(failure), str(failure))
        for delay in delays:
            log.info("connection.retry", in_seconds=round(delay, 3), **_fields_of(failure))
            await anyio.sleep(delay)
            self._retries += 1
            self._is_initialized = False
            try:
                result = await attempt()
            except MT5Error as error:
                if not is_terminals(error):
                    self._entered(ConnectionState.CONNECTED, Detail.IDLE, "the terminal answers")
                    raise
                failure = error
                self._note(failure)
            else:
                self._reconnects += 1
                self._entered(ConnectionState.CONNECTED, Detail.IDLE, "the terminal works again")
                return result
        self._entered(ConnectionState.ERROR, _detail_of(failure), str(failure))
        raise failure

    def _note(self, failure: MT5Error) -> None:
        """Known at once: the retries that follow may take minutes."""
        self._last_error, self._last_failure_at = failure, anyio.current_time()

    def _failure(self, otherwise: str) -> MT5Error:
        """What made this necessary, as far as is known."""
        return self._last_error or MT5ConnectionError(otherwise)

    def _entered(self, state: ConnectionState, detail: Detail, cause: str) -> None:
        self._status.move(state, detail, cause, anyio.current_time())

    def _lost(self) -> None:
        """The process, or the link to it, is gone, and with it all that it knew."""
        self._is_initialized = False
        self._status.current_account = None
        if not self._terminal.is_running:
            self._pool.clear()

    async def _forget(self, accounts: Iterable[AccountId]) -> None:
        pairs = [(account.login, account.server) for account in accounts]
        if pairs and self._terminal.is_running:
            await self._command(Forget(pairs), self._limits.probe)

    async def _evict_idle_sessions(self) -> None:
        while True:
            expiry = self._pool.next_expiry()
            now = anyio.current_time()
            if expiry is None or expiry > now:
                await anyio.sleep((expiry - now) if expiry else self._pool.idle_timeout)
                continue
            async with self._turn:
                evicted = self._pool.evict_idle(anyio.current_time())
                with contextlib.suppress(MT5Error):  # a process that is gone has forgotten
                    await self._forget(evicted)
            if evicted:
                log.info("connection.idle_evicted", accounts=[str(one) for one in evicted])

    async def _logged(
        self, call: str, step: Callable[[], Awaitable[ResultT]], **fields: str
    ) -> ResultT:
        """Run one public call's step; one line says how long it took and how it ended."""
        began = anyio.current_time()
        try:
            result = await step()
        except MT5Error as error:
            self._note(error)
            log.warning(
                f"connection.{call}.failed", ms=_ms_since(began), **fields, **_fields_of(error)
            )
            raise
        log.info(f"connection.{call}", ms=_ms_since(began), **fields)
        return result

    def __repr__(self) -> str:
        return f"<MT5ConnectionManager {self._status!r} {self._pool!r}>"


def _log_at_once(call: str) -> None:
    """The calls that wait for nobody; heartbeats make them often, so they speak at debug level."""
    log.debug(f"connection.{call}", ms=0.0)


def _ms_since(began: float) -> float:
    return round((anyio.current_time() - began) * 1000, 3)


def _fields_of(error: MT5Error) -> dict[str, object]:
    return {"code": error.code, "error": error.message, "last_error": error.mt5_error}


def _detail_of(failure: MT5Error) -> Detail:
    match failure.code:
        case "BROKER_UNAVAILABLE":
            return Detail.BROKER_DOWN
        case "MT5_TIMEOUT":
            return Detail.WEDGED
        case _:
            return Detail.STARTING
