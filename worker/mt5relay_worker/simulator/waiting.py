"""How a simulated call waits."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import NoReturn

Sleep = Callable[[float], None]

_HOUR = 3_600.0


def sleep_holding_lock(seconds: float) -> None:
    """Sleep without releasing the interpreter lock: no other thread of the process runs.

    Measured on package 5.0.6231: during an `initialize` of 100 s a thread that ticks every 10 ms
    ticked once. `ctypes.PyDLL` is the one way to call C from Python that keeps the lock.
    """
    milliseconds = round(seconds * 1000)
    if sys.platform == "win32":
        ctypes.PyDLL("kernel32").Sleep(milliseconds)
    else:
        ctypes.PyDLL(None).poll(None, 0, milliseconds)


def hang(sleep: Sleep) -> NoReturn:
    """Never return: only the end of the process ends this."""
    while True:
        sleep(_HOUR)
