"""What tests of the operator's command share: a way to run it, and a worker that answers it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import structlog
from redis.asyncio import Redis
from tests.commands import Ended, only_these, run_apart, run_here
from tests.ending import end
from tests.leaks.witness import WITNESS
from tests.limits import HANG_LIMIT
from tests.servers import OPERATOR, AclServer, as_user

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.envelopes import SealingKey
from mt5relay_shared.errors import MT5Error
from mt5relay_shared.health import (
    BreakerState,
    ConnectionState,
    Health,
    Status,
    encode_health,
)
from mt5relay_shared.keys import Keys
from mt5relay_shared.messages import OkReply, Reply, decode_request, encode, error_reply
from mt5relay_shared.operations import Operation
from mt5relay_shared.records import (
    AccountInfo,
    Rate,
    Record,
    SymbolInfo,
    Tick,
    TradeDeal,
    TradeOrder,
    TradePosition,
)
from mt5relay_shared.sealing import generate_private_key, load_private_key, public_part

AS_OF_MS = 1_750_000_000_000


RunCli = Callable[..., Any]


@pytest.fixture
def environment(
    server: AclServer, keys: Keys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> dict[str, str]:
    """The settings of this test's terminal, also as this process's environment."""
    settings = {
        "REDIS_URL": as_user(server.url, OPERATOR),
        "MT5_TERMINAL_ID": keys.terminal,
        "COLUMNS": "200",
    }
    return only_these(settings, monkeypatch, tmp_path)


@pytest.fixture
def cli(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> Iterator[RunCli]:
    """Run a command in this process, beside the test's own event loop, without its log."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))

    async def run_command(*words: str) -> Ended:
        ended = await run_here(capsys, *words)
        WITNESS.hear("output of a command", ended.out + ended.err)
        return ended

    yield run_command
    structlog.reset_defaults()


@pytest.fixture
def program(environment: dict[str, str]) -> RunCli:
    """Run a command as a process of its own, with a text as standard input."""

    async def run_program(*words: str, text: str = "", **changed: str) -> Ended:
        ended = await run_apart({**environment, **changed}, *words, text=text)
        WITNESS.hear("output of a command", ended.out + ended.err)
        return ended

    return run_program


def filled(kind: type[Record], **given: Any) -> Any:
    """A record with something plausible in every field."""
    samples = {int: 0, float: 0.0, bool: False, str: ""}
    blank = {one.name: samples[one.type] for one in msgspec.structs.fields(kind)}
    return kind(**{**blank, **given})


def data_of(operation: Operation, account: AccountId) -> Any:
    match operation:
        case Operation.ACCOUNT_INFO:
            return filled(
                AccountInfo,
                login=account.login,
                server=account.server,
                balance=12_345.5,
                currency="USD",
                name="Ada [bold]Example\x1b[31m",
            )
        case Operation.POSITIONS:
            return [filled(TradePosition, ticket=7, symbol="EURUSD", type=1, price_open=1.08501)]
        case Operation.ORDERS:
            return []
        case Operation.DEALS:
            return [filled(TradeDeal, ticket=8, entry=1, time=1_700_000_000, type=99)]
        case Operation.HISTORY_ORDERS:
            return [filled(TradeOrder, ticket=9, type=2, state=4)]
        case Operation.SYMBOL:
            return filled(SymbolInfo, name="EURUSD", digits=5)
        case Operation.TICK:
            return filled(Tick, bid=1.08501, ask=1.08503)
        case Operation.RATES:
            return [filled(Rate, time=1_700_000_000, open=1.0)]


@dataclass
class EchoWorker:
    """Answers every request with the same data, and obeys every command, until it is stopped."""

    redis: Redis
    keys: Keys
    sealing_key: SealingKey
    fails_with: MT5Error | None = None
    command_result: str = "ok"
    asked: list[Any] = field(default_factory=list[Any])

    async def publish(self, **changed: Any) -> None:
        await self.redis.set(self.keys.lease, "echo:nonce:1")
        await self.redis.set(self.keys.sealing_key, msgspec.json.encode(self.sealing_key))
        fields: dict[Any, Any] = dict(encode_health(healthy(**changed)))
        await self.redis.hset(self.keys.health, mapping=fields)

    async def run(self) -> None:
        cursors: dict[Any, Any] = {self.keys.requests: "0", self.keys.commands: "0"}
        while True:
            found = cast(dict[bytes, Any], await self.redis.xread(cursors, block=200) or {})
            for stream, entries in found.items():
                for entry_id, fields in entries:
                    cursors[stream.decode()] = entry_id
                    await self._handle(fields)

    async def _handle(self, fields: dict[bytes, bytes]) -> None:
        if b"request" in fields:
            await self._answer(fields[b"request"])
        else:
            await self._obey(msgspec.json.decode(fields[b"command"]))

    async def _answer(self, body: bytes) -> None:
        request = decode_request(body)
        self.asked.append(request)
        question = request.question()
        reply: Reply
        if self.fails_with is not None:
            reply = error_reply(request, self.fails_with, AS_OF_MS)
        else:
            data = msgspec.json.encode(data_of(question.operation, question.account))
            reply = OkReply(
                id=request.id,
                account=request.account,
                operation=request.operation,
                data=msgspec.Raw(data),
                as_of_ms=AS_OF_MS,
                age_ms=1500,
                source="terminal",
                synchronized="confirmed",
            )
        await self.redis.set(self.keys.reply(request.id), encode(reply), px=60_000)
        if request.reply_to:
            stream = self.keys.replies(request.reply_to)
            await self.redis.xadd(stream, {request.id: encode(reply)}, nomkstream=True)

    async def _obey(self, command: dict[str, str]) -> None:
        self.asked.append(command)
        await self.record(
            at_ms=AS_OF_MS,
            kind="command",
            id=command["id"],
            command=command["command"],
            result=self.command_result,
            message="the breaker is closed",
        )

    async def record(self, **event: Any) -> None:
        await self.redis.xadd(self.keys.events, {"event": msgspec.json.encode(event)})


def healthy(**changed: Any) -> Health:
    health = Health(
        status=Status.OK,
        state=ConnectionState.CONNECTED,
        detail="idle",
        state_since_ms=AS_OF_MS,
        breaker=BreakerState.CLOSED,
        worker_id="echo",
        fence=1,
        started_at_ms=AS_OF_MS,
        heartbeat_at_ms=AS_OF_MS,
        version="0",
        pool_limit=20,
        connection_ok=True,
    )
    return msgspec.structs.replace(health, **changed)


@pytest.fixture
async def worker(redis: Redis, keys: Keys) -> AsyncIterator[EchoWorker]:
    """A worker that has published its health and sealing key, and answers."""
    echo = EchoWorker(redis, keys, public_part(load_private_key(generate_private_key())))
    await echo.publish()
    task = asyncio.create_task(echo.run())
    yield echo
    await end(task)


@pytest.fixture
def wait_for() -> Callable[[Callable[[], object]], Any]:
    """Poll until a condition holds."""

    async def wait(condition: Callable[[], object]) -> None:
        async with asyncio.timeout(HANG_LIMIT):
            while not condition():  # noqa: ASYNC110 - what is waited for knows no events
                await asyncio.sleep(0.01)

    return wait


@pytest.fixture
def worker_health() -> Callable[..., Health]:
    return healthy


@pytest.fixture
def account_info() -> Callable[..., AccountInfo]:
    def make(**given: Any) -> AccountInfo:
        return cast(AccountInfo, filled(AccountInfo, **{"currency": "USD", **given}))

    return make
