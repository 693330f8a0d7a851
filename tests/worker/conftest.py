"""A terminal that can be told what to do, and the worker's parts put together round it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio
import msgspec
import pytest
from redis.asyncio import Redis
from tests.conftest import virtual_time_backend
from tests.limits import HANG_LIMIT
from tests.servers import TESTER, WORKER, AclServer, as_user, running_server

from mt5relay_gateway.cli.store import NoStoreError
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5ConnectionError, MT5Error, MT5InitError, MT5TimeoutError
from mt5relay_shared.ids import new_request_id
from mt5relay_shared.keys import Keys
from mt5relay_shared.messages import (
    ErrorReply,
    OkReply,
    Reply,
    ReplyError,
    Request,
    decode_reply,
    encode,
)
from mt5relay_shared.operations import Operation
from mt5relay_shared.records import AccountInfo, Record, TradePosition
from mt5relay_shared.redis_client import connect
from mt5relay_shared.scripts import SUBMIT
from mt5relay_shared.snapshots import Snapshot
from mt5relay_worker.admission import Admission, Entry
from mt5relay_worker.backlog import Backlog
from mt5relay_worker.breaker import BreakerPolicy, CircuitBreaker
from mt5relay_worker.connection_manager import (
    ConnectionLimits,
    MT5ConnectionManager,
)
from mt5relay_worker.costs import Costs
from mt5relay_worker.credential_turns import Credential
from mt5relay_worker.delivery import Delivery
from mt5relay_worker.event_log import EventLog
from mt5relay_worker.fallback import Fallback
from mt5relay_worker.governor import GovernorPolicy, LoginCounts, LoginGovernor
from mt5relay_worker.lease import Lease
from mt5relay_worker.lockout import Lockout, LockoutPolicy
from mt5relay_worker.replies import Replies
from mt5relay_worker.retry import RetryPolicy
from mt5relay_worker.schedule import Line
from mt5relay_worker.server_clock import ServerClock
from mt5relay_worker.sessions import SessionPool
from mt5relay_worker.shadow_fifo import ShadowFifo
from mt5relay_worker.state import ConnectionStatus
from mt5relay_worker.terminal.protocol import (
    Answer,
    Command,
    Detach,
    Done,
    Enrolled,
    Failed,
    Forget,
    Hello,
    Initialize,
    Initialized,
    Probe,
    Probed,
    Read,
    ReadKeys,
    ReadResult,
    Reseal,
    Resealed,
    Visit,
    Visited,
)
from mt5relay_worker.visits import Visits

RecordT = TypeVar("RecordT", bound=Record)

CommandKind = type[Initialize] | type[Visit] | type[Probe] | type[Forget] | type[Detach]

HELLO = Hello("key-of-the-fake", "cHVibGlj")

_BLANKS: dict[object, Any] = {"int": 0, "float": 0.0, "bool": False, "str": ""}


def record(kind: type[RecordT], **values: Any) -> RecordT:
    """A record of zeros and empty texts but for `values`."""
    blank = {name: _BLANKS[kind.__annotations__[name]] for name in kind.__struct_fields__}
    return kind(**{**blank, **values})


@dataclass
class Gate:
    """Holds the terminal at a point until the test lets it go on."""

    reached: anyio.Event = field(default_factory=anyio.Event)
    opened: anyio.Event = field(default_factory=anyio.Event)

    async def pass_through(self) -> None:
        self.reached.set()
        await self.opened.wait()


@dataclass
class FakeAccount:
    """What the terminal knows of an account. The fake's sealed envelope is the password itself."""

    password: bytes
    balance: float
    positions: list[TradePosition] = field(default_factory=list[TradePosition])
    refusal: Failed | None = None
    results: dict[str, ReadResult] = field(default_factory=dict[str, ReadResult])


