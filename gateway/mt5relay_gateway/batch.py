"""All commands of one event-loop tick in one write, on one connection.

redis-py sends each command alone and waits for its answer; with many requests in flight that costs
a connection or a round trip each. Here the commands that come together travel together, and those
that come while a pipeline is under way form the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis import exceptions as foreign
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from mt5relay_shared.errors import MT5Error, MT5StateError, RedisUnavailableError
from mt5relay_shared.redis_trouble import passes_by_itself
from mt5relay_shared.scripts import Argument, Script

MAX_PIPELINE = 1024  # commands; bounds what one lost connection leaves unknown


class RedisInterruptedError(RedisUnavailableError):
    """The connection died or the server is failing over: the command may or may not have run."""


class ScriptUnknownError(RedisUnavailableError):
    """The server does not know the script by its digest: it was restarted or flushed."""


def translated(error: foreign.RedisError) -> RedisUnavailableError:
    """Say in this project's words what redis-py says in its own."""
    if isinstance(error, foreign.NoScriptError):
        return ScriptUnknownError(f"Redis refused a script: {error}")
    # A full server is told at once: it stays full for longer than a caller waits.
    if passes_by_itself(error) and not isinstance(error, foreign.OutOfMemoryError):
        return RedisInterruptedError(f"Redis did not answer: {error}")
    return RedisUnavailableError(f"Redis refused a command: {error}")


@contextlib.asynccontextmanager
async def answered_within(seconds: float) -> AsyncGenerator[None]:
    """Give up waiting for Redis after `seconds`, sooner than the socket does.

    Raises:
        RedisInterruptedError: the time is over.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise RedisInterruptedError(f"Redis did not answer within {seconds:.3g} s") from None


def filled(pipeline: Pipeline, *commands: tuple[Argument, ...]) -> Pipeline:
    queue = cast(Any, pipeline).execute_command  # untyped there; in a pipeline it only queues
    for command in commands:
        queue(*command)
    return pipeline


Command = tuple[Argument, ...]
KeysAndArguments = tuple[Sequence[str], Sequence[Argument]]


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """A command, put together at the moment when it is sent; None: nobody wants it any more."""

    command: Callable[[], Command | None]
    answer: asyncio.Future[Any]


class CommandBatch:
    """Sends commands in pipelines, one at a time, and hands each its own answer or error."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._waiting: deque[_Call] = deque()
        self._sender: asyncio.Task[None] | None = None
        self._closed = False

    async def call(self, *command: Argument) -> Any:  # noqa: ANN401 - each command answers in its own shape
        """Send one command and wait for its answer. Cancelling it leaves the others alone.

        Raises:
            RedisInterruptedError: it is not known whether the command ran.
            RedisUnavailableError: Redis refused it.
            MT5StateError: the batch is closed.
        """
        return await self._enqueue(command)

    def begin(self, *command: Argument) -> asyncio.Future[Any]:
        """Send one command; the future is its answer, or fails as `call` does."""
        answer = self._enqueue(command)
        answer.add_done_callback(_unheeded)
        return answer

    def post(self, *command: Argument) -> None:
        """Send one command, in its turn, whose answer nobody waits for; it may be lost."""
        if not self._closed:
            self.begin(*command)

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:  # noqa: ANN401 - each script answers in its own shape
        """Run a script by digest, and by source where the server does not know it.

        Raises as `call` does.
        """
        return await self.run_late(script, lambda: (keys, arguments))

    async def run_late(self, script: Script, compose: Callable[[], KeysAndArguments | None]) -> Any:  # noqa: ANN401 - each script answers in its own shape
        """Run a script whose keys and arguments are asked for when it is sent.

        That may be seconds later while Redis is away. If `compose` returns None then, nothing is
        sent, and None is the answer. Raises as `call` does.
        """
        try:
            return await self._enqueue_late(lambda: _applied(script.by_digest, compose()))
        except ScriptUnknownError:
            return await self._enqueue_late(lambda: _applied(script.by_source, compose()))

    def _enqueue(self, command: Command) -> asyncio.Future[Any]:
        return self._enqueue_late(lambda: command)

    def _enqueue_late(self, command: Callable[[], Command | None]) -> asyncio.Future[Any]:
        if self._closed:
            raise MT5StateError("the client is closed; open a new one")
        call = _Call(command, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        if self._sender is None:
            # The task's first step comes after everything that is ready in this tick, so all of
            # that can still join the pipeline.
            self._sender = asyncio.create_task(self._send_all(), name="mt5relay-commands")
        return call.answer

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                calls, commands = self._next_calls()
                if calls:
                    _deliver(calls, await self._send(commands))
        finally:
            self._sender = None

    def _next_calls(self) -> tuple[list[_Call], list[Command]]:
        calls: list[_Call] = []
        commands: list[Command] = []
        for _ in range(min(MAX_PIPELINE, len(self._waiting))):
            call = self._waiting.popleft()
            if call.answer.done():
                continue
            command = call.command()
            if command is None:
                call.answer.set_result(None)
                continue
            calls.append(call)
            commands.append(command)
        return calls, commands

    async def _send(self, commands: Sequence[Command]) -> Sequence[object]:
        pipeline = filled(self._redis.pipeline(transaction=False), *commands)
        try:
            return cast(Sequence[object], await pipeline.execute(raise_on_error=False))
        except foreign.RedisError as error:
            return list(itertools.repeat(error, len(commands)))

    async def aclose(self) -> None:
        """Refuse new commands, fail those not sent yet, and let the pipeline under way finish."""
        self._closed = True
        while self._waiting:
            _fail(self._waiting.popleft(), MT5StateError("the client was closed"))
        if self._sender is not None:
            await self._sender
        await self._redis.aclose()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "sending" if self._sender else "idle"
        return f"<CommandBatch {state}, {len(self._waiting)} waiting>"


def _applied(
    form: Callable[[Sequence[str], Sequence[Argument]], Command], composed: KeysAndArguments | None
) -> Command | None:
    return None if composed is None else form(*composed)


def _deliver(calls: Sequence[_Call], answers: Sequence[object]) -> None:
    for call, answer in zip(calls, answers, strict=True):
        if isinstance(answer, foreign.RedisError):
            _fail(call, translated(answer))  # one for each: a shared one would collect tracebacks
        elif not call.answer.done():
            call.answer.set_result(answer)


def _unheeded(answer: asyncio.Future[Any]) -> None:
    if not answer.cancelled():
        answer.exception()  # retrieved, or asyncio would report it


def _fail(call: _Call, error: MT5Error) -> None:
    if not call.answer.done():
        call.answer.set_exception(error)
