"""The arguments of every process that the tests start, and of those which these start (Linux)."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.leaks.witness import WITNESS

PLACE = "arguments of a process"
LOOK_INTERVAL = 0.25  # seconds between two looks at what children have started
_PROC = Path("/proc")
_has_children = threading.Event()


def watch_arguments() -> None:
    """From now on, for as long as this process lives."""
    sys.addaudithook(_hear)
    if _PROC.is_dir():
        threading.Thread(target=_look_again_and_again, name="process-witness", daemon=True).start()


def _hear(event: str, details: tuple[Any, ...]) -> None:
    if event == "subprocess.Popen":
        WITNESS.hear(PLACE, f"{details[0]} {details[1]}")
        _has_children.set()


def _look_again_and_again() -> None:
    while _has_children.wait():
        if not look():
            _has_children.clear()
        threading.Event().wait(LOOK_INTERVAL)


def look() -> bool:
    """Hear what descendants were started with; False when there are none."""
    found = False
    for pid in _descendants(os.getpid()):
        with contextlib.suppress(OSError):
            found = True
            WITNESS.hear(PLACE, (_PROC / str(pid) / "cmdline").read_bytes())
    return found


def _descendants(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for listing in (_PROC / str(pid) / "task").glob("*/children"):
            for child in map(int, listing.read_text().split()):
                yield child
                yield from _descendants(child)
