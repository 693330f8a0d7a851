"""The command's end of the pipe to the measuring process, which it kills when a call hangs."""

from __future__ import annotations

import contextlib
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import TracebackType

from mt5relay_worker.probe.messages import (
    Doing,
    Event,
    Finished,
    Plan,
    Ready,
    Refused,
    event_decoder,
    line,
)

START_LIMIT = 60.0  # seconds; the package's import is slow on a cold disk
END_LIMIT = 3.0  # seconds
_HOST = (sys.executable, "-m", "mt5relay_worker.probe.host")


class ProbeRefusedError(Exception):
    """There will be no probe; the message says why."""


class ProbeProcess:
    """A context manager: the process ends with the block, and the terminal's lock with it."""

    def __init__(self, command: tuple[str, ...] = _HOST) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_until_ready(self) -> None:
        """Wait until it holds the terminal.

        Raises:
            ProbeRefusedError: it can't have it, or the binding.
        """
        match self._next(START_LIMIT):
            case Ready():
                return
            case Refused(message=message):
                raise ProbeRefusedError(message)
            case _:
                raise ProbeRefusedError("the measuring process did not start")

    def measure(self, plan: Plan) -> Iterator[Event]:
        """Hand over the plan, and yield what is measured; the last event is a `Finished`."""
        self._send(plan)
        doing = Doing("the start", START_LIMIT)
        while True:
            event = self._next(doing.limit)
            if event is None:
                event = Finished(complete=False, why=self._why_silent(doing))
            yield event
            if isinstance(event, Finished):
                return
            if isinstance(event, Doing):
                doing = event

    def _why_silent(self, doing: Doing) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(END_LIMIT)
            return f"the measuring process ended with status {status} during {doing.what}"
        self._process.kill()
        return f"{doing.what} took longer than {doing.limit:g} s; its process was killed"

    def _next(self, limit: float) -> Event | None:
        """None when the process ends, or says nothing for `limit` seconds."""
        try:
            return self._events.get(timeout=limit)
        except queue.Empty:
            return None

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it was started with a pipe
        with contextlib.suppress(ValueError):  # what it wrote when it was killed
            for text in self._process.stdout:
                self._events.put(event_decoder.decode(text))
        self._events.put(None)

    def _send(self, plan: Plan) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it was started with a pipe
        with contextlib.suppress(OSError):  # that it says nothing any more tells it better
            self._process.stdin.write(line(plan))
            self._process.stdin.flush()

    def __enter__(self) -> ProbeProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it was started with a pipe
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(END_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(END_LIMIT)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __repr__(self) -> str:
        return f"<ProbeProcess pid={self._process.pid}>"
