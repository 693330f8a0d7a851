"""A Redis that answers late is waited for as long as the caller waits."""

from __future__ import annotations

from typing import Any

import httpx
from tests.limits import HANG_LIMIT

from mt5relay_gateway.http import HttpSettings

PATH = "/v1/accounts/25115284@MetaQuotes-Demo"
PATIENT = {"prefer": "wait=60"}


async def _stand_still(redis: Any, seconds: float) -> None:
    await redis.execute_command("CLIENT", "PAUSE", round(seconds * 1000), "ALL")


async def test_the_first_token_is_looked_up_for_as_long_as_its_caller_waits(
    http: httpx.AsyncClient, worker: Any, redis: Any
) -> None:
    await _stand_still(redis, 2.5)
    response = await http.get(PATH, headers=PATIENT, timeout=HANG_LIMIT)
    assert (response.status_code, response.json().get("code")) == (200, None)


async def test_a_token_made_just_now_is_not_refused_because_redis_is_slow(
    http: httpx.AsyncClient, worker: Any, redis: Any, token: Any
) -> None:
    assert (await http.get(PATH)).status_code == 200
    new = {"authorization": f"Bearer {await token(name='new')}", **PATIENT}
    await _stand_still(redis, 2.5)
    assert (await http.get(PATH, headers=new, timeout=HANG_LIMIT)).status_code == 200


async def test_a_gateway_that_still_connects_keeps_its_callers(
    settings: HttpSettings, served: Any, worker: Any, redis: Any
) -> None:
    without_tokens = settings.model_copy(update={"http_auth": "off"})
    await _stand_still(redis, 4)
    async with (
        served(without_tokens) as address,
        httpx.AsyncClient(base_url=address, timeout=HANG_LIMIT) as caller,
    ):
        response = await caller.get(PATH, headers=PATIENT, timeout=HANG_LIMIT)
    assert (response.status_code, response.json().get("code")) == (200, None)


async def test_a_caller_in_a_hurry_is_told_that_redis_did_not_answer(
    http: httpx.AsyncClient, worker: Any, redis: Any
) -> None:
    await _stand_still(redis, 3)
    response = await http.get(PATH, headers={"prefer": "wait=1"}, timeout=HANG_LIMIT)
    assert (response.status_code, response.json()["code"]) == (503, "REDIS_UNAVAILABLE")


async def test_health_does_not_call_a_redis_down_that_stands_still_for_a_second(
    http: httpx.AsyncClient, worker: Any, redis: Any
) -> None:
    assert (await http.get("/health/ready")).status_code == 200
    await _stand_still(redis, 0.8)
    assert (await http.get("/health/ready", timeout=HANG_LIMIT)).status_code == 200
