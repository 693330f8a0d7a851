"""The processes of this Linux, as `/proc` shows them."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path

_PROC = Path("/proc")


def all_pids() -> list[int]:
    """Of every process that is more than a zombie."""
    found: list[int] = []
    for entry in _PROC.iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "stat").read_text().rpartition(")")[2][1] != "Z":
                found.append(int(entry.name))
    return found


def session_of(leader: int) -> list[int]:
    """Those that a session's leader began and that stayed in it."""
    found: list[int] = []
    for pid in all_pids():
        with contextlib.suppress(OSError):
            if os.getsid(pid) == leader:
                found.append(pid)
    return found


def told_of(text: str) -> list[int]:
    """Those whose arguments or environment hold a text, but for this process."""
    wanted, found = text.encode(), list[int]()
    for pid in all_pids():
        with contextlib.suppress(OSError):
            said = (_PROC / str(pid) / "cmdline").read_bytes()
            said += (_PROC / str(pid) / "environ").read_bytes()
            if wanted in said and pid != os.getpid():
                found.append(pid)
    return found


def command_of(pid: int) -> str:
    """Its arguments, or nothing where it has gone."""
    with contextlib.suppress(OSError):
        said = (_PROC / str(pid) / "cmdline").read_bytes()
        return said.replace(b"\0", b" ").decode(errors="replace")
    return ""


def send(number: signal.Signals, pids: Iterable[int]) -> None:
    """Send a signal to each that is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
