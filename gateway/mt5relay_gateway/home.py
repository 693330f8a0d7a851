"""Where a client was opened: it works on that event loop and in that process alone."""

from __future__ import annotations

import asyncio
import os
import warnings

from mt5relay_shared.errors import MT5StateError


def running_loop() -> asyncio.AbstractEventLoop:
    """Return asyncio's running loop.

    Raises:
        MT5StateError: none runs here, as under trio or in plain threads.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise MT5StateError(
            "no asyncio event loop runs here; use AccountClient in a coroutine of asyncio, or"
            " BlockingAccountClient elsewhere (trio is not supported)"
        ) from None


class Home:
    """The event loop and the process in which a client was opened."""

    def __init__(self) -> None:
        self._loop = running_loop()
        self._pid = os.getpid()

    @property
    def is_this_process(self) -> bool:
        return self._pid == os.getpid()

    def check(self) -> None:
        """Raises:
        MT5StateError: the client is used elsewhere; says where it must be opened.
        """
        if not self.is_this_process:
            raise forked()
        if running_loop() is not self._loop:
            raise MT5StateError(
                "the client was opened on another event loop; open one for each loop, or share a"
                " BlockingAccountClient between threads"
            )


def forked() -> MT5StateError:
    return MT5StateError(
        "the client was opened before this process was forked, and its connections belong to the"
        " parent; open the client in the child, e.g. when a worker of the server has started"
    )


def warn_unclosed(client: object, remedy: str) -> None:
    """Say that a client was left open, as Python says it of files and sockets."""
    warnings.warn(f"unclosed {client!r}; {remedy}", ResourceWarning, source=client, stacklevel=2)
