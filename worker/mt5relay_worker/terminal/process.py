"""The worker's end of the pipe: starts the terminal process, asks it, kills it when it hangs."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from typing import Protocol

from mt5relay_shared.errors import MT5ConnectionError, MT5Error, MT5InitError, MT5TimeoutError
from mt5relay_shared.logs import get_logger
from mt5relay_worker.terminal.options import TerminalOptions
from mt5relay_worker.terminal.protocol import (
    LENGTH_BYTES,
    Answer,
    Command,
    Failed,
    Hello,
    Reading,
    Visit,
    answer_decoder,
    frame,
    frame_length,
)

log = get_logger("terminal.process")

_HOST = (sys.executable, "-m", "mt5relay_worker.terminal.host")
_LEAVE_LIMIT = 3.0  # seconds a process has to end by itself once its pipe is closed


class VisitEndedProcessError(MT5ConnectionError):
    """The terminal process died, or had to be killed, during a visit.

    `reading` is the index of the read that was under way, None where it is not known: during the
    login, or of a visit that was not traced.
    """

    reading: int | None = None


class Terminal(Protocol):
    """What the connection manager needs of a terminal: a process, or a fake in a test."""

    @property
    def is_running(self) -> bool: ...

    async def start(self) -> Hello:
        """Start anew.

        Raises:
            MT5InitError: it ended, or said nothing in time.
        """
        ...

    async def ask(self, command: Command, limit: float) -> Answer:
        """Send a command and wait at most `limit` seconds, after which the process is killed.

        Raises:
            VisitEndedProcessError: the process is gone, and the command was a visit.
            MT5TimeoutError: killed; the state of the terminal is unknown now.
            MT5ConnectionError: the process is gone.
        """
        ...

    async def stop(self) -> None:
        """End the process, gently where it can be."""
        ...


class TerminalProcess:
    """A child process, asked one thing at a time."""

    def __init__(
        self, options: TerminalOptions, *, start_limit: float, command: Sequence[str] = _HOST
    ) -> None:
        self._options = options
        self._command = command
        self._start_limit = start_limit
        self._process: Process | None = None
        self._prepared: Process | None = None

    @property
    def is_running(self) -> bool:
        return _lives(self._process)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self.is_running else None

    async def prepare(self) -> None:
        """Start a process that `start` can use, which saves the time that the interpreter takes.

        Until `start` it reads no key and touches no terminal: it has not been told which.
        """
        if not _lives(self._prepared):
            self._prepared = await self._spawn()

    async def _spawn(self) -> Process:
        return await asyncio.create_subprocess_exec(*self._command, stdin=PIPE, stdout=PIPE)

    async def start(self) -> Hello:
        prepared, self._prepared = self._prepared, None
        await self.stop()
        self._process = prepared if prepared and _lives(prepared) else await self._spawn()
        log.info("terminal.process.started", pid=self._process.pid)
        try:
            hello = await self._answer(self._process, self._start_limit, frame(self._options))
        except MT5Error as error:
            raise MT5InitError(f"the terminal process did not start: {error.message}") from error
        if isinstance(hello, Hello):
            return hello
        await self.stop()
        if isinstance(hello, Failed):
            raise MT5InitError(f"the terminal process did not start: {hello.message}")
        raise MT5InitError(f"the terminal process began with {type(hello).__name__}")

    async def ask(self, command: Command, limit: float) -> Answer:
        process = self._process
        if process is None or process.returncode is not None:
            raise MT5ConnectionError("the terminal process is not running")
        reads: list[Reading] = []
        try:
            return await self._answer(process, limit, frame(command), reads.append)
        except (MT5ConnectionError, MT5TimeoutError) as error:
            if not isinstance(command, Visit):
                raise
            ended = VisitEndedProcessError(error.message, code=error.code)
            ended.reading = reads[-1].index if reads else None
            raise ended from None

    async def _answer(
        self,
        process: Process,
        limit: float,
        question: bytes,
        on_reading: Callable[[Reading], None] = lambda _: None,
    ) -> Answer:
        answered = False
        try:
            async with asyncio.timeout(limit):
                await _write(process, question)
                while isinstance(answer := await _read_frame(process), Reading):
                    on_reading(answer)
            answered = True
            return answer
        except TimeoutError:
            raise MT5TimeoutError(
                f"no answer from the terminal within {limit:g} s; its process was killed"
            ) from None
        except (asyncio.IncompleteReadError, ConnectionError, ValueError, RecursionError):
            raise MT5ConnectionError("the terminal process ended during the call") from None
        finally:
            if not answered:  # cancelled included: an answer to nobody would be taken for the next
                await self._kill(process)

    async def stop(self) -> None:
        for process in (self._process, self._prepared):
            if process is not None and _lives(process):
                await self._end(process)

    async def _end(self, process: Process) -> None:
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(_LEAVE_LIMIT):
                await process.wait()
        except TimeoutError:
            await self._kill(process)

    async def _kill(self, process: Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        status = await process.wait()
        log.warning("terminal.process.ended", pid=process.pid, status=status)

    def __repr__(self) -> str:
        return f"<TerminalProcess pid={self.pid}>"


def _lives(process: Process | None) -> bool:
    return process is not None and process.returncode is None


async def _write(process: Process, question: bytes) -> None:
    assert process.stdin is not None  # noqa: S101 - it was started with a pipe
    with contextlib.suppress(ConnectionError):  # the missing answer says it better
        process.stdin.write(question)
        await process.stdin.drain()


async def _read_frame(process: Process) -> Answer:
    assert process.stdout is not None  # noqa: S101 - it was started with a pipe
    prefix = await process.stdout.readexactly(LENGTH_BYTES)
    return answer_decoder.decode(await process.stdout.readexactly(frame_length(prefix)))
