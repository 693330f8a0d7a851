"""A terminal that can be told what to do, and the worker's parts put together round it."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio
import msgspec
import pytest
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5ConnectionError, MT5Error, MT5InitError, MT5TimeoutError
from mt5relay_shared.records import AccountInfo, Record, TradePosition
from mt5relay_worker.connection_manager import Credential
from mt5relay_worker.terminal.protocol import (
    Answer,
    Command,
    Detach,
    Done,
    Failed,
    Forget,
    Hello,
    Initialize,
    Initialized,
    Probe,
    Probed,
    Read,
    ReadResult,
    Visit,
    Visited,
)
from tests.conftest import virtual_time_backend

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


@pytest.fixture
def until() -> Callable[[Callable[[], Awaitable[Any]]], Awaitable[None]]:
    """Poll a condition, bounded; for what happens in another process or on a server."""

    async def poll(holds: Callable[[], Awaitable[Any]], limit: float = 10.0) -> None:
        with anyio.fail_after(limit):
            while not await holds():
                await anyio.sleep(0.005)

    return poll