class FakeTerminal:
    """A terminal process in memory: one account at a time, told what to do wrong and when.

    Latencies are seconds of the event loop. `commands` is everything it was asked, in order.
    """

    def __init__(self) -> None:
        self.is_running = False
        self.starts = 0
        self.commands: list[Command] = []
        self.accounts: dict[AccountId, FakeAccount] = {}
        self.unsealed: set[AccountId] = set()
        self.logged_in: AccountId | None = None
        self._fingerprint = ""
        self.broker_connected = True
        self.trade_allowed = True
        self.answers_as: AccountId | None = None
        self.start_seconds = 0.0
        self.switch_seconds = 0.0
        self.read_seconds = 0.0
        self.at_switch: Gate | None = None
        self.at_read: Gate | None = None
        self._troubles: dict[type[Any], deque[Answer | type[MT5Error]]] = {}
        self._is_busy = False

    # What a test says beforehand.

    def knows(self, account: AccountId, **traits: Any) -> Credential:
        """Add an account; returns the credential that opens it."""
        known = FakeAccount(f"password of {account}".encode(), float(account.login), **traits)
        self.accounts[account] = known
        return Credential(account, known.password)

    def fails_at(self, kind: CommandKind, code: str, times: int = 1, **details: Any) -> None:
        """Answer the next commands of a kind with a failure."""
        self._trouble(kind, [Failed(code, f"told to fail: {code}", **details)] * times)

    def answers(self, kind: CommandKind, answer: Answer) -> None:
        """Give the next command of a kind this answer, whatever it asked."""
        self._trouble(kind, [answer])

    def hangs_at(self, kind: CommandKind, times: int = 1) -> None:
        """Say nothing to the next commands of a kind, until the process is killed."""
        self._trouble(kind, [MT5TimeoutError] * times)

    def dies_at(self, kind: CommandKind, times: int = 1) -> None:
        """End the process at the next commands of a kind."""
        self._trouble(kind, [MT5ConnectionError] * times)

    def does_not_start(self, times: int = 1) -> None:
        self._trouble(Hello, [MT5InitError] * times)

    def _trouble(self, kind: type[Any], troubles: list[Any]) -> None:
        self._troubles.setdefault(kind, deque()).extend(troubles)

    def _next_trouble(self, kind: type[Any]) -> Answer | type[MT5Error] | None:
        troubles = self._troubles.get(kind)
        return troubles.popleft() if troubles else None

    # What a test looks at afterwards.

    @property
    def visits(self) -> list[AccountId]:
        """The accounts that it was asked to be on, in order."""
        return [AccountId(one.login, one.server) for one in self.commands if isinstance(one, Visit)]

    @property
    def asked(self) -> list[str]:
        """The kinds of commands, in order."""
        return [type(one).__name__ for one in self.commands]

    # What the connection manager calls.

    async def start(self) -> Hello:
        self.starts += 1
        self.end_process()
        await anyio.sleep(self.start_seconds)
        if self._next_trouble(Hello) is not None:
            raise MT5InitError("told not to start")
        self.is_running = True
        return HELLO

    async def ask(self, command: Command, limit: float) -> Answer:
        if self._is_busy:
            pytest.fail("two callers were on the terminal at the same time")
        if not self.is_running:
            raise MT5ConnectionError("the terminal process is not running")
        self.commands.append(command)
        self._is_busy, is_answered = True, False
        try:
            answer = await self._answer(command, limit)
            is_answered = True
            return answer
        finally:
            self._is_busy = False
            if not is_answered:  # as the real one: an answer to nobody is never left in the pipe
                self.end_process()

    async def stop(self) -> None:
        self.end_process()

    def end_process(self) -> None:
        self.is_running = False
        self.unsealed.clear()
        self.logged_in = None

    async def _answer(self, command: Command, limit: float) -> Answer:
        trouble = self._next_trouble(type(command))
        if trouble is MT5TimeoutError:
            await anyio.sleep(limit)
            raise MT5TimeoutError(f"no answer from the terminal within {limit:g} s")
        if trouble is MT5ConnectionError:
            raise MT5ConnectionError("the terminal process ended during the call")
        if trouble is not None and not isinstance(trouble, type):
            return trouble
        return await self._obey(command)

    async def _obey(self, command: Command) -> Answer:
        match command:
            case Initialize():
                return Initialized(5200, "5.0.6231")
            case Visit():
                return await self._visit(command)
            case Probe():
                return self._probe()
            case Forget():
                self.unsealed -= {AccountId(*account) for account in command.accounts}
                return Done()
            case Detach():
                return Done()
            case ReadKeys():
                return HELLO
            case Enrolled():
                self.unsealed &= {AccountId(*account) for account in command.accounts}
                return Done()
            case Reseal():
                return Resealed(command.envelope)

    async def _visit(self, visit: Visit) -> Answer:
        account = AccountId(visit.login, visit.server)
        known, began = self.accounts[account], anyio.current_time()
        switched = (self.logged_in, self._fingerprint) != (account, visit.fingerprint)
        if switched:
            self.logged_in = None
            await self._take(self.switch_seconds, self.at_switch)
            if refusal := self._refusal(known, visit.envelope):
                return refusal
            self.logged_in, self._fingerprint = account, visit.fingerprint
        self.unsealed.add(account)
        switch_ms = (anyio.current_time() - began) * 1000
        await self._take(self.read_seconds, self.at_read)
        results = [self._read(account, known, read) for read in visit.reads]
        said = self.answers_as or account
        return Visited(said.login, said.server, switched, switch_ms, "assumed", results)

    async def _take(self, seconds: float, gate: Gate | None) -> None:
        if seconds:
            await anyio.sleep(seconds)
        if gate is not None:
            await gate.pass_through()

    def _refusal(self, known: FakeAccount, envelope: bytes) -> Failed | None:
        if known.refusal is None and envelope != known.password:
            return Failed("MT5_AUTH_FAILED", "refused", mt5=_REFUSED)
        return known.refusal

    def _read(self, account: AccountId, known: FakeAccount, read: Read) -> ReadResult:
        if read.operation in known.results:
            return known.results[read.operation]
        match read.operation:
            case "account_info":
                found: Any = record(
                    AccountInfo,
                    login=account.login,
                    server=account.server,
                    balance=known.balance,
                )
            case "positions":
                found = known.positions
            case _:
                found = []
        kind: Any = "empty" if found == [] else "value"
        return ReadResult(kind, self.read_seconds * 1000, msgspec.json.encode(found))

    def _probe(self) -> Probed:
        on = self.logged_in
        return Probed(
            connected=self.broker_connected,
            trade_allowed=self.trade_allowed,
            login=on.login if on else 0,
            server=on.server if on else "",
            data_feed_ok=self.broker_connected,
            ping_ms=12.5,
            terminal_build=5200,
        )


