"""One server in memory, what it did, and the unreliable links that lead to it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fakeredis import FakeServer
from fakeredis._core._database import Database
from fakeredis.aioredis import AsyncFakeSocket, FakeAsyncRedisConnection, FakeReader, FakeWriter
from redis.asyncio import Redis
from redis.asyncio.connection import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from mt5relay_shared.redis_client import SOCKET_TIMEOUT, PacksInC, client_options

Observer = Callable[[str, str, Sequence[bytes], Any], None]
"""Told of each command that ran, those inside scripts included: client, name, arguments, answer."""


class _InOrder(dict[Callable[[], None], None]):
    """As much of a set as fakeredis needs, walked in the order of arrival."""

    def add(self, callback: Callable[[], None]) -> None:
        self[callback] = None

    def remove(self, callback: Callable[[], None]) -> None:
        del self[callback]


class SimulatedServer(FakeServer):
    """The server. An outage makes it unreachable; what it holds survives."""

    def __init__(self, observer: Observer) -> None:
        super().__init__(version=(7, 4))
        self.observer = observer
        self.is_down = False
        self._entry_added = asyncio.Event()
        database = Database(self.lock)
        database._change_callbacks = _InOrder()  # type: ignore[assignment] # pyright: ignore[reportAttributeAccessIssue, reportPrivateUsage]
        self.dbs[0] = database

    @property
    def database(self) -> Any:
        return self.dbs[0]

    def command_ran(self, client: str, name: str, arguments: Sequence[bytes], answer: Any) -> None:
        if name == "xadd":
            self._entry_added.set()
            self._entry_added = asyncio.Event()
        self.observer(client, name, arguments, answer)

    async def wait_for_entry(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._entry_added.wait()
        except TimeoutError:
            pass


class _CompiledScripts:
    """A Lua runtime that compiles each script once.

    fakeredis compiles the source, collects all of Lua's garbage and lists its global names in every
    call: a quarter of what a seed computes. A script that sets a global fails on the real servers
    that tests/contract runs it on.
    """

    def __init__(self, runtime: Any, globals_allowed: Any) -> None:
        self._runtime = runtime
        self._globals = dict.fromkeys(globals_allowed)
        self._compiled: dict[bytes | str, Callable[[], Any]] = {"collectgarbage()": lambda: None}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def globals(self) -> dict[Any, None]:
        return self._globals

    def execute(self, script: bytes) -> Any:
        if script not in self._compiled:
            self._compiled[script] = self._runtime.eval(b"function() " + script + b"\nend")
        return self._compiled[script]()


class _ObservedSocket(AsyncFakeSocket):
    """The server's end of a connection."""

    client = ""

    def _get_server_runtime(self, server: Any) -> Any:
        if not isinstance(getattr(server, "_lua_runtime", None), _CompiledScripts):
            runtime = super()._get_server_runtime(server)
            server._lua_runtime = _CompiledScripts(runtime, server._lua_expected_globals)
        return server._lua_runtime

    def _lua_redis_call(
        self, lua_runtime: Any, expected_globals: Any, op: bytes, *args: Any
    ) -> Any:
        runtime = self._get_server_runtime(self._server)
        return super()._lua_redis_call(runtime, expected_globals, op, *args)

    def _run_command(self, func: Any, sig: Any, args: list[Any], from_script: bool) -> Any:
        server, arguments = self._server, list(args)
        answer = super()._run_command(func, sig, args, from_script)
        if isinstance(server, SimulatedServer):
            server.command_ran(self.client, sig.name.lower(), arguments, answer)
        return answer


@dataclass(frozen=True)
class LinkFaults:
    """How often, for each command or pipeline; times in seconds."""

    cut_before: float = 0.0
    cut_after: float = 0.0
    swallowed: float = 0.0  # it ran, and its answer never comes
    slow: float = 0.0
    longest_delay: float = 0.8
    fastest: float = 0.0002
    usual: float = 0.002


@dataclass(frozen=True)
class _Fate:
    there: float  # seconds on the way
    back: float
    is_cut_before: bool = False
    is_cut_after: bool = False
    is_swallowed: bool = False


