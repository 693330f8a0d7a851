"""Run the worker, unmodified, on a Windows Python that has the real package but no terminal.

    bash deploy/wine/setup.sh DIR
    python3 -m pip wheel --no-deps -w DIR/whl . && DIR/winpip DIR/whl/mt5relay-*.whl
    python deploy/wine/worker_without_terminal.py DIR

Needs this project's test environment and a Redis or Valkey server program; starts its own server on
loopback. Two workers are watched one after the other: one whose MT5_TERMINAL_PATH does not exist,
and one for a program that never opens the terminal's pipe, on which `initialize` blocks for 100 s.
Takes three minutes, and leaves programs that end by themselves two minutes later. Prints one line
for each thing seen, and exits 1 if one was not as it must be.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mt5relay_gateway import AccountClient
from mt5relay_gateway.cli.store import StoreServer, running_server
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.envelopes import decode_sealing_key
from mt5relay_shared.errors import MT5Error
from mt5relay_shared.keys import Keys
from mt5relay_shared.redis_client import connect
from mt5relay_shared.sealing import seal
from mt5relay_shared.secret import Secret

ACCOUNT = AccountId(10_000_001, "MetaQuotes-Demo")
HERE = Path(__file__).resolve().parent
MISSING = r"C:\nowhere\terminal64.exe"
SILENT = r"C:\silent\terminal64.exe"
HEARTBEAT_SECONDS = 2.0
BLOCKED_SECONDS = 100.0  # as measured on package 5.0.6231
STOP_SECONDS = 25.0
# One attempt, then the breaker; its first probe, which blocks again, soon after; a short grace.
IMPATIENT = {
    "MT5_CONNECTION_RETRY_LIMIT": "0",
    "MT5_BREAKER_PAUSE": "2",
    "MT5_HEALTH_CHECK_INTERVAL": "2",
    "MT5_SHUTDOWN_GRACE": "5",
}


@dataclass
class Findings:
    """What was seen, and whether it was as it must be."""

    wrong: list[str] = field(default_factory=list[str])

    def note(self, what: str, seen: object, *, is_right: bool) -> None:
        say(f"{'ok   ' if is_right else 'WRONG'}  {what}: {seen}")
        if not is_right:
            self.wrong.append(what)


@dataclass
class Rig:
    """A server, a key file, and the directory that setup.sh made."""

    directory: Path
    scratch: Path
    server: StoreServer
    redis: Any  # redis-py types its answers for every protocol at once

    def start_worker(self, keys: Keys, terminal_path: str, **settings: str) -> WindowsWorker:
        environment = {
            # Wine 8 lacks the keep-alive options that redis-py sets.
            "REDIS_URL": f"{self.server.url}?socket_keepalive=False",
            "MT5_TERMINAL": "metatrader5",
            "MT5_TERMINAL_PATH": terminal_path,
            "MT5_TERMINAL_ID": keys.terminal,
            "MT5_PRIVATE_KEY_FILE": windows_path(self.scratch / "worker.key"),
            "MT5_LOG_FORMAT": "json",
            "MT5_LOG_LEVEL": "debug",
            **settings,
        }
        log = self.scratch / f"{keys.terminal}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(  # noqa: S603
                [self.directory / "winpy", "-m", "mt5relay_worker", "run", "--stop-on-eof"],
                env={**clean_environment(), **environment},
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=stream,
            )
        return WindowsWorker(process, log)


@dataclass
class WindowsWorker:
    process: subprocess.Popen[bytes]
    log: Path

    def stop(self) -> tuple[int | None, float]:
        """Close its input as a service manager would; exit status and seconds it took."""
        began = time.monotonic()
        assert self.process.stdin is not None  # noqa: S101 - it was started with a pipe
        self.process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(STOP_SECONDS), time.monotonic() - began
        return None, time.monotonic() - began

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def events(self) -> list[str]:
        lines = self.log.read_text("utf-8", "replace").splitlines()
        return [json.loads(line).get("event", "") for line in lines if line[:1] == "{"]


def clean_environment() -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("MT5_", "REDIS_"))
    }


def windows_path(path: Path) -> str:
    return "Z:" + str(path).replace("/", "\\")


async def until(
    look: Callable[[], Awaitable[Any]], is_so: Callable[[Any], bool], limit: float
) -> tuple[Any, float]:
    """Look every 50 ms until it is so; what was seen last, and after how many seconds."""
    began = time.monotonic()
    while True:
        seen = await look()
        waited = time.monotonic() - began
        if is_so(seen) or waited > limit:
            return seen, waited
        await asyncio.sleep(0.05)


async def ask(rig: Rig, keys: Keys, timeout: float) -> tuple[str, float]:
    """The code that a request is answered with, and after how many seconds."""
    began = time.monotonic()
    async with AccountClient(rig.server.url, terminal=keys.terminal, timeout=timeout) as client:
        try:
            await client.account_info(ACCOUNT)
            code = "ok"
        except MT5Error as error:
            code = f"{error.code} {error.mt5_error or ''}".strip()
    return code, time.monotonic() - began


async def enrol(rig: Rig, keys: Keys) -> bool:
    found, _ = await until(lambda: rig.redis.get(keys.sealing_key), bool, 60)
    if not found:
        return False
    sealed = seal(Secret("Planted-Secret"), ACCOUNT, decode_sealing_key(found), 0)
    await rig.redis.hset(keys.accounts, str(ACCOUNT), sealed)
    return True


async def health(rig: Rig, keys: Keys) -> dict[str, str]:
    found: dict[bytes, bytes] = await rig.redis.hgetall(keys.health)
    return {name.decode(): value.decode() for name, value in found.items()}


async def without_program(rig: Rig, findings: Findings) -> None:
    """No executable at MT5_TERMINAL_PATH: -10003 at once, again and again."""
    keys = Keys("missing")
    worker = rig.start_worker(keys, MISSING)
    try:
        is_enrolled = await enrol(rig, keys)
        findings.note("it publishes its sealing key", is_enrolled, is_right=is_enrolled)
        first = await ask(rig, keys, 60)
        findings.note("a request sent meanwhile", first, is_right="MT5_INIT_FAILED" in first[0])
        found, after = await until(
            lambda: health(rig, keys), lambda seen: seen.get("state") == "ERROR", 60
        )
        names = ("status", "state", "breaker", "last_error_code", "last_error_text")
        shown = {name: found.get(name) for name in names}
        findings.note(
            f"its health key after {after:.1f} s more",
            shown,
            is_right=shown["state"] == "ERROR" and "-10003" in str(shown["last_error_text"]),
        )
        second = await ask(rig, keys, 10)
        findings.note("a request after that", second, is_right="CIRCUIT_OPEN" in second[0])
        await stop(worker, findings)
    finally:
        worker.end()
        look_at_log(worker, findings)


async def with_silent_program(rig: Rig, findings: Findings) -> None:
    """A program that never opens the pipe: one blocked call, and a heart that goes on beating."""
    keys = Keys("silent")
    worker = rig.start_worker(keys, SILENT, **IMPATIENT)
    try:
        found, _ = await until(
            lambda: health(rig, keys), lambda seen: seen.get("detail") == "starting", 60
        )
        findings.note(
            "it attaches", found.get("detail"), is_right=found.get("detail") == "starting"
        )
        gaps, blocked, found = await watch_heartbeat(rig, keys)
        worst = max(gaps, default=0.0)
        findings.note(
            f"{len(gaps)} heartbeats in the {blocked:.1f} s that initialize blocked; worst gap",
            f"{worst:.2f} s",
            is_right=worst < 2 * HEARTBEAT_SECONDS and blocked > BLOCKED_SECONDS / 2,
        )
        findings.note(
            "its health key then",
            {name: found.get(name) for name in ("state", "last_error_code", "last_error_text")},
            is_right="-10003" in found.get("last_error_text", ""),
        )
        found, _ = await until(
            lambda: health(rig, keys), lambda seen: seen.get("state") == "RECONNECTING", 60
        )
        is_blocked = found.get("state") == "RECONNECTING"
        findings.note("the breaker's probe blocks again", is_blocked, is_right=is_blocked)
        await stop(worker, findings)
    finally:
        worker.end()
        look_at_log(worker, findings)


async def watch_heartbeat(rig: Rig, keys: Keys) -> tuple[list[float], float, dict[str, str]]:
    """Seconds between heartbeats, in Redis time, until the attempt has failed; and its length."""
    gaps: list[float] = []
    began, last = time.monotonic(), 0
    while True:
        found = await health(rig, keys)
        beat = int(found.get("heartbeat_at_ms", "0"))
        if last and beat > last:
            gaps.append((beat - last) / 1000)
        last = beat or last
        blocked = time.monotonic() - began
        if found.get("state") == "ERROR" or blocked > BLOCKED_SECONDS + 60:
            return gaps, blocked, found
        await asyncio.sleep(0.2)


async def stop(worker: WindowsWorker, findings: Findings) -> None:
    status, took = await asyncio.to_thread(worker.stop)
    findings.note(
        "closing its input ends it with status", f"{status} in {took:.1f} s", is_right=status == 0
    )
    said = "worker.stopped" in worker.events()
    findings.note("it says that it stopped", said, is_right=said)


def look_at_log(worker: WindowsWorker, findings: Findings) -> None:
    text = worker.log.read_text("utf-8", "replace")
    is_silent = "Planted-Secret" not in text
    findings.note("its log holds no password", is_silent, is_right=is_silent)
    has_traceback = "Traceback" in text
    findings.note("its log holds a traceback", has_traceback, is_right=not has_traceback)


def keep_logs(scratch: Path, directory: Path) -> None:
    for log in scratch.glob("*.log"):
        (directory / log.name).write_bytes(log.read_bytes())


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a command prints


def prepare(directory: Path, scratch: Path) -> None:
    folder = directory / "prefix" / "drive_c" / "silent"
    folder.mkdir(exist_ok=True)
    compiler = "x86_64-w64-mingw32-gcc"
    subprocess.run(  # noqa: S603
        [compiler, "-O2", "-mwindows", "-o", folder / "terminal64.exe", HERE / "silent.c"],
        check=True,
    )
    subprocess.run(  # noqa: S603
        [
            *(directory / "winpy", "-m", "mt5relay_worker", "keygen"),
            *("--json", "--out", windows_path(scratch / "worker.key")),
        ],
        check=True,
    )


async def main(directory: Path) -> int:
    findings = Findings()
    with tempfile.TemporaryDirectory(dir=directory) as made, running_server() as server:
        scratch = Path(made)
        prepare(directory, scratch)
        redis = connect(server.url, client_name="rig")
        rig = Rig(directory, scratch, server, redis)
        try:
            for watch in (without_program, with_silent_program):
                say(f"-- {(watch.__doc__ or '').strip()}")
                await watch(rig, findings)
        finally:
            await redis.aclose()
            keep_logs(scratch, directory)
    say(f"{len(findings.wrong)} wrong; the workers' logs are in {directory}")
    return 1 if findings.wrong else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(asyncio.run(main(Path(sys.argv[1]).resolve())))