_REFUSED: Any = (-6, "Terminal: Authorization failed")


class Parts:
    """A worker's parts round a fake terminal and a real server, put together as `Worker` does.

    The lease is long, so that no heartbeat is needed; pauses are short, so that no test waits.
    """

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        terminal: FakeTerminal,
        *,
        lease_ttl: float = 60.0,
        onlooker: Redis | None = None,
    ) -> None:
        self.redis = onlooker or redis  # the test's, which may do everything
        self.keys = keys
        self.terminal = terminal
        self.is_stopping = False
        self.clock = clock = ServerClock()
        self.events = EventLog(clock)
        self.status = ConnectionStatus(anyio.current_time(), self.events.state_changed)
        self.breaker = CircuitBreaker(BreakerPolicy(), on_change=self.events.breaker_changed)
        self.backlog = Backlog()
        self.governor, self.logins = LoginGovernor(GovernorPolicy()), LoginCounts()
        self.costs = Costs()
        for operation in Operation:  # of a terminal that reads at once, so that reads share visits
            self.costs.observe_read(operation, 0.1)
        self.shadow = ShadowFifo(self.costs)
        self.lease = Lease(redis, keys, clock, worker_id="worker-of-the-test", ttl=lease_ttl)
        self.replies = Replies(redis, self.lease, keys, clock, snapshot_ttl=60.0)
        self.fallback = Fallback(self.replies, clock)
        self.lockout = Lockout(LockoutPolicy())
        self.manager = MT5ConnectionManager(
            terminal,
            status=self.status,
            pool=SessionPool(20, 300.0),
            retry=RetryPolicy(limit=1, first_delay=0.01),
            limits=ConnectionLimits(),
            on_login=self.note_login,
        )
        self.visits = Visits(
            backlog=self.backlog,
            costs=self.costs,
            shadow=self.shadow,
            manager=self.manager,
            status=self.status,
            breaker=self.breaker,
            lockout=self.lockout,
            governor=self.governor,
            replies=self.replies,
            fallback=self.fallback,
            delivery=Delivery(self.replies, self.fallback, self.costs, self.shadow, clock),
            clock=clock,
            is_stopping=lambda: self.is_stopping,
        )
        self.admission = Admission(
            self.backlog,
            self.shadow,
            self.replies,
            clock,
            self.line,
            max_timeout=60.0,
            poison_limit=3,
        )

    def line(self) -> Line | None:
        if not self.costs.is_learned:
            return None
        current, now_ms = self.status.current_account, self.clock.now_ms()
        return Line(self.backlog, current, self.costs, now_ms, self.governor)

    def note_login(self, account: AccountId) -> None:
        self.governor.logged_in(account, self.clock.now_ms())
        self.logins.add(account, self.clock.now_ms())

    def let_time_pass(self, seconds: float) -> None:
        """Put the server's clock forward, as the worker sees it: deadlines pass without a wait."""
        now = anyio.current_time()
        self.clock.observe(self.clock.now_ms() + round(seconds * 1000), now, now)

    def stop(self) -> None:
        self.is_stopping = True
        self.visits.wake()

    @asynccontextmanager
    async def visiting(self) -> AsyncGenerator[None]:
        """Visits are made while the block runs."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.visits.run)
            yield
            tasks.cancel_scope.cancel()

    async def enrol(self, account: AccountId, **traits: Any) -> AccountId:
        """Make an account known to the terminal, and its credential to the worker."""
        credential = self.terminal.knows(account, **traits)
        await self.redis.hset(self.keys.accounts, str(account), credential.envelope)
        return account

    async def enqueue(self, account: AccountId | str, operation: str, **fields: Any) -> Entry:
        """Put a request into the stream, as any client may."""
        fields.setdefault("id", new_request_id())
        fields.setdefault("timeout_ms", round(HANG_LIMIT * 1000))
        request = Request(account=str(account), operation=operation, **fields)
        return await self.enqueue_body(encode(request))

    async def enqueue_body(self, body: bytes) -> Entry:
        entry: Any = await self.redis.xadd(self.keys.requests, {"request": body})
        return Entry(entry.decode(), body)

    async def ask(
        self, account: AccountId | str, operation: str = "account_info", **fields: Any
    ) -> str:
        """Enqueue a request and let the worker take it in; returns its id."""
        fields.setdefault("id", new_request_id())
        await self.admission.admit([await self.enqueue(account, operation, **fields)])
        self.visits.wake()
        return str(fields["id"])

    async def submit(
        self, account: AccountId, operation: str = "account_info", *, gateway: str, **fields: Any
    ) -> str:
        """Ask as a gateway does, by the submit script; returns the id."""
        fields.setdefault("id", new_request_id())
        fields.setdefault("timeout_ms", round(HANG_LIMIT * 1000))
        request = Request(
            account=str(account), operation=operation, reply_to=gateway or None, **fields
        )
        keys = self.keys
        _, (word, entry) = await SUBMIT.run(
            self.redis,
            [
                *(keys.requests, keys.lease, keys.health, keys.queue, keys.shares),
                *(keys.request(request.id), keys.reply(request.id)),
            ],
            [
                *(keys.replies(gateway) if gateway else "", 0, 0, 60_000),
                *(request.fingerprint(), encode(request), request.timeout_ms, request.account),
            ],
        )
        assert word == b"accepted"
        await self.admission.admit([Entry(entry.decode(), encode(request))])
        self.visits.wake()
        return request.id

    async def reply(self, request_id: str) -> Reply:
        """The reply to a request, as soon as there is one."""
        await poll(lambda: self.redis.exists(self.keys.reply(request_id)))
        return decode_reply(await self.redis.get(self.keys.reply(request_id)) or b"")

    async def answer(self, request_id: str) -> OkReply:
        reply = await self.reply(request_id)
        assert isinstance(reply, OkReply), reply
        return reply

    async def error(self, request_id: str) -> ReplyError:
        reply = await self.reply(request_id)
        assert isinstance(reply, ErrorReply), reply
        return reply.error

    async def is_answered(self, request_id: str) -> bool:
        return bool(await self.redis.exists(self.keys.reply(request_id)))

    async def snapshot(self, account: AccountId) -> Snapshot | None:
        return (await self.replies.snapshots([account])).get(account)


@pytest.fixture
async def as_worker(server: AclServer) -> AsyncIterator[Redis]:
    """A connection that may do what a worker may."""
    client = connect(as_user(server.url, WORKER), client_name="worker")
    yield client
    await client.aclose()


@pytest.fixture
async def parts(
    redis: Redis, as_worker: Redis, keys: Keys, terminal: FakeTerminal
) -> AsyncIterator[Parts]:
    """Parts that hold the lease."""
    built = Parts(as_worker, keys, terminal, onlooker=redis)
    await built.lease.acquire(lambda: False)
    yield built
    await built.manager.shutdown()


@pytest.fixture
async def unconnected_parts(terminal: FakeTerminal) -> Parts:
    """Parts for what needs no Redis, in virtual time: nobody listens where they would connect."""
    client = connect("redis://127.0.0.1:1", client_name="never-used")
    return Parts(client, Keys("virtual"), terminal)


@pytest.fixture
def own_server() -> Iterator[AclServer]:
    """A server that a test may kill."""
    try:
        with running_server() as started:
            yield started
    except NoStoreError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@asynccontextmanager
async def _parts_on(
    server: AclServer, keys: Keys, terminal: FakeTerminal, onlooker: Redis, lease_ttl: float
) -> AsyncGenerator[Parts]:
    client = connect(as_user(server.url, WORKER), client_name="own")
    built = Parts(client, keys, terminal, lease_ttl=lease_ttl, onlooker=onlooker)
    await built.lease.acquire(lambda: False)
    yield built
    await built.manager.shutdown()
    await client.aclose()


@pytest.fixture
async def own_parts(
    own_server: AclServer, onlooker: Redis, keys: Keys, terminal: FakeTerminal
) -> AsyncIterator[Parts]:
    """Parts on a server of their own."""
    async with _parts_on(own_server, keys, terminal, onlooker, lease_ttl=60.0) as built:
        yield built


@pytest.fixture
async def brief_parts(
    own_server: AclServer, onlooker: Redis, keys: Keys, terminal: FakeTerminal
) -> AsyncIterator[Parts]:
    """Parts whose lease is over after a second: for tests that wait until it is."""
    async with _parts_on(own_server, keys, terminal, onlooker, lease_ttl=1.0) as built:
        yield built


@pytest.fixture
async def onlooker(own_server: AclServer) -> AsyncIterator[Redis]:
    """Another client of the server that a test may kill."""
    client = connect(as_user(own_server.url, TESTER), client_name="onlooker")
    yield client
    await client.aclose()


@pytest.fixture
def break_connections(onlooker: Redis) -> Callable[[], Awaitable[object]]:
    """Close every connection to the server but the onlooker's own."""
    client: Any = onlooker  # redis-py types this command incompletely
    return lambda: client.execute_command("CLIENT", "KILL", "SKIPME", "yes")


