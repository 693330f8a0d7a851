"""Tests that each leak a planted secret: `test_leaks_are_found.py` runs them and sees them fail.

No test by its name, so that nothing else collects it.
"""

from __future__ import annotations

import base64
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from tests.leaks.http import HearingClient, heard
from tests.leaks.planted import also_secret, planted
from tests.servers import AclServer

from mt5relay_gateway.http import HttpSettings, http_app
from mt5relay_gateway.http.server import serving
from mt5relay_shared.keys import Keys
from mt5relay_shared.redis_client import connect

SECRET = planted("leaky")
BASE64 = base64.b64encode(f"x{SECRET}".encode()).decode()


def test_printed() -> None:
    print(SECRET)  # noqa: T201


def test_logged() -> None:
    logging.getLogger("mt5relay.leaky").warning("an error", extra={"secret": SECRET})
    logging.getLogger("mt5relay.leaky").warning("an error %s", BASE64)


def test_in_a_failures_report() -> None:
    raise ValueError(SECRET)


def test_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "worker.log").write_text(SECRET.encode().hex())


def test_made_by_the_product(tmp_path: Path) -> None:
    token = also_secret("a token", "mt5relay_0123456789abcdef_as-random-as-can-be")
    (tmp_path / "gateway.log").write_text(token)


def test_as_an_argument() -> None:
    subprocess.run([sys.executable, "-c", "", SECRET], check=True)


def test_as_a_grandchilds_argument() -> None:
    program = (
        "import subprocess, sys; secret = ''.join(map(chr, sys.stdin.buffer.read()));"
        "subprocess.run([sys.executable, '-c', 'import time; time.sleep(1)', secret])"
    )
    subprocess.run([sys.executable, "-c", program], input=SECRET.encode(), check=True)


async def test_in_a_value(redis: Any, keys: Keys) -> None:
    await redis.hset(keys.health, "detail", SECRET)


async def test_in_a_key_that_is_gone(redis: Redis, keys: Keys) -> None:
    await redis.set(keys.reply(BASE64), "x", px=1)


async def test_in_a_script(redis: Any, keys: Keys) -> None:
    whole = "return redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2])"
    await redis.eval(whole, 1, keys.reply("1"), SECRET[:8], SECRET[8:])
    await redis.delete(keys.reply("1"))


def leaky_gateway(server: AclServer, response: Response) -> tuple[Starlette, HttpSettings]:
    async def answer(_: Any) -> Response:
        return response

    fields: dict[str, Any] = {"redis_url": server.url, "http_port": 0}
    settings = HttpSettings(**fields)
    app = http_app(settings)
    app.router.routes.insert(0, Route("/leaky", answer))
    return app, settings


async def test_in_an_answer_over_http(server: AclServer) -> None:
    app, settings = leaky_gateway(server, Response("well", headers={"x-detail": SECRET}))
    app.add_middleware(heard)
    async with serving(app, settings) as address, httpx.AsyncClient() as caller:
        await caller.get(f"{address}/leaky")


async def test_in_a_body_over_http(server: AclServer) -> None:
    app, settings = leaky_gateway(server, Response(BASE64))
    async with serving(app, settings) as address, HearingClient() as caller:
        await caller.get(f"{address}/leaky")


async def test_refused(server: AclServer, keys: Keys) -> None:
    """Not a secret, but found by the same means: somebody tries what is not theirs."""
    gateway = connect(server.url, client_name="leaky")
    with pytest.raises(Exception, match="permission"):
        await gateway.get(keys.lease)
    await gateway.aclose()


def test_innocent(tmp_path: Path) -> None:
    (tmp_path / "worker.key").write_text(SECRET)
    (tmp_path / "worker.log").write_text("a password was refused")
