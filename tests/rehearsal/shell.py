"""A shell that carries out blocks one after the other, as a person at a prompt would."""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from tests.rehearsal.guide import Block

PREPARATION = """set -Eeuo pipefail
trap 'printf "line %s: %s\\n" "$LINENO" "$BASH_COMMAND"' ERR
"""


class BlockFailedError(Exception):
    """A block failed or took too long; the message is what it said."""


class Shell:
    """One bash for all blocks: directory, variables and PATH are kept from one to the next.

    The first command that fails ends it. Lines are counted as on the page.
    """

    def __init__(self, directory: Path, scratch: Path, environment: Mapping[str, str]) -> None:
        self._scratch = scratch
        self._process = subprocess.Popen(
            ["bash"],  # noqa: S607 - the one on PATH, as a person's
            cwd=directory,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        self._write(PREPARATION)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _write(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text)
        self._process.stdin.flush()

    def run(self, block: Block, limit: float) -> str:
        """Carry out a block; returns what it said.

        Raises:
            BlockFailedError: a command failed, or `limit` seconds were over.
        """
        file, end = self._scratch / "block.sh", f"end-{secrets.token_hex(8)}"
        file.write_text("\n" * (block.line - 1) + block.text, "utf-8")
        said: list[str] = []
        try:
            self._write(f". {file} </dev/null\nprintf '\\n%s\\n' {end}\n")
        except BrokenPipeError:
            raise BlockFailedError("the shell has ended before") from None
        give_up = time.monotonic() + limit
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, give_up - time.monotonic()))
            except queue.Empty:
                self.close()
                raise BlockFailedError(f"{''.join(said)}took longer than {limit:.0f} s") from None
            if line is None:
                status = self._process.wait()
                raise BlockFailedError(f"{''.join(said)}status {status}")
            if line.strip() == end:
                return "".join(said)
            said.append(line)

    def close(self) -> None:
        """End it and what it began, which may hold its pipe, whatever they do."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reading.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
