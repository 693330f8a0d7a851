"""The package's side of the pipe, in virtual time and without a pipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import pytest

from mt5relay_worker.simulator import Book, Faults
from mt5relay_worker.simulator.pipe.codec import (
    HELLO_FROM_PACKAGE,
    FrameBuffer,
    Parameter,
    Reply,
    Request,
    decode_data,
    decode_reply,
    encode_request,
)
from mt5relay_worker.simulator.pipe.commands import COMMANDS, Code
from mt5relay_worker.simulator.pipe.exchange import Action, Drop, Exchange, Write
from mt5relay_worker.simulator.pipe.relay import Relay
from mt5relay_worker.simulator.pipe.terminal import PipeTerminal

PROGRAM = "C:\\Simulated\\terminal64.exe"
POLL_SECONDS = 0.1  # how often the package asks for an authorization
PATIENCE_SECONDS = 600.0
TIMED_OUT, AUTH_FAILED, NO_CONNECTION = -10005, -6, -10004


class Clock(Protocol):
    now: float

    def time(self) -> float: ...


class NeverAnsweredError(Exception):
    """The real package would wait without end."""


class DroppedError(Exception):
    """The terminal has closed the pipe."""


@dataclass(slots=True)
class Answered:
    """What the package makes of a reply: the data, and the code for `last_error()`."""

    data: Any
    code: int


class PackageClient:
    """Sends what package 5.0.6231 sends, one request at a time, and reads replies as it does."""

    def __init__(self, exchange: Exchange | Relay, clock: Clock) -> None:
        self._exchange = exchange
        self._clock = clock
        self._number = exchange.connect()
        self._is_open = True

    def initialize(
        self, login: int = 0, password: str = "", server: str = "", timeout: float = 60.0
    ) -> int:
        """1, or the code of `last_error()`; a failure closes the pipe."""
        self.exchange(HELLO_FROM_PACKAGE)
        code = self.login(login, password, server, timeout) if login else self._authorize(timeout)
        if code < 0:
            self.close()
        return code

    def login(self, login: int, password: str, server: str, timeout: float = 60.0) -> int:
        reply = self.exchange(Request(Code.LOGIN, (0, login, password, server)))
        return reply.status if reply.status < 0 else self._authorize(timeout)

    def _authorize(self, timeout: float) -> int:
        ends = self._clock.now + timeout
        while self._clock.now < ends:
            told = self.call(Code.AUTHORIZATION)
            if told.code < 0 or told.data in (2, 3):
                return {2: 1, 3: AUTH_FAILED}.get(told.data, told.code)
            self._clock.now += POLL_SECONDS
        return TIMED_OUT

    def call(self, code: int, *parameters: Parameter) -> Answered:
        reply = self.exchange(Request(code, parameters))
        if reply.status < 0:
            return Answered(None, reply.status)
        return Answered(decode_data(COMMANDS[code].answer, reply.data), 1)

    def exchange(self, request: Request) -> Reply:
        """Send and wait.

        Raises:
            NeverAnsweredError: nothing comes.
            DroppedError: the pipe is closed.
        """
        if not self._is_open:
            raise DroppedError
        began = self._clock.now
        found = self._exchange.receive(self._number, encode_request(request), began)
        while (reply := self._taken(found)) is None:
            if self._clock.now - began > PATIENCE_SECONDS:
                raise NeverAnsweredError(request)
            self._clock.now = max(self._clock.now + 0.05, self._exchange.next_due() or 0.0)
            found = self._exchange.poll(self._clock.now)
        assert reply.command == request.command
        return reply

    def _taken(self, actions: list[Action]) -> Reply | None:
        mine = [action for action in actions if action.client == self._number]
        replies = [action for action in mine if isinstance(action, Write)]
        self._is_open = self._is_open and not any(isinstance(action, Drop) for action in mine)
        if replies:
            (whole,) = FrameBuffer(1 << 30).feed(replies[0].frame)
            return decode_reply(whole)
        if not self._is_open:
            raise DroppedError
        return None

    @property
    def is_open(self) -> bool:
        return self._is_open

    def pass_time(self, seconds: float) -> None:
        """Let the terminal live on while nobody asks."""
        self._clock.now += seconds
        for action in self._exchange.poll(self._clock.now):
            if isinstance(action, Drop) and action.client == self._number:
                self._is_open = False

    def close(self) -> None:
        self._is_open = False
        self._exchange.disconnect(self._number)


@dataclass(slots=True)
class Served:
    """A terminal behind its exchange."""

    terminal: PipeTerminal
    exchange: Exchange
    clock: Clock

    def client(self) -> PackageClient:
        return PackageClient(self.exchange, self.clock)


@pytest.fixture
def serve(book: Book, virtual_time: Clock) -> Callable[..., Served]:
    """A served terminal in virtual time; without latencies but those of the faults given."""

    def make(faults: Faults | None = None, **options: Any) -> Served:
        terminal = PipeTerminal(
            book,
            PROGRAM,
            faults=faults or Faults(scale=0),
            clock=virtual_time.time,
            **options,
        )
        return Served(terminal, Exchange(terminal), virtual_time)

    return make
