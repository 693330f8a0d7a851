"""The books of one seed: what the server did, what callers heard, and what must never happen."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from tests.simulation.scenario import LEASE_TTL
from tests.simulation.terminal import rows_of, witness

from mt5relay_gateway import Answer
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5Error
from mt5relay_shared.keys import WORKER_GROUP, Keys
from mt5relay_shared.messages import ErrorReply, OkReply, Request, decode_reply
from mt5relay_shared.scripts import BEGIN, BURY, COMPLETE

GRACE = 2.5  # seconds past its deadline: on its way 0.25, a last look 1, a stale snapshot 1
CLOCK_ERROR_MS = LEASE_TTL * 500  # half a round trip; one longer than the lease is of no use
DECLARED_WITHOUT_EXPIRY = {
    "requests", "accounts", "sealing-key", "fence", "events", "dead", "commands",
}  # fmt: skip
_WRITES = {script.digest.encode(): script for script in (BEGIN, COMPLETE, BURY)}
_SOURCES = {script.source.encode(): script for script in (BEGIN, COMPLETE, BURY)}


@dataclass(frozen=True)
class Asked:
    """One call of one gateway. Times are seconds of the virtual clock."""

    request_id: str
    account: AccountId
    operation: str
    at: float
    timeout: float
    max_age: float
    stale_if_error: float
    is_first: bool  # nobody used the id before

    @property
    def latest(self) -> float:
        return self.at + self.timeout + GRACE


@dataclass
class Life:
    """Of one request id, as the server saw it. Of several entries the first deadline ends it."""

    arrived_ms: int
    deadline_ms: int | None  # None where the request can't be read
    body: bytes
    entries: int = 0
    reply: bytes | None = None
    pushed: set[bytes] = field(default_factory=set[bytes])


class Books:
    """Hears of every command that ran. `violations` says what broke a promise, with its moment."""

    def __init__(self, keys: Keys, epoch: float) -> None:
        self.violations: list[str] = []
        self.outcomes: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.trace: list[str] = []
        self.now: Callable[[], float] = float
        self._keys = keys
        self._epoch_ms = round(epoch * 1000)
        self._tag = f"{keys.tag}:".encode()
        self._lives: dict[str, Life] = {}
        self._calls: Counter[str] = Counter()
        self._highest_fence: int = 0

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()[:16]

    @property
    def now_ms(self) -> int:
        return self._epoch_ms + int(self.now() * 1000)

    def note(self, what: str) -> None:
        self.trace.append(f"{self.now():.6f} {what}")

    def broken(self, what: str) -> None:
        self.note(f"VIOLATION {what}")
        self.violations.append(f"at {self.now():.3f} s: {what}")

    # What the server did.

    def command_ran(self, client: str, name: str, arguments: Sequence[bytes], answer: Any) -> None:
        key = arguments[0] if arguments else b""
        if name in ("eval", "evalsha"):
            self._script_ran(client, arguments, answer)
            return
        local = key.removeprefix(self._tag).decode("utf-8", "replace")
        if name not in ("hello", "client setinfo", "client setname", "client maint_notifications"):
            told = answer if isinstance(answer, int | bytes) and local != "lease" else ""
            self.note(f"{client} {name} {local[:48]} {told!r:.40}")
        match name:
            case "xadd" if local == "requests" and isinstance(answer, bytes):
                self._arrived(answer, arguments[-1])
            case "xadd" if local.startswith("replies:") and isinstance(answer, bytes):
                self._pushed(arguments)
            case "set" if local.startswith("reply:") and answer is not None:
                self._replied(local.removeprefix("reply:"), arguments[1])
            case "hset" if local.startswith("snapshot:"):
                self._snapshot_stored(local.removeprefix("snapshot:"), arguments)
            case "incr" if local == "fence" and isinstance(answer, int):
                self._highest_fence = answer
            case _:
                pass

    def _script_ran(self, client: str, arguments: Sequence[bytes], answer: Any) -> None:
        """A write that was not fenced off must be the newest lease holder's."""
        script = _WRITES.get(arguments[0]) or _SOURCES.get(arguments[0])
        if script is None or not isinstance(answer, list) or answer[0] == b"FENCED":
            return
        lease = arguments[2 + int(arguments[1])].decode()
        fence = int(lease.rpartition(":")[2])
        self.note(f"{client} wrote {script.name} under fence {fence}")
        if fence < self._highest_fence:
            self.broken(f"{script.name} under fence {fence} when {self._highest_fence} was given")

    def _arrived(self, entry: bytes, body: bytes) -> None:
        named = _named(body)
        if named is None:
            return
        arrived_ms = int(entry.partition(b"-")[0])
        deadline_ms = None if named.timeout_ms is None else arrived_ms + named.timeout_ms
        life = self._lives.setdefault(named.id, Life(arrived_ms, deadline_ms, body))
        life.entries += 1
        if deadline_ms is not None and life.deadline_ms is not None:
            life.deadline_ms = min(life.deadline_ms, deadline_ms)

    def _pushed(self, arguments: Sequence[bytes]) -> None:
        fields = arguments[arguments.index(b"*") + 1 :]
        for name, body in zip(fields[::2], fields[1::2], strict=True):
            life = self._lives.get(name.decode())
            if life is not None:
                life.pushed.add(body)
                if len(life.pushed | {life.reply or body}) > 1:
                    self.broken(f"second distinct reply pushed for {name.decode()}")

    def _replied(self, request_id: str, body: bytes) -> None:
        life = self._lives.get(request_id)
        if life is None:
            self.broken(f"reply to {request_id}, which never arrived")
            return
        if life.reply is not None:
            self.broken(f"second reply stored for {request_id}")
        life.reply = body
        match decode_reply(body):
            case OkReply() as reply:
                self._check_ok(life, reply)
            case ErrorReply() as reply:
                self._check_error(life, reply)

    def _check_ok(self, life: Life, reply: OkReply) -> None:
        request = msgspec.json.decode(life.body, type=Request)
        if (reply.account, reply.operation) != (request.account, request.operation):
            self.broken(f"{reply.id}: asked {request.account}, answered {reply.account}")
        account = AccountId.parse(request.account)
        for what in _complaints(account, request.operation, bytes(reply.data)):
            self.broken(f"{reply.id}: {what}")
        *_, read_ms = witness(reply.operation, bytes(reply.data))
        if read_ms is None:
            return
        if reply.source == "terminal" and read_ms < life.arrived_ms - request.max_age_ms - 1:
            early = life.arrived_ms - read_ms
            self.broken(f"{reply.id}: answered by a read {early} ms before it arrived")
        if reply.as_of_ms > read_ms + CLOCK_ERROR_MS:
            self.broken(f"{reply.id}: says {reply.as_of_ms - read_ms} ms younger than it is")
        if life.entries == 1:
            self._check_source(request, reply)

    def _check_source(self, request: Request, reply: OkReply) -> None:
        allowed = request.stale_if_error_ms if reply.stale else request.max_age_ms
        if reply.source == "snapshot" and reply.age_ms > allowed:
            self.broken(f"{reply.id}: {reply.age_ms} ms old, allowed were {allowed}")
        if reply.stale != (reply.reason is not None):
            self.broken(f"{reply.id}: stale {reply.stale} for the reason {reply.reason}")

    def _check_error(self, life: Life, reply: ErrorReply) -> None:
        code = reply.error.code
        if code == "INTERNAL":
            self.broken(f"{reply.id}: {code} {reply.error.message}")
        if code == "DEADLINE_EXCEEDED" and life.deadline_ms is not None:
            early = life.deadline_ms - self.now_ms
            if early > CLOCK_ERROR_MS:
                self.broken(f"{reply.id}: given up {early} ms before its deadline")

    def _snapshot_stored(self, account: str, arguments: Sequence[bytes]) -> None:
        parts = msgspec.json.decode(arguments[arguments.index(b"data") + 1])
        for operation, part in parts.items():
            data = msgspec.json.encode(part)
            for what in _complaints(AccountId.parse(account), operation, data):
                self.broken(f"snapshot of {account}: {what}")

    # What callers were told.

    def calls(self, asked: Asked) -> None:
        self._calls[asked.request_id] += 1

    def answered(self, asked: Asked, answer: Answer[Any]) -> None:
        kind = "stale" if answer.stale else answer.source
        self._ended(asked, f"ok {kind}")
        if (answer.account, answer.operation.value) != (asked.account, asked.operation):
            self.broken(f"{asked.request_id}: the answer is {answer.account} {answer.operation}")
        data = msgspec.json.encode(answer.data)
        for what in _complaints(asked.account, asked.operation, data):
            self.broken(f"{asked.request_id}: told a caller: {what}")
        if asked.is_first:
            self._check_age(asked, answer, data)

    def _check_age(self, asked: Asked, answer: Answer[Any], data: bytes) -> None:
        """The first caller of an id gets what this very call allowed, unless another call of the id
        was queued before it, while it waited for Redis or a worker: then that one decided."""
        life = self._lives.get(asked.request_id)
        was_shared = self._calls[asked.request_id] > 1
        if was_shared and life is not None and not _is_from(life.body, asked):
            return
        allowed = asked.stale_if_error if answer.stale else asked.max_age
        if answer.source == "snapshot" and answer.age > allowed:
            self.broken(f"{asked.request_id}: {answer.age:.3f} s old, allowed were {allowed}")
        *_, read_ms = witness(asked.operation, data)
        if read_ms is None or answer.source == "snapshot":
            return
        if read_ms < self._epoch_ms + (asked.at - asked.max_age) * 1000 - 1:
            self.broken(f"{asked.request_id}: an old read passed off as new")

    def refused(self, asked: Asked, error: MT5Error) -> None:
        self._ended(asked, error.code)
        if error.code == "INTERNAL":
            self.broken(f"{asked.request_id}: {error}")

    def _ended(self, asked: Asked, outcome: str) -> None:
        self.outcomes[outcome] += 1
        self.note(f"caller {asked.request_id} {outcome}")
        if self.now() > asked.latest:
            late = self.now() - asked.at - asked.timeout
            self.broken(f"{asked.request_id}: told {outcome} {late:.2f} s after its deadline")

    # What is left.

    def close(self, database: Any) -> None:
        """Judge what only the end can tell, when everybody has gone home."""
        for request_id, life in self._lives.items():
            if life.reply is None:
                self.broken(f"accepted and never answered: {request_id}")
        stream = database.get(f"{self._keys.requests}".encode())
        if stream is not None:
            self._check_stream(stream.value)
        for key in list(database):
            name = key.removeprefix(self._tag).decode()
            if database[key].expireat is None and name not in DECLARED_WITHOUT_EXPIRY:
                self.broken(f"{name} is left without expiry")

    def _check_stream(self, stream: Any) -> None:
        if len(stream):
            self.broken(f"{len(stream)} entries are left in the request stream")
        group = stream.group_get(WORKER_GROUP.encode())
        if group is not None and group.pending_summary()[0]:
            self.broken(f"{group.pending_summary()[0]} entries are left pending")


def _complaints(account: AccountId, operation: str, data: bytes) -> list[str]:
    """What is wrong with data that is said to be an account's."""
    owners, rows, _ = witness(operation, data)
    found: list[str] = []
    if owners - {account.login}:
        found.append(f"{operation} of {account} holds data of {sorted(owners)}")
    expected = rows_of(account.login, operation)
    if operation in ("positions", "orders", "deals") and rows != expected:
        found.append(f"{operation} of {account} has {rows} rows, should have {expected}")
    return found


class _Named(msgspec.Struct):
    id: str
    timeout_ms: int | None = None


def _is_from(body: bytes, asked: Asked) -> bool:
    """Whether a queued request says how fresh this call wants its answer."""
    request = msgspec.json.decode(body, type=Request)
    freshness = (request.max_age_ms / 1000, request.stale_if_error_ms / 1000)
    return freshness == (asked.max_age, asked.stale_if_error)


def _named(body: bytes) -> _Named | None:
    try:
        return msgspec.json.decode(body, type=_Named)
    except msgspec.DecodeError:
        return None
