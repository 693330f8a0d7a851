"""Credentials over HTTP: sealed at once, and unreadable everywhere."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import msgspec
import pytest
from redis.asyncio import Redis
from tests.leaks.planted import planted
from tests.limits import HANG_LIMIT

from mt5relay_gateway.http import HttpSettings
from mt5relay_gateway.http.tokens import Scope
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.keys import Keys
from mt5relay_shared.sealing import (
    generate_private_key,
    load_private_key,
    open_envelope,
    public_part,
)

ACCOUNT = AccountId(25115284, "MetaQuotes-Demo")
PATH = f"/v1/accounts/{ACCOUNT}/credential"
PASSWORD = planted("pä55-wörd")
PRIVATE = load_private_key(generate_private_key())
KEY = public_part(PRIVATE)


@pytest.fixture
def settings(settings: HttpSettings) -> HttpSettings:
    return settings.model_copy(update={"sealing_key_id": KEY.key_id})


@pytest.fixture
async def published(redis: Redis, keys: Keys) -> None:
    await redis.set(keys.sealing_key, msgspec.json.encode(KEY))


@pytest.mark.usefixtures("published")
async def test_a_password_is_sealed_for_the_worker_and_stands_nowhere_else(
    http: httpx.AsyncClient,
    redis: Redis,
    keys: Keys,
    text_of: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    response = await http.put(PATH, json={"password": PASSWORD})
    assert (response.status_code, response.content) == (204, b"")
    envelope = await redis.hget(keys.accounts, str(ACCOUNT))
    assert isinstance(envelope, bytes)
    assert open_envelope(envelope, ACCOUNT, PRIVATE).reveal() == PASSWORD
    assert PASSWORD.encode() not in await text_of()
    assert PASSWORD not in caplog.text
    removed = [(await http.delete(PATH)).status_code for _ in range(2)]
    assert removed == [204, 404]
    assert await redis.hget(keys.accounts, str(ACCOUNT)) is None


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"password": ""}, 422),
        ({"password": PASSWORD + "\n"}, 422),
        ({"password": PASSWORD * 20}, 422),
        ({"password": 5}, 400),
        ({"password": [PASSWORD]}, 400),
        ({"pass": PASSWORD}, 400),
        ({"password": PASSWORD, "server": "x"}, 400),
    ],
    ids=str,
)
async def test_a_password_that_is_refused_is_not_quoted(
    http: httpx.AsyncClient, redis: Redis, keys: Keys, body: Any, status: int
) -> None:
    response = await http.put(PATH, json=body)
    assert response.status_code == status
    assert any(name in response.json()["detail"] for name in body)
    assert PASSWORD not in response.text
    assert await redis.hlen(keys.accounts) == 0


async def test_nothing_is_sealed_for_a_key_that_is_not_pinned(
    http: httpx.AsyncClient, redis: Redis, keys: Keys
) -> None:
    no_key = await http.put(PATH, json={"password": PASSWORD})
    assert (no_key.status_code, no_key.json()["code"]) == (409, "INVALID_STATE")
    other = public_part(load_private_key(generate_private_key()))
    await redis.set(keys.sealing_key, msgspec.json.encode(other))
    wrong_key = await http.put(PATH, json={"password": PASSWORD})
    assert wrong_key.status_code == 409
    assert "nothing was sealed" in wrong_key.json()["detail"]
    assert await redis.hlen(keys.accounts) == 0


@pytest.mark.usefixtures("published")
async def test_without_a_pin_nothing_is_sealed(
    settings: HttpSettings, served: Any, token: Any
) -> None:
    unpinned = settings.model_copy(update={"sealing_key_id": None})
    headers = {"authorization": f"Bearer {await token(Scope.ENROLL)}"}
    async with (
        served(unpinned) as address,
        httpx.AsyncClient(headers=headers, timeout=HANG_LIMIT) as caller,
    ):
        response = await caller.put(f"{address}{PATH}", json={"password": PASSWORD})
    assert response.status_code == 409
    assert "MT5_SEALING_KEY_ID" in response.json()["detail"]


@pytest.mark.usefixtures("published")
async def test_of_several_terminals_each_gets_its_own_envelope(
    http: httpx.AsyncClient, redis: Redis, keys: Keys, settings: HttpSettings
) -> None:
    body: Any = b'{"state":"active","since_ms":0}'
    await redis.hset(settings.fleet_keys.terminals, mapping={"main": body, "t2": body})
    second = Keys("t2", keys.prefix)
    await redis.set(second.sealing_key, msgspec.json.encode(KEY))
    assert (await http.put(PATH, json={"password": PASSWORD})).status_code == 204
    envelopes = [await redis.hget(one.accounts, str(ACCOUNT)) for one in (keys, second)]
    assert None not in envelopes
    assert envelopes[0] != envelopes[1]
