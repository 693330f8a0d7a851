"""A TCP proxy in front of a real server that understands requests, to cut exactly where told."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from enum import Enum, auto

from tests.limits import HANG_LIMIT

from mt5relay_shared import scripts

_SCRIPTS = {
    script.digest.encode(): script.name
    for script in vars(scripts).values()
    if isinstance(script, scripts.Script)
}
_SOURCES = {
    script.source.encode(): script.name
    for script in vars(scripts).values()
    if isinstance(script, scripts.Script)
}


class Cut(Enum):
    """What happens to the connection at the chosen command."""

    BEFORE = auto()  # the server never sees the command
    AFTER = auto()  # the server runs it, the answer is lost
    KILL = auto()  # the server runs it, and the whole process behind the proxy is gone


@dataclass(frozen=True)
class Step:
    """The n-th command of a name, counted over all connections of one process."""

    name: str
    occurrence: int

    def __str__(self) -> str:
        return f"{self.name}#{self.occurrence}"


def command_name(parts: list[bytes]) -> str:
    """The command's name; for scripts the script's own."""
    name = parts[0].upper().decode()
    if name == "EVALSHA":
        return f"{_SCRIPTS.get(parts[1], 'unknown')} by digest"
    if name == "EVAL":
        return f"{_SOURCES.get(parts[1], 'unknown')} by source"
    if name in ("CLIENT", "CONFIG", "XGROUP"):
        return f"{name} {parts[1].upper().decode()}"
    if name == "XREADGROUP":
        return "XREADGROUP new" if parts[-1] == b">" else "XREADGROUP pending"
    return name


class RespProxy:
    """Everything one process says to Redis goes through here.

    `steps` lists what was said. At `cut_at` the connection is cut as `cut` says; for KILL every
    connection is dropped, new ones are refused, and `on_kill` is called.
    """

    def __init__(
        self,
        upstream_port: int,
        *,
        cut_at: Step | None = None,
        cut: Cut = Cut.BEFORE,
    ) -> None:
        self.steps: list[Step] = []
        self.has_cut = False
        self.on_kill: Callable[[], None] = lambda: None
        self._upstream_port = upstream_port
        self._cut_at = cut_at
        self._cut = cut
        self._counts: Counter[str] = Counter()
        self._is_dead = False
        self._connections: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncGenerator[str]:
        """Serve; yields the URL for clients."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        try:
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            self.kill()
            self._server.close()

    def kill(self) -> None:
        """The process is gone: nothing it says arrives any more."""
        self._is_dead = True
        for writer in list(self._connections):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_dead:
            writer.transport.abort()
            return
        link = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        self._connections |= {writer, link[1]}
        answers = asyncio.create_task(_relay_answers(link[0], writer))
        try:
            due = await self._relay_commands(reader, link[1])
            answers.cancel()
            await asyncio.wait([answers])
            if self._cut is not Cut.BEFORE:
                await _run_unanswered(due, *link)
            if self._cut is Cut.KILL:
                self.kill()
                self.on_kill()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # either end is gone
        finally:
            answers.cancel()
            for one in (writer, link[1]):
                self._connections.discard(one)
                one.transport.abort()

    async def _relay_commands(
        self, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter
    ) -> bytes:
        """Pass on what is said, up to the command that is due; returns that one."""
        while True:
            raw, parts = await _read_command(reader)
            if self._is_due(parts):
                self.has_cut = True
                return raw
            upstream.write(raw)

    def _is_due(self, parts: list[bytes]) -> bool:
        name = command_name(parts)
        self._counts[name] += 1
        step = Step(name, self._counts[name])
        self.steps.append(step)
        return step == self._cut_at and not self.has_cut


async def _relay_answers(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()
    target.transport.abort()


async def _run_unanswered(
    raw: bytes, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter
) -> None:
    """Have the server run it, and all before it, before anything breaks.

    Inside a transaction the ping is only queued: then the half transaction is what gets lost.
    """
    upstream.write(raw + b"*2\r\n$4\r\nPING\r\n$8\r\nit-is-so\r\n")
    answer = b""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(HANG_LIMIT):
            while not answer.endswith((b"it-is-so\r\n", b"+QUEUED\r\n+QUEUED\r\n")):
                data = await reader.read(65_536)
                if not data:
                    return
                answer += data


async def _read_command(reader: asyncio.StreamReader) -> tuple[bytes, list[bytes]]:
    header = await reader.readuntil(b"\r\n")
    raw = [header]
    parts: list[bytes] = []
    for _ in range(int(header[1:])):
        size = await reader.readuntil(b"\r\n")
        body = await reader.readexactly(int(size[1:]) + 2)
        raw += [size, body]
        parts.append(body[:-2])
    return b"".join(raw), parts
