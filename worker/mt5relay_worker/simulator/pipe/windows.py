"""The named pipe itself: one thread, overlapped, for up to 30 clients. Windows alone has them."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from mt5relay_worker.simulator.pipe.exchange import Action, Drop, Write

assert sys.platform == "win32"  # noqa: S101 - type checkers read it; nobody imports this elsewhere

import _winapi  # noqa: E402

MAX_CLIENTS = 30  # each has up to two handles, of 64 that can be waited for at once
BUFFER_BYTES = 64 * 1024
IDLE_SECONDS = 0.05

_FIRST_INSTANCE = 0x0008_0000
_TYPE_MESSAGE = 0x4
_REJECT_REMOTE = 0x8
_NO_DATA, _PIPE_BUSY, _ACCESS_DENIED = 232, 231, 5
_WAIT_TIMEOUT = 258
_TAKEN = "the pipe of this path is served already; name another path"


class PipeTakenError(OSError):
    """Somebody serves this pipe already: a terminal, or another simulator."""


class Clients(Protocol):
    """What is behind the pipe: an `Exchange`, or a `Relay`. Times are seconds since 1970."""

    @property
    def is_listening(self) -> bool: ...
    def connect(self) -> int: ...
    def receive(self, number: int, data: bytes, now: float) -> list[Action]: ...
    def disconnect(self, number: int) -> None: ...
    def poll(self, now: float) -> list[Action]: ...
    def next_due(self) -> float | None: ...


@dataclass(slots=True)
class _Connection:
    """A client's end: what is being read and what is being written."""

    handle: int
    number: int
    reading: Any = None
    writing: Any = None
    outbox: deque[bytes] = field(default_factory=deque[bytes])
    is_closing: bool = False


