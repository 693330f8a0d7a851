"""`mt5relay-worker record`."""

from __future__ import annotations

import sys
from pathlib import Path

from mt5relay_worker.simulator.pipe.command import record as record_until_stopped
from mt5relay_worker.simulator.pipe.folder import FolderError

EXIT_FAILURE = 1


def record(*, serve: Path, terminal: Path, out: Path = Path("mt5relay-recording.jsonl")) -> int:
    """As `cli.RECORD_HELP` says.

    Args:
        serve: a terminal64.exe in a folder of its own, made where it is missing: point your
            code at it.
        terminal: the real terminal64.exe, which is running.
        out: where the recording goes; an existing file is never overwritten.
    """
    try:
        record_until_stopped(serve, terminal, out)
    except (FolderError, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command prints
        return EXIT_FAILURE
    return 0
