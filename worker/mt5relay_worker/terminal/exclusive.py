"""One terminal process per terminal and host, by the operating system's own word.

The lease keeps workers apart that talk to one Redis. This keeps apart whatever else was pointed at
the same terminal: the lock is the kernel's, so it ends with the process that holds it, however that
ends, and a process that is frozen keeps it. Its file lies in the temporary folder, which on Windows
every user has of their own: workers that run as different users there do not see each other's.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path

from mt5relay_worker.terminal.failure import TerminalError


def lock_file_for(terminal_path: Path) -> Path:
    """The file whose lock stands for a terminal; spelled alike for every spelling of its path."""
    spelled = os.path.normcase(os.path.realpath(terminal_path))
    digest = hashlib.sha256(spelled.encode()).hexdigest()[:32]
    return Path(tempfile.gettempdir()) / f"mt5relay-terminal-{digest}.lock"


class TerminalLock:
    """Held from `acquire` until the process ends or `release`."""

    def __init__(self, terminal_path: Path) -> None:
        self._terminal_path = terminal_path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock, or fail at once.

        Raises:
            TerminalError: MT5_INIT_FAILED; another process on this host has it.
        """
        try:
            self._descriptor = os.open(
                lock_file_for(self._terminal_path), os.O_RDWR | os.O_CREAT, 0o600
            )
            _lock(self._descriptor)
        except OSError as error:
            self.release()
            raise TerminalError(
                "MT5_INIT_FAILED",
                f"another process on this host uses the terminal {self._terminal_path}"
                f" ({error.strerror}); one worker per terminal",
            ) from error

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