@dataclass
class Counter:
    """Something that can be called, and knows how often it was."""

    times: int = 0

    def __call__(self) -> None:
        self.times += 1


@pytest.fixture
def virtual_time() -> tuple[str, dict[str, Any]]:
    """For modules in virtual time: `anyio_backend` returns this."""
    return virtual_time_backend()


@pytest.fixture
def terminal() -> FakeTerminal:
    return FakeTerminal()


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture
def blank() -> Callable[..., Any]:
    """`blank(AccountInfo, login=1)`: a record of zeros but for what is said."""
    return record


@pytest.fixture
def gate() -> Callable[[], Gate]:
    return Gate


@pytest.fixture
def accounts() -> Iterator[AccountId]:
    """As many different accounts as a test needs, on two servers."""
    return (AccountId(1_001 + index, f"Broker-{index % 2}") for index in range(10_000))


async def poll(holds: Callable[[], Awaitable[Any]], limit: float = HANG_LIMIT) -> None:
    """Wait until a condition holds, bounded; for what happens on a server or in a process."""
    with anyio.fail_after(limit):
        while not await holds():  # noqa: ASYNC110 - nobody there could set an event
            await anyio.sleep(0.005)


Until = Callable[[Callable[[], Awaitable[Any]]], Awaitable[None]]


@pytest.fixture
def until() -> Until:
    return poll
