"""A password is in the terminal process's memory for as long as its session lasts, and no longer.

Looked for in every writable page of a real process. Freed memory counts: Python overwrites a freed
text only when it puts another there, which the next login does.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.system.conftest import until

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.sealing import seal
from mt5relay_shared.secret import Secret
from mt5relay_worker.connection_manager import (
    ConnectionLimits,
    MT5ConnectionManager,
)
from mt5relay_worker.credential_turns import Credential
from mt5relay_worker.key_file import write_private_key
from mt5relay_worker.retry import RetryPolicy
from mt5relay_worker.sessions import SessionPool
from mt5relay_worker.settings import WorkerSettings
from mt5relay_worker.state import ConnectionStatus
from mt5relay_worker.terminal.process import TerminalProcess
from mt5relay_worker.terminal.protocol import Read

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        not sys.platform.startswith("linux"),
        reason="no other system shows a process's memory in files",
    ),
]

ALICE, BOB, CAROL, DAVE = (AccountId(101 + index, "Broker-Demo") for index in range(4))
POOL_SIZE, IDLE_TIMEOUT = 2, 2.0  # seconds


def password_of(account: AccountId, shape: str) -> str:
    return f"PlantedSecret-of-{account.login}-{shape}"


class Terminal:
    """A terminal process, its manager, and sealed credentials."""

    def __init__(self, directory: Path, shape: str) -> None:
        accounts = (ALICE, BOB, CAROL, DAVE)
        self.passwords = {one: password_of(one, shape) for one in accounts}
        key = write_private_key(directory / "worker.key")
        self.credentials = {
            one: Credential(one, seal(Secret(text), one, key, 0))
            for one, text in self.passwords.items()
        }
        digests = {
            one.login: hashlib.sha256(text.encode()).hexdigest()
            for one, text in self.passwords.items()
        }
        (directory / "digests.json").write_text(json.dumps(digests))
        book = {
            "servers": [{"name": ALICE.server}],
            "accounts": [
                {"login": one.login, "server": one.server, "password": "of the book"}
                for one in accounts
            ],
        }
        (directory / "book.json").write_text(json.dumps(book))
        (directory / "faults.json").write_text('{"scale": 0}')
        settings = WorkerSettings.model_validate(
            {
                "terminal": "simulated",
                "private_key_file": directory / "worker.key",
                "simulator_book": directory / "book.json",
                "simulator_faults": directory / "faults.json",
            }
        )
        self.process = TerminalProcess(
            settings.terminal_options,
            start_limit=60,
            command=[
                *(sys.executable, "-m", "tests.system.digest_terminal"),
                str(directory / "digests.json"),
            ],
        )
        self.pool = SessionPool(POOL_SIZE, IDLE_TIMEOUT)
        self.manager = MT5ConnectionManager(
            self.process,
            status=ConnectionStatus(0.0, lambda _: None),
            pool=self.pool,
            retry=RetryPolicy(1, 0.1),
            limits=ConnectionLimits(),
        )

    async def visit(self, account: AccountId) -> None:
        await self.manager.login(self.credentials[account], [Read("positions")])

    def is_in_memory(self, account: AccountId) -> bool:
        assert self.process.pid is not None
        text = self.passwords[account]
        forms = [text.encode(), text.encode("utf-16-le"), text.encode("utf-32-le")]
        return any(form in page for page in memory_of(self.process.pid) for form in forms)


def memory_of(pid: int) -> list[bytes]:
    """What stands in the writable mappings of a process."""
    found: list[bytes] = []
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            addresses, rights, *_ = line.split()
            if "rw" in rights:
                start, end = (int(address, 16) for address in addresses.split("-"))
                memory.seek(start)
                found.append(memory.read(end - start))
    return found


@pytest.fixture(params=["short", "x" * 90, "ü" * 40], ids=["short", "long", "not ASCII"])
async def terminal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Terminal]:
    terminal = Terminal(tmp_path, request.param)
    await terminal.manager.initialize()
    yield terminal
    await terminal.manager.shutdown()


async def test_a_password_is_gone_once_its_session_is_evicted(terminal: Terminal) -> None:
    await terminal.visit(ALICE)
    await terminal.visit(BOB)
    assert terminal.is_in_memory(ALICE), "else it is looked for in the wrong place"
    await terminal.visit(CAROL)  # the pool has room for two
    assert not terminal.is_in_memory(ALICE)
    assert terminal.is_in_memory(BOB)

    async def all_idle_sessions_are_evicted() -> bool:
        return len(terminal.pool) == 0

    await until(all_idle_sessions_are_evicted, lambda: repr(terminal.pool))
    await terminal.visit(DAVE)
    assert [one for one in (ALICE, BOB, CAROL) if terminal.is_in_memory(one)] == []
