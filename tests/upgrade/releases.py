"""Programs of this tree and of the last release, run beside each other as real processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.leaks.witness import WITNESS
from tests.servers import GATEWAY, OPERATOR, as_user
from tests.system.conftest import System, WorkerProcess, password_of

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.envelopes import decode_sealing_key

PROGRAM_LIMIT = 60.0  # seconds
ASKING = Path(__file__).with_name("asking.py")
COMMANDING = ASKING.with_name("commanding.py")
_COVERAGE = ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")  # that is this tree's


@dataclass(frozen=True)
class Said:
    """What a program said before it ended."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class _Worker(WorkerProcess):
    """One that has this environment and nothing more."""

    def start(self) -> WorkerProcess:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mt5relay_worker", "run", "--stop-on-eof"],
                env=self.environment,
                cwd=self.log.parent,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        return self


@dataclass(frozen=True)
class Release:
    """`folder` is where it was installed; None: this tree."""

    name: str
    folder: Path | None = None

    def __str__(self) -> str:
        return self.name

    def environment(self, **settings: str) -> dict[str, str]:
        if self.folder is None:
            return {**os.environ, **settings}
        inherited = {name: text for name, text in os.environ.items() if name not in _COVERAGE}
        return {**inherited, "PYTHONPATH": str(self.folder), **settings}

    def start_worker(self, system: System, **settings: str) -> WorkerProcess:
        log = system.directory / f"worker-{len(system.workers)}.log"
        worker = _Worker(self.environment(**system.settings(**settings)), log)
        system.workers.append(worker)
        return worker.start()

    async def command(self, system: System, *words: str, stdin: str = "") -> Said:
        """Run `mt5relay` as the operator."""
        return await self._run(system, OPERATOR, ["-m", "mt5relay_gateway.cli", *words], stdin)

    async def commands(self, system: System, *commands: str) -> list[Said]:
        """Run several one after the other, in one process; none reads standard input."""
        words = json.dumps([command.split() for command in commands])
        said = await self._run(system, OPERATOR, [str(COMMANDING)], words)
        assert said.status == 0, said.err
        return [Said(**one) for one in said.lines[0]]

    async def enrol(self, system: System, account: AccountId) -> None:
        """With the published key pinned, which this release may or may not insist on."""
        key = decode_sealing_key(await system.redis.get(system.keys.sealing_key))
        words = ("accounts", "add", str(account), "--key-id", key.key_id)
        said = await self.command(system, *words, stdin=password_of(account) + "\n")
        assert said.status == 0, said.err

    async def ask(self, system: System, what: str, *arguments: Any) -> dict[str, Any]:
        """Have a program of this release use the client library; see `asking.py`."""
        question = {
            "url": as_user(system.url, GATEWAY),
            "terminal": system.keys.terminal,
            "what": what,
            "arguments": arguments,
        }
        said = await self._run(system, GATEWAY, [str(ASKING)], json.dumps(question))
        assert said.status == 0, said.err
        (found,) = said.lines
        ours = (ASKING.parents[2] / "gateway") if self.folder is None else self.folder
        assert Path(found["package"]).is_relative_to(ours)
        return dict(found["result"])

    async def _run(self, system: System, user: str, words: Sequence[str], stdin: str) -> Said:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *words,
            env=self._for(system, user),
            cwd=system.directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(PROGRAM_LIMIT):
                out, err = await process.communicate(stdin.encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        WITNESS.hear(f"output of {self.name}", out + err)
        return Said(process.returncode, out.decode(), err.decode())

    def _for(self, system: System, user: str, **settings: str) -> dict[str, str]:
        return self.environment(
            REDIS_URL=as_user(system.url, user),
            MT5_TERMINAL_ID=system.keys.terminal,
            MT5_KEY_PREFIX=system.keys.prefix,
            **settings,
        )

    @contextlib.asynccontextmanager
    async def gateway(self, system: System, **settings: str) -> AsyncGenerator[str]:
        """Run the HTTP gateway; yields its address."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mt5relay_gateway.cli", "gateway", "--port", "0"),
            env=self._for(system, GATEWAY, **settings),
            cwd=system.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        try:
            line = (await asyncio.wait_for(process.stdout.readline(), PROGRAM_LIMIT)).decode()
            match = re.match(r"listening on (\S+),", line)
            assert match is not None, line
            yield match[1]
        finally:
            if process.returncode is None:
                process.terminate()
            out, err = await asyncio.wait_for(process.communicate(), PROGRAM_LIMIT)
            WITNESS.hear(f"output of a gateway of {self.name}", out + err)
