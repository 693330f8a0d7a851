"""`mt5relay support-bundle` of a system that works, searched for everything that was planted."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.leaks.planted import planted
from tests.limits import HANG_LIMIT
from tests.servers import OPERATOR, WORKER, as_user, password_of_user
from tests.system.conftest import password_of

from mt5relay_gateway.cli.store import free_port

pytestmark = pytest.mark.integration

if TYPE_CHECKING:
    from tests.system.conftest import System

BALANCE = 87_654.25
WEBHOOK_SECRET = planted("support-webhook-secret")
TOKEN_SECRET = "Zm9vYmFyYmF6cXV4LXBsYW50ZWQtdG9rZW4tMTIzNDU2Nzg5"
TOKEN = f"mt5relay_0123456789abcdef_{TOKEN_SECRET}"


def make_bundle(url: str, directory: Path, *words: str, **settings: str) -> Any:
    plain = {name: text for name, text in os.environ.items() if not name.startswith("MT5_")}
    return subprocess.run(
        [sys.executable, "-m", "mt5relay_gateway.cli", "support-bundle", *words],
        env={**plain, "REDIS_URL": url, **settings},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def contents(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as bundle:
        return {name: bundle.read(name) for name in bundle.namelist()}


def place(system: System, changed: float) -> None:
    """Give every account a balance that is recognised."""
    file = system.directory / "book.json"
    book = json.loads(file.read_text())
    for account in book["accounts"]:
        account["balance"] = changed
    file.write_text(json.dumps(book))


async def play(system: System) -> None:
    """Look-ups, a request that makes no sense, a letter with personal arguments."""
    async with system.client() as client:
        answer = await client.account_info(str(system.accounts[0]), timeout=HANG_LIMIT)
        assert answer.data.balance == BALANCE
        await client.positions(str(system.accounts[1]), timeout=HANG_LIMIT)
    letter = {
        "id": "letter-1",
        "account": str(system.accounts[2]),
        "operation": "symbol",
        "arguments": {"symbol": "PERSONAL-SYMBOL"},
    }
    error = {"code": "POISONED", "message": f"{system.accounts[2]} crashed, balance={BALANCE}"}
    fields = {"request": json.dumps(letter), "error": json.dumps(error), "deliveries": "3"}
    await system.redis.xadd(system.keys.dead, fields)
    await system.redis.hset("{mt5}:tokens", "0123456789abcdef", json.dumps({"name": TOKEN_SECRET}))


def write_log(file: Path, system: System) -> None:
    account = system.accounts[3]
    lines = [
        json.dumps({"event": "x", "login": account.login, "balance": BALANCE, "took_ms": 5}),
        f"login of {account.login} with {password_of(account)} password={password_of(account)}",
        f"Authorization: Bearer {TOKEN}",
        f"{as_user(system.url, WORKER)} {WEBHOOK_SECRET}",
        "-----BEGIN PRIVATE KEY-----",
        *(system.directory / "worker.key").read_text().splitlines(),
    ]
    file.write_text("\n".join(lines))


async def test_nothing_that_was_planted_is_in_any_file_of_it(
    system: System, tmp_path: Path
) -> None:
    place(system, BALANCE)
    worker = await system.start()
    await play(system)
    log = tmp_path / "gateway.log"
    write_log(log, system)
    await system.redis.config_set("slowlog-log-slower-than", 0)
    ran = await asyncio.to_thread(
        make_bundle,
        as_user(system.url, OPERATOR),
        tmp_path,
        *("--log", str(log), "--log", str(worker.log)),
        MT5_TERMINAL_ID=system.keys.terminal,
        MT5_WEBHOOK_ORIGINS="https://hooks.example",
        MT5_WEBHOOK_SECRET=WEBHOOK_SECRET,
    )
    await system.redis.delete("{mt5}:tokens")
    log.unlink()
    await system.redis.config_set("slowlog-log-slower-than", 10_000)
    assert (ran.returncode, ran.stderr) == (0, "")
    file = tmp_path / ran.stdout.strip()
    assert file.name.startswith("mt5relay-support-")
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = contents(file)

    envelopes = (await system.redis.hgetall(system.keys.accounts)).values()
    lease = (await system.redis.get(system.keys.lease)).decode()
    key = (system.directory / "worker.key").read_text().splitlines()[1]
    hidden = [
        *(password_of(account) for account in system.accounts),
        *(str(account.login) for account in system.accounts),
        *(json.loads(body)["ciphertext"] for body in envelopes),
        *(password_of_user(OPERATOR), password_of_user("gateway")),
        *(WEBHOOK_SECRET, TOKEN_SECRET, "PERSONAL-SYMBOL", "Trader 0"),
        *(str(BALANCE), key, lease.split(":")[1]),
    ]
    for name, content in found.items():
        for text in hidden:
            assert text.encode() not in content, (name, text)

    terminal = f"terminals/{system.keys.terminal}"
    assert json.loads(found[f"{terminal}/health.json"])["state"] == "CONNECTED"
    assert json.loads(found[f"{terminal}/events.json"])[0]["kind"] == "lease"
    enrolled = json.loads(found[f"{terminal}/credentials.json"])["enrolled"]
    assert len(enrolled) == len(system.accounts)
    assert all(one["account"].startswith("account-") for one in enrolled)
    (letter,) = json.loads(found[f"{terminal}/dead-letters.json"])
    assert letter["request"]["arguments"] == ["symbol"]
    assert letter["request"]["account"].startswith("account-")
    assert {one["name"] for one in json.loads(found["redis/clients.json"])} >= {"mt5relay-worker"}
    assert {"INFO", "HGETALL"} <= {
        one["command"] for one in json.loads(found["redis/slowlog.json"])
    }
    settings = {one["setting"]: one["value"] for one in json.loads(found["settings.json"])}
    assert settings["MT5_WEBHOOK_SECRET"] == "set"
    assert "worker.started" in found["log/2-worker-0.log"].decode()
    assert '"took_ms": 5' in found["log/1-gateway.log"].decode()
    for name in found.keys() - {"README.txt"}:  # which speaks of each
        stem = "log/" if name.startswith("log/") else name.rpartition("/")[2]
        assert stem in found["README.txt"].decode(), name


async def test_account_numbers_are_kept_on_request(system: System, tmp_path: Path) -> None:
    await system.redis.hset(system.keys.accounts, str(system.accounts[0]), "{}")
    out = tmp_path / "bundle.zip"
    words = ("--out", str(out), "--with-account-numbers")
    own = {"MT5_TERMINAL_ID": system.keys.terminal}
    url = as_user(system.url, OPERATOR)
    ran = await asyncio.to_thread(make_bundle, url, tmp_path, *words, **own)
    assert (ran.returncode, ran.stdout.strip()) == (0, str(out))
    assert str(system.accounts[0]) in str(contents(out))
    again = await asyncio.to_thread(make_bundle, url, tmp_path, *words, **own)
    assert (again.returncode, again.stderr) == (1, f"mt5relay: {out}: File exists\n")


def test_without_a_server_there_is_still_a_bundle(tmp_path: Path) -> None:
    url = f"redis://operator:{password_of_user(OPERATOR)}@127.0.0.1:{free_port()}"
    ran = make_bundle(url, tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    found = contents(tmp_path / ran.stdout.strip())
    assert {"README.txt", "doctor.json", "settings.json", "versions.json"} <= found.keys()
    assert password_of_user(OPERATOR).encode() not in b"".join(found.values())


@pytest.mark.parametrize("missing", ["no-such.log", "."])
def test_a_log_that_cannot_be_read_is_named(tmp_path: Path, missing: str) -> None:
    ran = make_bundle(f"redis://127.0.0.1:{free_port()}", tmp_path, "--log", missing)
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"mt5relay: {missing}: ")
    assert not list(tmp_path.glob("*.zip"))
