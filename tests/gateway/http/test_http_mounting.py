"""The gateway inside another application; this is the README's example."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from mt5relay_gateway.http import HttpSettings, http_app, running
from mt5relay_gateway.http.server import serving
from mt5relay_gateway.testing import FakeAccountClient, a_position
from mt5relay_shared.errors import MT5StateError

ACCOUNT = "25115284@MetaQuotes-Demo"


def application(settings: HttpSettings) -> FastAPI:
    relay = http_app(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
        async with running(relay):
            yield

    app = FastAPI(lifespan=lifespan)
    app.mount("/mt5", relay)
    return app


@asynccontextmanager
async def _caller(app: Any, **headers: str) -> AsyncGenerator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://127.0.0.1", headers=headers
    ) as caller:
        yield caller


async def test_it_is_mounted_in_a_fastapi_application(
    settings: HttpSettings, token: Any, worker: Any
) -> None:
    app = application(settings)
    bearer = f"Bearer {await token()}"
    async with app.router.lifespan_context(app), _caller(app, authorization=bearer) as caller:
        answer = await caller.get(f"/mt5/v1/accounts/{ACCOUNT}")
        assert answer.json()["data"]["login"] == 25115284
        question = {"account": ACCOUNT, "operation": "positions"}
        accepted = await caller.post("/mt5/v1/requests", json=question)
        assert accepted.headers["location"].startswith("/mt5/v1/requests/")
        collected = await caller.get(accepted.headers["location"], headers={"prefer": "wait=60"})
        assert collected.status_code == 200
        described = (await caller.get("/mt5/openapi.json")).json()
        assert described["servers"] == [{"url": "/mt5"}]
        assert (await caller.get("/mt5/nothing")).json()["code"] == "NO_SUCH_PATH"
        assert (await caller.get("/openapi.json")).json()["info"]["title"] == "FastAPI"


async def test_two_of_them_do_not_disturb_each_other(settings: HttpSettings) -> None:
    apps = [http_app(settings) for _ in range(2)]
    async with running(apps[0]), running(apps[1]):
        for app in apps:
            async with _caller(app) as caller:
                assert (await caller.get("/health/live")).status_code == 200


async def test_an_applications_own_client_can_be_asked(settings: HttpSettings) -> None:
    client = FakeAccountClient()
    client.enrol(ACCOUNT, positions=[a_position(symbol="EURUSD")])
    off = settings.model_copy(update={"http_auth": "off"})
    app = http_app(off, client=client)
    async with running(app), _caller(app) as caller:
        answer = await caller.get(f"/v1/accounts/{ACCOUNT}/positions")
        unknown = await caller.get("/v1/accounts/1@X/positions")
    assert answer.json()["data"][0]["symbol"] == "EURUSD"
    assert unknown.status_code == 404
    assert [asked.operation for asked in client.asked] == ["positions", "positions"]


async def test_it_runs_once(settings: HttpSettings) -> None:
    app = http_app(settings)
    async with running(app):
        pass
    with pytest.raises(MT5StateError):
        async with running(app):
            pass


async def test_a_defect_is_told_without_its_insides(
    settings: HttpSettings, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(FakeAccountClient):
        async def snapshot(self, account: Any) -> Any:
            raise RuntimeError(f"secret insides of {account}")

    off = settings.model_copy(update={"http_auth": "off"})
    app = http_app(off, client=Broken())
    async with running(app), _caller(app) as caller:
        response = await caller.get(f"/v1/accounts/{ACCOUNT}/snapshot")
    assert (response.status_code, response.json()["code"]) == (500, "INTERNAL")
    assert "insides" not in response.text
    assert "http.defect" in caplog.text


async def test_a_port_that_is_taken_is_said_and_ends_nothing_else(
    settings: HttpSettings, address: str
) -> None:
    taken = settings.model_copy(update={"http_port": int(address.rpartition(":")[2])})
    with pytest.raises(MT5StateError, match="did not start"):
        async with serving(http_app(taken), taken):
            pass


async def test_no_other_sites_pages_are_let_in(http: httpx.AsyncClient, worker: Any) -> None:
    headers = {"origin": "https://elsewhere.example", "access-control-request-method": "GET"}
    for path in (f"/v1/accounts/{ACCOUNT}", "/health", "/docs", "/openapi.json"):
        for response in (
            await http.get(path, headers=headers),
            await http.options(path, headers=headers),
        ):
            assert not [name for name in response.headers if name.startswith("access-control")]
