"""A worker without a terminal, on the real server, and a client that asks it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, cast

import msgspec
import pytest
from redis.asyncio import Redis
from tests.limits import HANG_LIMIT
from tests.servers import TESTER, WORKER, AclServer, as_user

from mt5relay_gateway import AccountClient, testing
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5Error
from mt5relay_shared.keys import WORKER_CONSUMER, WORKER_GROUP, Keys
from mt5relay_shared.messages import (
    ErrorReply,
    OkReply,
    Reply,
    Request,
    decode_request,
    encode,
    error_reply,
)
from mt5relay_shared.operations import Operation
from mt5relay_shared.redis_client import connect
from mt5relay_shared.scripts import COMPLETE, Argument

LEASE = "echo:nonce:1"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def data_for(request: Request) -> object:
    """Records that tell which request they answer."""
    account = AccountId.parse(request.account)
    match Operation(request.operation):
        case Operation.ACCOUNT_INFO:
            return testing.an_account_info(login=account.login, server=account.server)
        case Operation.POSITIONS:
            return [testing.a_position(ticket=account.login)]
        case Operation.ORDERS:
            return [testing.an_order()]
        case Operation.DEALS:
            return [testing.a_deal(time_msc=request.arguments["from_ms"])]
        case Operation.HISTORY_ORDERS:
            return [testing.an_order(time_done_msc=request.arguments["to_ms"])]
        case Operation.SYMBOL:
            return testing.a_symbol(name=request.arguments["symbol"])
        case Operation.TICK:
            return testing.a_tick()
        case Operation.RATES:
            return [testing.a_rate() for _ in range(request.arguments["count"])]


def ok_reply(request: Request, **changes: Any) -> OkReply:
    reply = OkReply(
        id=request.id,
        account=request.account,
        operation=request.operation,
        data=msgspec.Raw(msgspec.json.encode(data_for(request))),
        as_of_ms=now_ms(),
        age_ms=0,
        source="terminal",
        synchronized="confirmed",
    )
    return msgspec.structs.replace(reply, **changes)


class EchoWorker:
    """Drains the request stream and completes what it reads with the project's own script.

    `answer` decides the reply; None leaves the request unanswered.
    """

    def __init__(self, redis: Redis, keys: Keys, own: Redis | None = None) -> None:
        self.redis = redis  # the test's, which may do everything
        self.keys = keys
        self._own = own or redis  # the worker's
        self.requests: list[Request] = []
        self.answer: Callable[[Request], Reply | None] = ok_reply
        self._stopping = False

    def answer_with(self, error: MT5Error) -> None:
        self.answer = lambda request: error_reply(request, error, now_ms())

    def stay_silent(self) -> None:
        self.answer = lambda _: None

    def answer_changed(self, **changes: Any) -> None:
        """Answer well but for these fields of the reply."""
        self.answer = lambda request: ok_reply(request, **changes)

    def ok(self, request: Request, **changes: Any) -> OkReply:
        return ok_reply(request, **changes)

    async def take_over(self) -> None:
        await self.redis.set(self.keys.lease, LEASE, px=60_000)
        await self.redis.xgroup_create(self.keys.requests, WORKER_GROUP, id="0", mkstream=True)

    async def release(self) -> None:
        await self.redis.delete(self.keys.lease)

    async def say_health(self, **fields: str) -> None:
        command: Callable[..., Awaitable[Any]] = self.redis.hset
        await command(self.keys.health, mapping=fields)

    async def run(self) -> None:
        read: Callable[..., Awaitable[Any]] = cast(Any, self._own).execute_command
        while not self._stopping:
            streams = await read(
                *("XREADGROUP", "GROUP", WORKER_GROUP, WORKER_CONSUMER, "COUNT", 256),
                *("BLOCK", 20, "STREAMS", self.keys.requests, ">"),
            )
            for entries in streams.values():
                await self._work(entries)

    async def _work(self, entries: list[tuple[bytes, Mapping[bytes, bytes]]]) -> None:
        done: list[tuple[bytes, Request, Reply]] = []
        for entry, fields in entries:
            request = decode_request(fields[b"request"])
            self.requests.append(request)
            if (reply := self.answer(request)) is not None:
                done.append((entry, request, reply))
        if done:
            await self._complete(done)

    async def _complete(self, done: list[tuple[bytes, Request, Reply]]) -> None:
        keys = [self.keys.lease, self.keys.requests, self.keys.running]
        keys += [self.keys.snapshot("0@x"), self.keys.shares]
        arguments: list[Argument] = [LEASE, WORKER_GROUP, 1, "", "", 0, 0, "assumed", 1000, 1000]
        for entry, request, reply in done:
            keys += [self.keys.request(request.id), self.keys.reply(request.id)]
            stream = self.keys.replies(request.reply_to) if request.reply_to else ""
            arguments += [entry, request.id, encode(reply), stream, 60_000]
        await COMPLETE.run(self._own, keys, arguments)

    async def push_reply(self, request: Request) -> None:
        """Answer a request that was left unanswered, and tell its gateway."""
        reply = ok_reply(request)
        await self.store_reply(reply)
        assert request.reply_to is not None
        await self.redis.xadd(self.keys.replies(request.reply_to), {reply.id: encode(reply)})

    async def store_reply(self, reply: OkReply | ErrorReply) -> None:
        """Write the durable reply alone, as if the push had been lost."""
        await self.redis.set(self.keys.reply(reply.id), encode(reply), px=60_000)

    async def store_snapshot(self, account: str, *, age: float, owner: str | None = None) -> None:
        """Store a full read that is `age` seconds old."""
        of = AccountId.parse(owner or account)
        info = testing.an_account_info(login=of.login, server=of.server, balance=77.0)
        data = {"account_info": info, "positions": [testing.a_position()], "orders": []}
        await self.write_snapshot(
            account,
            data=msgspec.json.encode(data),
            as_of=now_ms() - round(age * 1000),
            synchronized="confirmed",
        )

    async def write_snapshot(self, account: str, **fields: Any) -> None:
        command: Callable[..., Awaitable[Any]] = self.redis.hset
        await command(self.keys.snapshot(account), mapping=fields)

    def stop(self) -> None:
        self._stopping = True


@asynccontextmanager
async def _echo_worker(url: str, keys: Keys) -> AsyncGenerator[EchoWorker]:
    redis = connect(as_user(url, TESTER), client_name="test")
    own = connect(as_user(url, WORKER), client_name="echo-worker")
    echo = EchoWorker(redis, keys, own)
    await echo.take_over()
    running = asyncio.create_task(echo.run())
    try:
        yield echo
    finally:
        echo.stop()
        await running
        await own.aclose()
        await redis.aclose()


@pytest.fixture
def worker_at() -> Callable[[str, Keys], AbstractAsyncContextManager[EchoWorker]]:
    """Start a worker at another server than the shared one."""
    return _echo_worker


@pytest.fixture
async def worker(server: AclServer, keys: Keys) -> AsyncIterator[EchoWorker]:
    async with _echo_worker(server.url, keys) as echo:
        yield echo


@pytest.fixture
async def client(server: AclServer, keys: Keys) -> AsyncIterator[AccountClient]:
    async with AccountClient(server.url, terminal=keys.terminal, timeout=HANG_LIMIT) as opened:
        yield opened


@pytest.fixture
def eventually() -> Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]:
    """Wait until a condition holds."""

    async def wait(is_so: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(HANG_LIMIT):
            while not await is_so():  # noqa: ASYNC110 - what is waited for is in another process
                await asyncio.sleep(0.01)

    return wait
