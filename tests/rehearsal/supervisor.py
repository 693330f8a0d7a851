"""Stands in for systemd: runs the services of units, starts them again, and stops them as they say.

One user, no sandbox; all else that the units of `deploy/systemd` ask for is done.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.limits import HANG_LIMIT
from tests.rehearsal.processes import send, session_of
from tests.rehearsal.units import Unit, UnitError, parse_environment_file, read_unit

START_LIMIT = HANG_LIMIT  # until a service that tells must have told that it is ready
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # systemd's own


class ServiceError(Exception):
    """A service did not start."""


@dataclass(frozen=True)
class Stopped:
    """How a service was stopped: `by_itself`, or killed after its time was over."""

    status: int
    by_itself: bool
    seconds: float


class Service:
    """One unit at work. `status` is the exit status of its last main process; negative: signal."""

    def __init__(self, unit: Unit, root: Path) -> None:
        self.unit = unit
        self.restarts = 0
        self.status: int | None = None
        self.log = root / "var/log" / f"{unit.name}.log"
        self._root = root
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._told: socket.socket | None = None

    @property
    def is_active(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the main process.

        Raises:
            ServiceError: it never started.
        """
        if self._process is None:
            raise ServiceError(f"{self.unit.name} is not started")
        return self._process.pid

    def start(self) -> None:
        """Start, and wait until it is up.

        Raises:
            ServiceError: it did not come up; the message holds the end of its log.
        """
        if self.is_active:
            return
        self._stopping.clear()
        self._ended.clear()
        self._start_process()
        self._thread = threading.Thread(target=self._supervise, name=self.unit.name, daemon=True)
        self._thread.start()

    def _start_process(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            environment = self.environment()
            if self.unit.kind == "notify":
                environment["NOTIFY_SOCKET"] = self._notify_socket()
            try:
                self._process = subprocess.Popen(
                    self.unit.command,
                    cwd=self.unit.working_directory or "/",
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            except OSError as error:
                raise ServiceError(f"{self.unit.name}: {error}") from None
            if self.unit.kind == "notify":
                self._wait_until_it_tells()

    def environment(self) -> dict[str, str]:
        found = {"PATH": PATH, "LANG": "C.UTF-8", **self.unit.environment}
        for name in self.unit.environment_files:
            file = Path(name.removeprefix("-"))
            if file.exists():
                found |= parse_environment_file(file.read_text("utf-8"))
            elif not name.startswith("-"):
                raise ServiceError(f"{self.unit.name}: EnvironmentFile {file} does not exist")
        for place, folder in (
            ("run", self.unit.runtime_directory),
            ("var/lib", self.unit.state_directory),
        ):
            if folder is not None:
                (self._root / place / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        return found

    def _notify_socket(self) -> str:
        """A fresh one, which stays open: it is told of the end, too."""
        path = self._root / "run" / f"{self.unit.name}.notify"
        path.unlink(missing_ok=True)
        if self._told is not None:
            self._told.close()
        self._told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._told.bind(str(path))
        self._told.settimeout(0.1)
        return str(path)

    def _wait_until_it_tells(self) -> None:
        give_up = time.monotonic() + START_LIMIT
        while self._told is not None and time.monotonic() < give_up and self.is_active:
            with contextlib.suppress(TimeoutError):
                if b"READY=1" in self._told.recv(4096):
                    return
        self._kill_all()
        raise ServiceError(f"{self.unit.name} never told that it is ready:\n{self.tail()}")

    def _supervise(self) -> None:
        try:
            while self._process is not None:
                self.status = self._process.wait()
                self._kill_all()  # what the main process left, as systemd does
                if self._stopping.is_set() or not self.unit.is_restarted_after(self.status):
                    return
                if self._stopping.wait(self.unit.restart_seconds):
                    return
                self.restarts += 1
                self._start_process()
        except ServiceError as error:
            with self.log.open("a", encoding="utf-8") as log:
                log.write(f"{error}\n")
        finally:
            self._ended.set()

    def stop(self) -> Stopped:
        """Ask it to end as its unit says, and kill it when its time is over."""
        began = time.monotonic()
        self._stopping.set()
        if self._process is not None and self._process.poll() is None:
            mixed = self.unit.kill_mode == "mixed"
            send(self.unit.kill_signal, [self._process.pid] if mixed else self._session())
        by_itself = self._thread is None or self._ended.wait(self.unit.stop_seconds)
        if not by_itself:
            self._kill_all()
            self._ended.wait(START_LIMIT)
        if self._told is not None:
            self._told.close()
            self._told = None
        return Stopped(self.status or 0, by_itself, time.monotonic() - began)

    def _session(self) -> list[int]:
        return [] if self._process is None else session_of(self._process.pid)

    def _kill_all(self) -> None:
        send(signal.SIGKILL, self._session())

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-lines:])


class Supervisor:
    """Answers `systemctl` for the units below `root`, over a socket: a list of words in JSON."""

    def __init__(self, root: Path) -> None:
        self.services: dict[str, Service] = {}
        self._root = root
        self._units = root / "etc/systemd/system"
        self._lock = threading.Lock()

    @property
    def address(self) -> Path:
        return self._root / "systemctl.sock"

    @contextlib.contextmanager
    def listening(self) -> Generator[None]:
        """Answer until the end of the context, then stop what still runs."""
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.address))
            listener.listen()
            threading.Thread(target=self._listen, args=(listener,), daemon=True).start()
            try:
                yield
            finally:
                self.stop_all()

    def _listen(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                link, _ = listener.accept()
                with link, link.makefile("rw", encoding="utf-8") as lines:
                    status, said = self.systemctl(json.loads(lines.readline()))
                    lines.write(json.dumps([status, said]) + "\n")

    def systemctl(self, words: Sequence[str]) -> tuple[int, str]:
        """Carry out one command; returns exit status and what to say."""
        verb, *rest = words
        names = [word.removesuffix(".service") for word in rest if not word.startswith("-")]
        with self._lock:
            try:
                match verb:
                    case "daemon-reload":
                        return 0, ""
                    case "enable" | "start":
                        for name in names if verb == "start" or "--now" in rest else []:
                            self._service(name).start()
                    case "disable" | "stop":
                        for name in names if verb == "stop" or "--now" in rest else []:
                            if name in self.services:
                                self.services[name].stop()
                    case "restart":
                        for name in names:
                            if name in self.services:
                                self.services[name].stop()
                            self.services[name] = self._read(name)
                            self.services[name].start()
                    case _:
                        return 1, f"systemctl {verb} can't be rehearsed"
            except (ServiceError, UnitError) as error:
                return 1, str(error)
        return 0, ""

    def _service(self, name: str) -> Service:
        if name not in self.services:
            self.services[name] = self._read(name)
        return self.services[name]

    def _read(self, name: str) -> Service:
        return Service(read_unit(self._units, name), self._root)

    def stop_all(self) -> dict[str, Stopped]:
        """Stop every service, the last one first."""
        with self._lock:
            return {name: self.services[name].stop() for name in reversed(self.services)}
