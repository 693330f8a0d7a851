"""A terminal host that several workers may drive at once, and what it knows about its accounts."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio
import msgspec

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import Mt5Code, MT5ConnectionError, MT5InitError, MT5TimeoutError
from mt5relay_shared.operations import Operation
from mt5relay_shared.records import (
    AccountInfo,
    Record,
    Tick,
    TradeDeal,
    TradeOrder,
    TradePosition,
)
from mt5relay_worker.terminal.protocol import (
    Answer,
    Command,
    Done,
    Failed,
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

SERVER = "Simulated-Demo"
GOOD_PASSWORD = b"sealed"
KNOWN_SYMBOL = "EURUSD"
_REFUSED = Mt5Code(-6, "Terminal: Authorization failed")

RecordT = TypeVar("RecordT", bound=Record)
_BLANKS: dict[object, Any] = {"int": 0, "float": 0.0, "bool": False, "str": ""}
_ROWS: dict[str, tuple[type[Record], str]] = {
    Operation.POSITIONS: (TradePosition, "time_msc"),
    Operation.ORDERS: (TradeOrder, "time_setup_msc"),
    Operation.DEALS: (TradeDeal, "time_msc"),
}


def rows_of(login: int, operation: str) -> int:
    """How many rows an account has, for ever: some have none, and that is known."""
    return (login + len(operation)) % 4


def witness(operation: str, data: bytes) -> tuple[set[int], int, int | None]:
    """Whose data it is, how many rows, and when it was read (epoch ms; None where no row says)."""
    found = msgspec.json.decode(data)
    match operation:
        case Operation.ACCOUNT_INFO:
            return {found["login"]}, 1, round(found["balance"])
        case Operation.TICK:
            return {found["volume"]}, 1, found["time_msc"]
        case _:
            _, moment = _ROWS[operation]
            times = [row[moment] for row in found]
            return {row["magic"] for row in found}, len(found), max(times, default=None)


def _blank(kind: type[RecordT], **values: Any) -> RecordT:
    blank = {name: _BLANKS[kind.__annotations__[name]] for name in kind.__struct_fields__}
    return kind(**{**blank, **values})


def _records(account: AccountId, operation: str) -> object:
    """What the terminal has; each record says whose it is and when it was read."""
    login, now_ms = account.login, int(time.time() * 1000)
    match operation:
        case Operation.ACCOUNT_INFO:
            return _blank(AccountInfo, login=login, server=account.server, balance=float(now_ms))
        case Operation.TICK:
            return _blank(Tick, volume=login, time_msc=now_ms)
        case _:
            kind, moment = _ROWS[operation]
            rows = rows_of(login, operation)
            return [_blank(kind, magic=login, **{moment: now_ms}) for _ in range(rows)]


@dataclass(frozen=True)
class TerminalFaults:
    """How often, for each visit; `…_ms` are milliseconds."""

    dies: float = 0.0
    hangs: float = 0.0
    refuses: float = 0.0
    broker_down: float = 0.0
    wrong_identity: float = 0.0
    slow: float = 0.0
    read_fails: float = 0.0
    does_not_start: float = 0.0
    switch_ms: float = 60.0
    read_ms: float = 3.0


@dataclass
class Host:
    """The machine: one terminal, logged in to one account, whoever asked for it last."""

    luck: random.Random
    faults: TerminalFaults
    current: AccountId | None = None
    is_linked_to_broker: bool = True
    seen: dict[str, int] = field(default_factory=dict[str, int])

    def strikes(self, fault: str) -> bool:
        if self.luck.random() >= getattr(self.faults, fault):
            return False
        self.seen[fault] = self.seen.get(fault, 0) + 1
        return True


class SimulatedTerminal:
    """One worker's terminal process on the host, as the worker's `Terminal`."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._is_running = False
        self._is_dead = False  # with its worker
        self._fingerprint = ""

    @property
    def is_running(self) -> bool:
        return self._is_running

    def die(self) -> None:
        self._is_dead, self._is_running = True, False

    async def start(self) -> Hello:
        await anyio.sleep(0.02)
        if self._is_dead or self._host.strikes("does_not_start"):
            raise MT5InitError("the simulated process did not start")
        self._is_running = True
        return Hello("key", "public")

    async def stop(self) -> None:
        self._is_running = False

    async def ask(self, command: Command, limit: float) -> Answer:
        if not self._is_running:
            raise MT5ConnectionError("the simulated process is not running")
        is_answered = False
        try:
            with anyio.fail_after(limit):
                answer = await self._obey(command, limit)
            is_answered = True
            return answer
        except TimeoutError:
            raise MT5TimeoutError(f"no answer within {limit:g} s") from None
        finally:
            if not is_answered:
                self._is_running = False

    async def _obey(self, command: Command, limit: float) -> Answer:
        await anyio.sleep(0.001)
        match command:
            case Initialize():
                return Initialized(5000, "5.0.6231")
            case Visit():
                return await self._visit(command, limit)
            case Probe():
                return self._probe()
            case _:
                return Done()

    def _probe(self) -> Probed:
        on, linked = self._host.current, self._host.is_linked_to_broker
        return Probed(
            linked, True, on.login if on else 0, on.server if on else "", linked, 1.0, 5000
        )

    async def _visit(self, visit: Visit, limit: float) -> Answer:
        if self._host.strikes("dies"):
            raise MT5ConnectionError("the simulated process died")
        if self._host.strikes("hangs"):
            await anyio.sleep(limit * 2)
        if not self._host.is_linked_to_broker or self._host.strikes("broker_down"):
            return Failed("BROKER_UNAVAILABLE", "no link to the broker")
        return await self._log_in_and_read(visit)

    async def _log_in_and_read(self, visit: Visit) -> Answer:
        host, account = self._host, AccountId(visit.login, visit.server)
        before, began = host.current, anyio.current_time()
        switched = (before, self._fingerprint) != (account, visit.fingerprint)
        if switched:
            factor = 12.0 if host.strikes("slow") else 1.0
            await anyio.sleep(host.luck.uniform(0.3, 1.5) * factor * host.faults.switch_ms / 1000)
            if visit.envelope != GOOD_PASSWORD or host.strikes("refuses"):
                return Failed("MT5_AUTH_FAILED", "refused", _REFUSED)
            host.current, self._fingerprint = account, visit.fingerprint
        if before is not None and before != account and host.strikes("wrong_identity"):
            account = host.current = before  # it did not take, and nobody in the process noticed
        switch_ms = (anyio.current_time() - began) * 1000
        results = [await self._read(account, read) for read in visit.reads]
        return Visited(account.login, account.server, switched, switch_ms, "assumed", results)

    async def _read(self, account: AccountId, read: Read) -> ReadResult:
        """Identity is compared before and after, as the real process does."""
        host, was_there = self._host, self._host.current == account
        took_ms = host.luck.uniform(0.3, 1.5) * host.faults.read_ms
        data = msgspec.json.encode(_records(account, read.operation))
        await anyio.sleep(took_ms / 1000)
        if not was_there or host.current != account:
            return ReadResult("error", took_ms, None, "MT5_DATA_INVALID", "another account")
        if read.arguments.get("symbol", KNOWN_SYMBOL) != KNOWN_SYMBOL:
            return ReadResult("error", took_ms, None, "NOT_FOUND", "no such symbol")
        if host.strikes("read_fails"):
            return ReadResult("not_ready", took_ms, None, "MT5_DATA_INVALID", "not ready")
        return ReadResult("empty" if data == b"[]" else "value", took_ms, data)
