"""How a process is asked to stop, the same way on Windows and elsewhere.

`add_signal_handler` does not exist on Windows, so handlers are the interpreter's own and only set a
flag on the event loop. Where no signal can be sent (a Windows child of another program), closing
standard input says the same.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGBREAK")


@contextmanager
def stop_on_signals(stop: Callable[[], None]) -> Generator[None]:
    """Call `stop` on the running event loop when the process is asked to end."""
    loop = asyncio.get_running_loop()

    def ask(_signal: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(stop)

    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_on_end_of_input(stop: Callable[[], None]) -> None:
    """Call `stop` on the running event loop when standard input is closed."""
    loop = asyncio.get_running_loop()

    def wait_for_the_end() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        loop.call_soon_threadsafe(stop)

    threading.Thread(target=wait_for_the_end, daemon=True).start()
