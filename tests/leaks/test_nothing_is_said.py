"""All processes of a system at work, with every secret that there is; then they crash.

What they log, store, publish and answer meanwhile is searched when the test ends.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.leaks.http import HearingClient
from tests.leaks.planted import also_secret, planted
from tests.leaks.witness import WITNESS
from tests.limits import HANG_LIMIT
from tests.servers import GATEWAY, MONITOR, OPERATOR, as_user
from tests.system.conftest import START_LIMIT, password_of, until

from mt5relay_gateway import MT5Error
from mt5relay_shared.envelopes import decode_sealing_key

pytestmark = pytest.mark.integration

if TYPE_CHECKING:
    from tests.leaks.conftest import Command
    from tests.system.conftest import System

TALKATIVE = {
    "MT5_LOG_LEVEL": "debug",
    "PYTHONASYNCIODEBUG": "1",  # which prints arguments of what is slow
    "PYTHONFAULTHANDLER": "1",
}
ADDRESS = re.compile(r"listening on (\S+),")
PAGES = (
    *("/", "/page/overview", "/page/history", "/docs", "/openapi.json"),
    *("/metrics", "/health", "/health/live", "/health/ready"),
)


@contextlib.contextmanager
def gateway(system: System, log: Path, **settings: str) -> Generator[subprocess.Popen[bytes]]:
    """`mt5relay gateway` on any free port, which its log names."""
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "mt5relay_gateway.cli", "gateway", "--port", "0"],
            env={
                **{name: value for name, value in os.environ.items() if name[:4] != "MT5_"},
                "REDIS_URL": as_user(system.url, GATEWAY),
                "MT5_TERMINAL_ID": system.keys.terminal,
                **TALKATIVE,
                **settings,
            },
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            cwd=system.directory,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(HANG_LIMIT)


async def address_in(log: Path) -> str:
    def said() -> str:
        return log.read_text("utf-8")

    async def is_listening() -> bool:
        return bool(ADDRESS.search(said()))

    await until(is_listening, said, START_LIMIT)
    return str(ADDRESS.findall(said())[0])


async def test_no_process_says_a_secret_at_work_or_when_it_crashes(
    system: System, command: Command
) -> None:
    worker = system.start_worker(**TALKATIVE)
    await system.until_health(state=b"CONNECTED")
    key = decode_sealing_key(await system.redis.get(system.keys.sealing_key)).key_id
    scopes = ("--scope", "read", "--scope", "enroll", "--scope", "operate")
    _, made = await command(OPERATOR, "tokens", "add", "leaks", *scopes)
    token = also_secret("the token", made.strip())
    WITNESS.finds()  # a new token is shown once, by the command that made it
    pinned = {"MT5_SEALING_KEY_ID": key}
    hooks = {
        "MT5_WEBHOOK_ORIGINS": "http://127.0.0.1:9",  # nobody listens there
        "MT5_WEBHOOK_SECRET": planted("webhook-of-24-characters"),
    }
    log = system.directory / "gateway.log"
    with gateway(system, log, **pinned, **hooks) as process:
        await ask_over_http(system, await address_in(log), token)
        await ask_by_command(system, command, pinned)
        if sys.platform != "win32":
            os.kill(worker.terminal_pid(), signal.SIGABRT)
            worker.process.send_signal(signal.SIGABRT)
            worker.wait()
            process.send_signal(signal.SIGABRT)
            process.wait(HANG_LIMIT)
            for crashed in (worker.log, log):
                assert "Fatal Python error: Aborted" in crashed.read_text("utf-8")


async def ask_over_http(system: System, address: str, token: str) -> None:
    account, locked_out, malformed = (str(account) for account in system.accounts[:3])
    headers = {"authorization": f"Bearer {token}"}
    async with HearingClient(base_url=address, headers=headers, timeout=HANG_LIMIT) as http:
        for name, password in (
            (account, password_of(system.accounts[0])),
            (locked_out, planted("wrong")),
        ):
            put = await http.put(f"/v1/accounts/{name}/credential", json={"password": password})
            assert put.status_code == 204, put.text
        for body in ({"password": planted("a\tb")}, {"password": [planted("x")]}, [planted("y")]):
            put = await http.put(f"/v1/accounts/{malformed}/credential", json=body)
            assert put.status_code in (400, 422), put.text
        assert (await http.get(f"/v1/accounts/{account}/positions")).status_code == 200
        refused = await http.get(f"/v1/accounts/{locked_out}")
        assert refused.json()["code"] == "MT5_AUTH_FAILED", refused.text
        asked = await http.post(
            "/v1/requests",
            json={
                "account": account,
                "operation": "orders",
                "webhook": {"url": "http://127.0.0.1:9/answers"},
            },
        )
        assert asked.status_code == 202, asked.text
        await http.get(asked.headers["location"], headers={"prefer": "wait=60"})
        for page in PAGES:
            assert (await http.get(page)).status_code == 200, page
        async with http.stream("GET", "/v1/events?last=20") as events:
            async for line in events.aiter_lines():
                if line.startswith("event: health"):
                    break
    for wrong in (f"{token}x", token[:-1], token.upper(), f"{token},{token}", token * 9):
        async with HearingClient(base_url=address, timeout=HANG_LIMIT) as http:
            stranger = {"authorization": f"Bearer {wrong}"}
            told = await http.get(f"/v1/accounts/{account}", headers=stranger)
            assert told.status_code == httpx.codes.UNAUTHORIZED, told.text


async def ask_by_command(system: System, command: Command, pinned: dict[str, str]) -> None:
    account = system.accounts[1]
    password = password_of(account)
    added = ("accounts", "add", str(account))
    assert (await command(OPERATOR, *added, text=password, **pinned))[0] == 0
    for user, *words in (
        (OPERATOR, "accounts", "list", "--json"),
        (OPERATOR, "queue", "--requests"),
        (OPERATOR, "tokens", "list", "--json"),
        (OPERATOR, "dead", "list"),
        (OPERATOR, "accounts", "unlock", str(account)),
        (OPERATOR, "top", "--once"),
        (MONITOR, "health", "--json"),
        (MONITOR, "events", "--last", "20"),
    ):
        status, said = await command(user, *words)
        assert status == 0, (words, said)
    async with system.client(timeout=HANG_LIMIT) as client:
        assert (await client.positions(account)).source == "terminal"
        with pytest.raises(MT5Error):
            await client.tick(account, "NOSUCH")
