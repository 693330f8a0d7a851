"""A real HTTP server before the real store and a worker without a terminal."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from tests.leaks.http import heard
from tests.leaks.planted import also_secret
from tests.limits import HANG_LIMIT
from tests.servers import OPERATOR, AclServer, as_user

from mt5relay_gateway.batch import CommandBatch
from mt5relay_gateway.http import HttpSettings, http_app
from mt5relay_gateway.http.server import serving
from mt5relay_gateway.http.token_store import TokenStore
from mt5relay_gateway.http.tokens import Scope, new_token
from mt5relay_shared.keys import Keys
from mt5relay_shared.redis_client import connect

_prefixes = itertools.count(1)

MakeToken = Callable[..., Any]
Served = Callable[..., AbstractAsyncContextManager[str]]


@pytest.fixture
def keys() -> Keys:
    """A terminal under a prefix of its own: tokens and registry belong to a prefix."""
    return Keys("main", f"http-{os.getpid()}-{next(_prefixes)}")


@pytest.fixture
def settings(
    server: AclServer, keys: Keys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> HttpSettings:
    """With tokens, on any free port, without a developer's environment."""
    for name in [name for name in os.environ if name.startswith("MT5_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    fields: dict[str, Any] = {
        "redis_url": server.url,
        "key_prefix": keys.prefix,
        "http_port": 0,
        "request_timeout": HANG_LIMIT,
    }
    return HttpSettings(**fields)


@asynccontextmanager
async def _served(settings: HttpSettings, **options: Any) -> AsyncGenerator[str]:
    """Serve until the end of the block; yields the address."""
    app = http_app(settings, **options)
    app.add_middleware(heard)
    async with serving(app, settings) as address:
        yield address


@pytest.fixture
def at_store(settings: HttpSettings) -> Callable[..., HttpSettings]:
    """The same settings at another store."""

    def changed(url: str, **more: Any) -> HttpSettings:
        updated = {**more, "redis_url": SecretStr(url)}
        return settings.model_copy(update=updated)

    return changed


@pytest.fixture
def served() -> Served:
    return _served


@pytest.fixture
async def token(settings: HttpSettings, server: AclServer) -> AsyncIterator[MakeToken]:
    """Make a token; returns its text."""
    batch = CommandBatch(
        connect(as_user(server.url, OPERATOR), client_name="tokens", tag=settings.fleet_keys.tag)
    )

    async def make(
        *scopes: Scope, accounts: tuple[str, ...] = (), rate: float | None = 0, name: str = "test"
    ) -> str:
        kept, secret = new_token(name, scopes or [Scope.READ], 0, accounts=accounts, rate=rate)
        await TokenStore(batch, settings.fleet_keys).add(kept)
        return also_secret(f"token {name}", secret.reveal())

    yield make
    await batch.aclose()


@pytest.fixture
async def address(settings: HttpSettings) -> AsyncIterator[str]:
    async with _served(settings) as address:
        yield address


@pytest.fixture
async def http(address: str, token: MakeToken) -> AsyncIterator[httpx.AsyncClient]:
    """A caller whose token may do everything, as often as it likes."""
    headers = {"authorization": f"Bearer {await token(*Scope)}"}
    async with httpx.AsyncClient(base_url=address, headers=headers, timeout=HANG_LIMIT) as client:
        yield client


@pytest.fixture
def text_of(redis: Redis) -> Callable[[], Any]:
    """Everything that stands in Redis, as bytes."""

    async def read() -> bytes:
        untyped: Any = redis
        keys: list[bytes] = [key async for key in untyped.scan_iter()]
        bodies: list[bytes | None] = [await untyped.dump(key) for key in keys]
        return b"\n".join([*keys, *(body or b"" for body in bodies)])

    return read
