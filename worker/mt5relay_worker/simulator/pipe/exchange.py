"""All clients of one simulated terminal: bytes in, bytes out, and when; without a pipe."""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from mt5relay_worker.simulator.pipe.ahead import SilenceError
from mt5relay_worker.simulator.pipe.codec import FrameBuffer
from mt5relay_worker.simulator.pipe.errors import CodecError
from mt5relay_worker.simulator.pipe.session import Close, Send, Session, Silence
from mt5relay_worker.simulator.pipe.terminal import PipeTerminal

LINGER_SECONDS = 1.0
"""For so long a client can still ask how the login ended that the terminal did not survive.

Its next question but that closes the pipe.
"""

MAX_WAITING = 64
"""Requests that a client may send ahead; the package sends one and waits."""


@dataclass(frozen=True, slots=True)
class Write:
    """Write these bytes to this client, as a whole."""

    client: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class Drop:
    """Close the pipe to this client, after what was written."""

    client: int


Action = Write | Drop


@dataclass(slots=True)
class _Client:
    session: Session
    buffer: FrameBuffer = field(default_factory=FrameBuffer)
    waiting: deque[bytes] = field(default_factory=deque[bytes])
    held: Send | None = None
    is_silent: bool = False
    cut_off_at: float | None = None


class Exchange:
    """Times are seconds since 1970, and of the terminal's own clock where none is given."""

    def __init__(self, terminal: PipeTerminal) -> None:
        self._terminal = terminal
        self._clients: dict[int, _Client] = {}
        self._numbers = itertools.count(1)

    def __repr__(self) -> str:
        return f"<Exchange of {self._terminal!r}, {len(self._clients)} clients>"

    @property
    def is_listening(self) -> bool:
        """Whether the pipe is to be there: it is not where no terminal is installed."""
        return self._terminal.is_installed

    def connect(self) -> int:
        """A client has opened the pipe; its number."""
        number = next(self._numbers)
        self._clients[number] = _Client(Session(self._terminal))
        return number

    def receive(self, number: int, data: bytes, now: float) -> list[Action]:
        """Bytes have come from a client."""
        client = self._clients.get(number)
        if client is None:
            return []
        try:
            client.waiting.extend(client.buffer.feed(data))
        except CodecError:
            return self._drop(number)
        if len(client.waiting) > MAX_WAITING:
            return self._drop(number)
        return list(self._proceed(number, client, now))

    def disconnect(self, number: int) -> None:
        """A client has closed the pipe. With the last one the terminal is let go of."""
        client = self._clients.pop(number, None)
        if client is None or not client.session.has_attached:
            return
        if not any(other.session.has_attached for other in self._clients.values()):
            self._quietly(self._terminal.let_go)

    def poll(self, now: float) -> list[Action]:
        """What has become due. To be asked often: the journal and the faults go by it too."""
        self._quietly(self._terminal.keep_up)
        actions: list[Action] = []
        for number, client in list(self._clients.items()):
            if self._is_lost(client, now):
                actions += self._drop(number)
            else:
                actions += self._proceed(number, client, now)
        return actions

    def next_due(self) -> float | None:
        """When an answer that is held back may go out; None where none is."""
        return min((c.held.due for c in self._clients.values() if c.held), default=None)

    def _is_lost(self, client: _Client, now: float) -> bool:
        if not self.is_listening:
            return True
        if not client.session.is_cut_off:
            client.cut_off_at = None
            return False
        if client.cut_off_at is None:
            client.cut_off_at = max(now, self._terminal.busy_until)
        return now >= client.cut_off_at + LINGER_SECONDS

    def _proceed(self, number: int, client: _Client, now: float) -> Iterator[Action]:
        """Send what is due and take up the next request, one at a time as the package asks."""
        while True:
            if client.held is not None:
                if now < client.held.due:
                    return
                held, client.held = client.held, None
                yield Write(number, held.frame)
            if client.is_silent or not client.waiting:
                return
            match client.session.react(client.waiting.popleft(), now):
                case Send() as send:
                    client.held = send
                case Silence():
                    client.is_silent = True
                case Close():
                    yield from self._drop(number)
                    return

    def _drop(self, number: int) -> list[Action]:
        self.disconnect(number)
        return [Drop(number)]

    def _quietly(self, call: Callable[[], object]) -> None:
        """A function that is told never to return can't hold up the others."""
        with contextlib.suppress(SilenceError):
            call()
