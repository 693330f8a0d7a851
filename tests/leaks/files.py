"""What a test leaves in its directory: all but what is there to hold secrets."""

from __future__ import annotations

import contextlib
from fnmatch import fnmatch
from pathlib import Path

from tests.leaks.witness import WITNESS

RIGHTFUL_PLACES = {
    "*.key": "a private key's own file, which its owner alone may read",
    "book*.json": "the simulated broker knows its customers' passwords, as a real one does",
    "secrets/*.password": "what passwords.py makes for the operator to hand on",
    "secrets/*.env": "the same, as a process's environment, where REDIS_URL belongs",
    "*.conf": "a server's own settings: a replica and a sentinel log in too",
}
_LARGEST = 64_000_000  # bytes


def is_rightful(path: Path) -> bool:
    return any(
        fnmatch("/".join(path.parts[-2:]) if "/" in pattern else path.name, pattern)
        for pattern in RIGHTFUL_PLACES
    )


def hear_files_in(directory: Path) -> None:
    for path in sorted(directory.rglob("*")):
        with contextlib.suppress(OSError):  # a socket, or gone meanwhile
            if path.is_file() and not is_rightful(path) and path.stat().st_size <= _LARGEST:
                WITNESS.hear(f"file {path.relative_to(directory)}", path.read_bytes())
