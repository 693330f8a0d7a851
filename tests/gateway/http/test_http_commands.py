"""What an operator may tell a running worker over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from tests.ending import end
from tests.gateway.http.description_server import obey
from tests.servers import COMMANDING, as_user

from mt5relay_gateway.http import HttpSettings
from mt5relay_gateway.http.tokens import Scope
from mt5relay_shared.keys import Keys

ACCOUNT = "25115284@MetaQuotes-Demo"
UNLOCK = {"command": "account.unlock", "account": ACCOUNT}


@pytest.fixture
def settings(settings: HttpSettings) -> HttpSettings:
    """As `gateway`, with the right that `deploy/redis/README.md` adds for this."""
    url = as_user(settings.redis_url.get_secret_value(), COMMANDING)
    return settings.model_copy(update={"redis_url": SecretStr(url)})


@pytest.fixture
async def obedient(redis: Redis, keys: Keys, worker: Any) -> AsyncIterator[None]:
    obeying = asyncio.create_task(obey(redis, keys))
    yield
    await end(obeying)


@pytest.mark.usefixtures("obedient")
@pytest.mark.parametrize(
    "body", [{"command": "breaker.reset"}, {"command": "breaker.probe"}, UNLOCK]
)
async def test_the_worker_is_told_and_says_what_came_of_it(
    http: httpx.AsyncClient, redis: Any, keys: Keys, body: dict[str, str]
) -> None:
    response = await http.post("/v1/commands", json=body)
    assert response.status_code == 200, response.text
    assert response.json() == {"command": body["command"], "terminal": "main", "message": "done"}
    ((_, fields),) = await redis.xrange(keys.commands)
    sent = msgspec.json.decode(fields[b"command"])
    assert (sent["command"], sent.get("account")) == (body["command"], body.get("account"))


async def test_without_a_worker_nobody_obeys(http: httpx.AsyncClient) -> None:
    response = await http.post("/v1/commands", json=UNLOCK)
    assert (response.status_code, response.json()["code"]) == (503, "NO_WORKER")


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"command": "dance"}, 400, "command"),
        ({"command": "account.unlock"}, 422, "account"),
        ({"command": "breaker.reset", "account": ACCOUNT}, 422, "account"),
        ({"command": "breaker.reset", "terminal": "other"}, 422, "main"),
    ],
    ids=str,
)
async def test_what_makes_no_sense_is_not_sent(
    http: httpx.AsyncClient, worker: Any, body: Any, status: int, word: str
) -> None:
    response = await http.post("/v1/commands", json=body)
    assert response.status_code == status
    assert word in response.json()["detail"]
    assert await worker.redis.xlen(worker.keys.commands) == 0


async def test_of_several_terminals_one_must_be_named(
    http: httpx.AsyncClient, redis: Redis, settings: HttpSettings
) -> None:
    body: Any = b'{"state":"active","since_ms":0}'
    await redis.hset(settings.fleet_keys.terminals, mapping={"t1": body, "t2": body})
    response = await http.post("/v1/commands", json=UNLOCK)
    assert response.status_code == 422
    assert "t1, t2" in response.json()["detail"]


@pytest.mark.usefixtures("obedient")
async def test_a_token_commands_what_it_covers(http: httpx.AsyncClient, token: Any) -> None:
    reader = {"authorization": f"Bearer {await token(Scope.READ, Scope.ENROLL)}"}
    mine = {"authorization": f"Bearer {await token(Scope.OPERATE, accounts=('*@MetaQuotes*',))}"}
    other = {**UNLOCK, "account": "1@Elsewhere"}
    for body, headers, status in (
        (UNLOCK, reader, 403),
        (UNLOCK, mine, 200),
        (other, mine, 403),
        ({"command": "breaker.reset"}, mine, 403),
    ):
        assert (await http.post("/v1/commands", json=body, headers=headers)).status_code == status
