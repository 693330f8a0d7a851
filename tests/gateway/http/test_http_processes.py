"""Gateways as processes: several behind one Redis, and one that dies."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from tests.leaks.http import HearingClient
from tests.leaks.witness import WITNESS
from tests.limits import HANG_LIMIT

from mt5relay_gateway.cli.child_processes import CREATION_FLAGS, PROCESS_GROUP
from mt5relay_gateway.http import HttpSettings
from mt5relay_shared.keys import Keys

pytestmark = pytest.mark.integration

ACCOUNT = "25115284@MetaQuotes-Demo"
PATH = f"/v1/accounts/{ACCOUNT}"


class Gateway:
    """A gateway process."""

    def __init__(self, process: asyncio.subprocess.Process, address: str) -> None:
        self.process = process
        self.address = address

    async def end(self, number: int) -> int:
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), HANG_LIMIT)


@asynccontextmanager
async def _gateway(settings: HttpSettings, keys: Keys, **more: str) -> AsyncGenerator[Gateway]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mt5relay_gateway.cli", "gateway", "--port", "0"),
        env={
            **os.environ,
            "REDIS_URL": settings.redis_url.get_secret_value(),
            "MT5_KEY_PREFIX": keys.prefix,
            **more,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=PROCESS_GROUP,
        creationflags=CREATION_FLAGS,
    )
    assert process.stdout is not None
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), HANG_LIMIT)).decode()
        match = re.match(r"listening on (\S+),", line)
        assert match is not None, line
        yield Gateway(process, match[1])
    finally:
        if process.returncode is None:
            process.kill()
        _, said = await process.communicate()
        WITNESS.hear("output of a gateway", said)


@pytest.fixture
async def caller(token: Callable[..., Any]) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {await token()}"}
    async with HearingClient(headers=headers, timeout=HANG_LIMIT) as client:
        yield client


async def test_two_gateways_answer_one_idempotency_key_once(
    settings: HttpSettings, keys: Keys, worker: Any, caller: httpx.AsyncClient
) -> None:
    async with _gateway(settings, keys) as one, _gateway(settings, keys) as two:
        addresses = [one.address, two.address] * 5
        headers = {"idempotency-key": "the-same"}
        answers = await asyncio.gather(
            *(caller.get(f"{address}{PATH}", headers=headers) for address in addresses)
        )
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.json()["request_id"] for answer in answers}) == 1
        question = {"account": ACCOUNT, "operation": "orders"}
        headers = {"idempotency-key": "another"}
        made = [
            await caller.post(f"{address}/v1/requests", json=question, headers=headers)
            for address in addresses
        ]
        (location,) = {one.headers["location"] for one in made}
        for gateway in (one, two):
            found = await caller.get(f"{gateway.address}{location}", headers={"prefer": "wait=60"})
            assert found.json()["operation"] == "orders"
    assert [request.operation for request in worker.requests] == ["account_info", "orders"]


async def test_a_gateway_killed_mid_request_loses_nothing_for_who_retries_at_another(
    settings: HttpSettings, keys: Keys, worker: Any, caller: httpx.AsyncClient, eventually: Any
) -> None:
    worker.stay_silent()
    headers = {"idempotency-key": "once"}

    async def is_asked() -> bool:
        return len(worker.requests) == 1

    async with _gateway(settings, keys) as one, _gateway(settings, keys) as two:
        asking = asyncio.create_task(caller.get(f"{one.address}{PATH}", headers=headers))
        await eventually(is_asked)
        one.process.kill()
        with pytest.raises(httpx.TransportError):
            await asking
        again = asyncio.create_task(caller.get(f"{two.address}{PATH}", headers=headers))
        await asyncio.sleep(0.3)
        (request,) = worker.requests
        await worker.store_reply(worker.ok(request))
        answer = await caller.get(f"{two.address}{PATH}", headers=headers)
        assert answer.status_code == 200
        assert answer.json()["request_id"] == request.id
        again.cancel()
        await asyncio.gather(again, return_exceptions=True)
    assert len(worker.requests) == 1


@pytest.mark.skipif(os.name != "posix", reason="Windows sends no such signals to one process")
async def test_a_gateway_that_is_asked_to_stop_finishes_what_is_under_way(
    settings: HttpSettings, keys: Keys, worker: Any, caller: httpx.AsyncClient, eventually: Any
) -> None:
    held: list[Any] = []
    worker.answer = held.append

    async def is_asked() -> bool:
        return bool(held)

    async with _gateway(settings, keys) as gateway:
        asking = asyncio.create_task(caller.get(f"{gateway.address}{PATH}"))
        async with caller.stream("GET", f"{gateway.address}/v1/events") as stream:
            assert stream.status_code == 200
            await eventually(is_asked)
            ending = asyncio.create_task(gateway.end(signal.SIGTERM))
            async for _ in stream.aiter_bytes():
                pass  # the stream ends, or the gateway would wait for it
        await worker.push_reply(held[0])
        assert (await asking).status_code == 200
        assert await ending in (0, -signal.SIGTERM)


async def test_authentication_that_is_off_is_shouted_about(
    settings: HttpSettings, keys: Keys
) -> None:
    async with _gateway(settings, keys, MT5_HTTP_AUTH="off", MT5_LOG_LEVEL="error") as gateway:
        gateway.process.kill()
        _, err = await gateway.process.communicate()
    assert b"AUTHENTICATION_IS_OFF" in err


async def test_a_setting_that_makes_no_sense_stops_it_at_once(
    settings: HttpSettings, keys: Keys
) -> None:
    for wrong, word in (
        ({"MT5_HTTP_PORT": "70000"}, "MT5_HTTP_PORT"),
        ({"MT5_HTTP_AUTH": "off", "MT5_HTTP_HOST": "0.0.0.0"}, "MT5_HTTP_HOST"),  # noqa: S104
    ):
        ended = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "mt5relay_gateway.cli", "gateway"],
            env={**os.environ, **wrong},
            capture_output=True,
            text=True,
            timeout=HANG_LIMIT,
            check=False,
        )
        assert ended.returncode == 2
        assert word in ended.stderr
        assert len(ended.stderr.splitlines()) == 1