class PipeServer:
    """Serves an exchange under a name.

    Raises:
        PipeTakenError: somebody else serves it.
    """

    def __init__(self, name: str, exchange: Clients) -> None:
        self._name = name
        self._exchange = exchange
        self._connections: dict[int, _Connection] = {}
        self._listening: tuple[int, Any] | None = None
        if _is_served(name):  # Wine 8 lets a second server in where Windows does not
            raise PipeTakenError(_TAKEN)
        self._listen()

    def __repr__(self) -> str:
        return f"<PipeServer {self._name}, {len(self._connections)} clients>"

    def serve(self) -> None:
        """Serve until an exception, as Ctrl-C makes one."""
        try:
            while True:
                self._step()
        finally:
            self._stop_listening()
            for connection in list(self._connections.values()):
                self._close(connection)

    def _step(self) -> None:
        events: dict[int, Callable[[], None]] = {}
        if self._listening is not None:
            events[self._listening[1].event] = self._accept
        for connection in list(self._connections.values()):
            if connection.reading is not None:
                events[connection.reading.event] = partial(self._has_read, connection)
            if connection.writing is not None:
                events[connection.writing.event] = partial(self._has_written, connection)
        self._wait(events)
        self._act(self._exchange.poll(time.time()))
        if self._exchange.is_listening:
            self._listen()
        else:
            self._stop_listening()

    def _wait(self, events: dict[int, Callable[[], None]]) -> None:
        due = self._exchange.next_due()
        seconds = IDLE_SECONDS if due is None else min(IDLE_SECONDS, max(0.0, due - time.time()))
        if not events:
            time.sleep(seconds)
            return
        handles = list(events)[:64]
        found = _winapi.WaitForMultipleObjects(handles, False, round(seconds * 1000))
        if found != _WAIT_TIMEOUT:
            events[handles[found]]()

    # -- who comes ----------------------------------------------------------------------------

    def _listen(self) -> None:
        """Keep one free instance, or the package waits for one without limit."""
        if self._listening is not None or len(self._connections) >= MAX_CLIENTS:
            return
        is_first = not self._connections
        try:
            handle = _winapi.CreateNamedPipe(
                self._name,
                _winapi.PIPE_ACCESS_DUPLEX
                | _winapi.FILE_FLAG_OVERLAPPED
                | (_FIRST_INSTANCE if is_first else 0),
                _TYPE_MESSAGE | _winapi.PIPE_WAIT | _REJECT_REMOTE,
                _winapi.PIPE_UNLIMITED_INSTANCES,
                BUFFER_BYTES,
                BUFFER_BYTES,
                _winapi.NMPWAIT_WAIT_FOREVER,
                _winapi.NULL,
            )
        except OSError as error:
            if error.winerror in (_ACCESS_DENIED, _PIPE_BUSY):
                raise PipeTakenError(_TAKEN) from error
            raise
        try:
            overlapped = _winapi.ConnectNamedPipe(handle, overlapped=True)
        except OSError as error:
            _winapi.CloseHandle(handle)
            if error.winerror != _NO_DATA:  # a client that came and went
                raise
            return
        self._listening = (handle, overlapped)

    def _accept(self) -> None:
        assert self._listening is not None  # noqa: S101 - its event was waited for
        handle, overlapped = self._listening
        self._listening = None
        try:
            overlapped.GetOverlappedResult(True)
        except OSError:
            _winapi.CloseHandle(handle)
            return
        connection = _Connection(handle, self._exchange.connect())
        self._connections[connection.number] = connection
        self._read(connection)

    def _stop_listening(self) -> None:
        if self._listening is None:
            return
        handle, overlapped = self._listening
        self._listening = None
        _cancel(overlapped)
        _winapi.CloseHandle(handle)

    # -- what they send -----------------------------------------------------------------------

    def _read(self, connection: _Connection) -> None:
        try:
            connection.reading, _ = _winapi.ReadFile(
                connection.handle, BUFFER_BYTES, overlapped=True
            )
        except OSError:
            self._close(connection)

    def _has_read(self, connection: _Connection) -> None:
        reading, connection.reading = connection.reading, None
        try:
            reading.GetOverlappedResult(True)
            data = bytes(reading.getbuffer() or b"")
        except OSError:
            self._close(connection)
            return
        self._act(self._exchange.receive(connection.number, data, time.time()))
        if connection.number in self._connections and not connection.is_closing:
            self._read(connection)

    # -- what they are sent -------------------------------------------------------------------

    def _act(self, actions: list[Action]) -> None:
        for action in actions:
            connection = self._connections.get(action.client)
            if connection is None:
                continue
            match action:
                case Write(frame=frame):
                    connection.outbox.append(frame)
                    self._write(connection)
                case Drop():
                    connection.is_closing = True
                    self._close_when_written(connection)

    def _write(self, connection: _Connection) -> None:
        if connection.writing is not None or not connection.outbox:
            return
        try:
            connection.writing, _ = _winapi.WriteFile(
                connection.handle, connection.outbox.popleft(), overlapped=True
            )
        except OSError:
            self._close(connection)

    def _has_written(self, connection: _Connection) -> None:
        writing, connection.writing = connection.writing, None
        try:
            writing.GetOverlappedResult(True)
        except OSError:
            self._close(connection)
            return
        self._write(connection)
        self._close_when_written(connection)

    def _close_when_written(self, connection: _Connection) -> None:
        if connection.is_closing and connection.writing is None:
            self._close(connection)

    def _close(self, connection: _Connection) -> None:
        """Closing keeps what was written for the client to read; disconnecting would not."""
        if self._connections.pop(connection.number, None) is None:
            return
        for overlapped in (connection.reading, connection.writing):
            _cancel(overlapped)
        _winapi.CloseHandle(connection.handle)
        self._exchange.disconnect(connection.number)


def _is_served(name: str) -> bool:
    try:
        _winapi.WaitNamedPipe(name, 1)
    except FileNotFoundError:
        return False
    except OSError:  # it is there, and busy
        return True
    return True


def _cancel(overlapped: Any) -> None:  # noqa: ANN401 - its type has no public name
    if overlapped is None:
        return
    overlapped.cancel()
    try:
        overlapped.GetOverlappedResult(True)
    except OSError:
        return