class Link:
    """Everything between one process and the server. Severed with its process, for ever."""

    def __init__(
        self, server: SimulatedServer, name: str, faults: LinkFaults, luck: random.Random
    ) -> None:
        self.server = server
        self.name = name
        self.faults = faults
        self._luck = luck
        self._is_severed = False
        self._thawed = asyncio.Event()
        self._thawed.set()

    def connect(
        self, url: str, *, client_name: str, tag: str = "", allow_plaintext: bool = False
    ) -> Redis:
        pool = ConnectionPool(
            connection_class=SimulatedConnection, link=self, **client_options(client_name)
        )
        return Redis.from_pool(pool)

    def sever(self) -> None:
        self._is_severed = True
        self._thawed.set()

    def freeze(self) -> None:
        """As if the process stood still: what it was about to send is sent when it moves again."""
        self._thawed.clear()

    def thaw(self) -> None:
        self._thawed.set()

    async def pass_through(self, seconds: float) -> None:
        """Be under way for a while.

        Raises:
            redis.exceptions.ConnectionError: the link is cut, or nobody is at its end.
        """
        await asyncio.sleep(seconds)
        await self._thawed.wait()
        self.check()

    def check(self) -> None:
        if self._is_severed or self.server.is_down:
            raise RedisConnectionError("the simulated link is cut")

    def next_fate(self) -> _Fate:
        luck, faults = self._luck, self.faults
        there, back = (luck.uniform(faults.fastest, faults.usual) for _ in range(2))
        draw = luck.random()
        if draw < faults.slow:
            there += luck.uniform(0, faults.longest_delay)
            back += luck.uniform(0, faults.longest_delay)
        return _Fate(
            there,
            back,
            luck.random() < faults.cut_before,
            luck.random() < faults.cut_after,
            luck.random() < faults.swallowed,
        )


class SimulatedConnection(PacksInC, FakeAsyncRedisConnection):  # type: ignore[misc] # its own bases disagree
    """A client's end. Blocks in XREADGROUP as a real server does, which fakeredis does not."""

    def __init__(self, *, link: Link, **options: Any) -> None:
        self._link = link
        self._fate: _Fate | None = None
        self._blocking: tuple[Any, ...] = ()
        super().__init__(server=link.server, **options)

    async def _connect(self) -> None:
        self._link.check()
        self._sock = _ObservedSocket(
            self._server,
            self.db,
            client_class=self._client_class,
            lua_modules=self._lua_modules,
            client_info=self._client_info,
        )
        self._sock.client = self._link.name
        self._reader = FakeReader(self._sock)
        self._writer = FakeWriter(self._sock)

    async def send_command(self, *args: Any, **options: Any) -> None:
        self._blocking = args if args[0] == "XREADGROUP" and "BLOCK" in _texts(args) else ()
        await super().send_command(*args, **options)

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        fate = self._link.next_fate()
        await self._or_disconnect(self._go_there(fate))
        await super().send_packed_command(command, check_health)
        self._fate = fate

    async def _go_there(self, fate: _Fate) -> None:
        await self._link.pass_through(fate.there)
        if fate.is_cut_before:
            raise RedisConnectionError("cut before the command")

    async def read_response(self, *args: Any, **options: Any) -> Any:
        fate, self._fate = self._fate, None
        if fate is not None:  # one way back for all answers of a pipeline
            await self._or_disconnect(self._come_back(fate))
        try:
            answer = await super().read_response(*args, **options)
        except ResponseError as error:
            if "requires the key to exist" in str(error):  # a real server says it in these words
                raise ResponseError("NOGROUP No such key or consumer group") from error
            raise
        if self._blocking and not answer:
            answer = await self._or_disconnect(self._wait_for_entries(options))
        return answer

    async def _come_back(self, fate: _Fate) -> None:
        if fate.is_swallowed:
            await asyncio.sleep(SOCKET_TIMEOUT)
            raise RedisTimeoutError("swallowed")
        await self._link.pass_through(fate.back)
        if fate.is_cut_after:
            raise RedisConnectionError("cut after the command")

    async def _wait_for_entries(self, options: dict[str, Any]) -> Any:
        clock = asyncio.get_running_loop().time
        command, self._blocking = self._blocking, ()
        texts = _texts(command)
        until = clock() + int(texts[texts.index("BLOCK") + 1]) / 1000
        answer: Any = {}
        while not answer and (left := until - clock()) > 0:
            await self._link.server.wait_for_entry(left)
            self._link.check()
            await super().send_packed_command(self.pack_command(*command))
            answer = await super().read_response(**options)
        await self._link.pass_through(0)
        return answer

    async def _or_disconnect(self, step: Any) -> Any:
        """A connection with an answer still to come must not be used again."""
        try:
            return await step
        except BaseException:
            await self.disconnect(nowait=True)
            raise


def _texts(args: Sequence[Any]) -> list[str]:
    return [one.decode() if isinstance(one, bytes) else str(one) for one in args]
