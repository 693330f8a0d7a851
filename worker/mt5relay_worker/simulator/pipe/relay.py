"""A pipe between the package and a real terminal, which writes down what passes."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Protocol

from mt5relay_worker.simulator.pipe.codec import FrameBuffer
from mt5relay_worker.simulator.pipe.errors import CodecError
from mt5relay_worker.simulator.pipe.exchange import Action, Drop, Write
from mt5relay_worker.simulator.pipe.recording import Recorder

MAX_REPLY_BYTES = 1 << 30


class Upstream(Protocol):
    """The pipe of the terminal that is recorded: one request, one reply."""

    def ask(self, frame: bytes) -> bytes:
        """Blocks until the whole reply is there. Raises OSError once the pipe is gone."""
        ...

    def close(self) -> None: ...


class PipeUpstream:
    """A terminal's pipe as a file, which is what Windows makes of it.

    Raises:
        OSError: nobody serves it.
    """

    def __init__(self, name: str) -> None:
        self._file = open(name, "r+b", buffering=0)  # noqa: SIM115 - it lives as long as its client

    def ask(self, frame: bytes) -> bytes:
        self._file.write(frame)
        buffer = FrameBuffer(MAX_REPLY_BYTES)
        while True:
            data = self._file.read(1 << 20)
            if not data:
                raise OSError("the terminal has closed its pipe")
            for whole in buffer.feed(data):
                return whole

    def close(self) -> None:
        self._file.close()


class Relay:
    """Takes the place of an `Exchange`: every client gets a pipe of its own to the terminal.

    While the terminal is silent, so is this; both end with the process.
    """

    def __init__(
        self,
        connect: Callable[[], Upstream],
        recorder: Recorder,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._recorder = recorder
        self._clock = clock
        self._upstreams: dict[int, Upstream] = {}
        self._buffers: dict[int, FrameBuffer] = {}
        self._numbers = itertools.count(1)

    def __repr__(self) -> str:
        return f"<Relay, {len(self._buffers)} clients>"

    @property
    def is_listening(self) -> bool:
        return True

    def connect(self) -> int:
        number = next(self._numbers)
        self._buffers[number] = FrameBuffer()
        return number

    def receive(self, number: int, data: bytes, now: float) -> list[Action]:
        """Pass frames on and their replies back."""
        if number not in self._buffers:
            return []
        try:
            return [
                Write(number, self._pass_on(number, frame))
                for frame in self._buffers[number].feed(data)
            ]
        except (CodecError, OSError):
            self.disconnect(number)
            return [Drop(number)]

    def _pass_on(self, number: int, frame: bytes) -> bytes:
        if number not in self._upstreams:
            self._upstreams[number] = self._connect()
        self._recorder.request(number, frame, self._clock())
        reply = self._upstreams[number].ask(frame)
        self._recorder.reply(number, reply, self._clock())
        return reply

    def disconnect(self, number: int) -> None:
        self._buffers.pop(number, None)
        upstream = self._upstreams.pop(number, None)
        if upstream is not None:
            upstream.close()

    def poll(self, now: float) -> list[Action]:
        return []

    def next_due(self) -> float | None:
        return None
