"""`mt5relay tokens`: made once, listed without secrets, revoked."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import httpx
import msgspec
import pytest
from tests.limits import HANG_LIMIT
from tests.servers import OPERATOR, as_user

from mt5relay_gateway.cli.app import run
from mt5relay_gateway.http import HttpSettings

PATH = "/v1/accounts/1@S"


@pytest.fixture
def cli(
    settings: HttpSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    """Run a command in this process; returns status, output and errors."""
    monkeypatch.setenv("REDIS_URL", as_user(settings.redis_url.get_secret_value(), OPERATOR))
    monkeypatch.setenv("MT5_KEY_PREFIX", settings.key_prefix)
    monkeypatch.setenv("COLUMNS", "200")

    async def run_command(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = await asyncio.to_thread(run, words)
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run_command


async def test_a_token_is_shown_once_and_works(cli: Any, address: str, worker: Any) -> None:
    status, text, err = await cli("tokens", "add", "dashboard", "--account", "*@S")
    assert (status, err) == (0, "")
    token = text.strip()
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=address, headers=headers, timeout=HANG_LIMIT) as caller:
        assert (await caller.get(PATH)).status_code == 200
        assert (await caller.get("/v1/accounts/1@Other")).status_code == 403
        assert (await caller.delete(f"{PATH}/credential")).status_code == 403
    _, listed, _ = await cli("tokens", "list")
    assert "dashboard" in listed
    assert token.rpartition("_")[2] not in listed


async def test_tokens_are_listed_and_removed(cli: Any) -> None:
    _, none, _ = await cli("tokens", "list")
    assert "no tokens" in none
    _, made, _ = await cli(
        *("tokens", "add", "ops", "--scope", "read", "--scope", "operate"), "--rate", "5", "--json"
    )
    one = msgspec.json.decode(made)
    assert (one["scopes"], one["rate"], one["accounts"]) == (["operate", "read"], 5, [])
    await cli("tokens", "add", "ops")
    _, listed, _ = await cli("tokens", "list", "--json")
    assert [msgspec.json.decode(line)["name"] for line in listed.splitlines()] == ["ops", "ops"]
    status, removed, _ = await cli("tokens", "remove", one["id"])
    assert (status, removed) == (0, f"removed {one['id']} ops\n")
    status, _, err = await cli("tokens", "remove", one["id"])
    assert (status, "neither an id nor a name" in err) == (1, True)
    await cli("tokens", "remove", "ops")
    _, none, _ = await cli("tokens", "list")
    assert "no tokens" in none


@pytest.mark.parametrize("words", [["add", "a b"], ["add"], ["add", "a", "--scope", "all"]])
async def test_wrong_usage_makes_no_token(cli: Any, words: list[str]) -> None:
    status, out, err = await cli("tokens", *words)
    assert (status, out) == (2, "")
    assert err


def test_neither_the_library_nor_tokens_need_the_extra() -> None:
    program = (
        "import sys\n"
        "for name in ('starlette', 'uvicorn', 'prometheus_client', 'httptools'):\n"
        "    sys.modules[name] = None\n"
        "import mt5relay_gateway, mt5relay_gateway.testing, mt5relay_gateway.http\n"
        "import mt5relay_gateway.cli.app as app\n"
        "sys.exit(app.run(['gateway']))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "pip install 'mt5relay[http]'" in ended.stderr
