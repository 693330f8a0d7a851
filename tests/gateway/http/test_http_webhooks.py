"""Webhooks: the answer comes to whoever asked, signed, at least once."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import SecretStr
from tests.leaks.planted import planted
from tests.limits import HANG_LIMIT

from mt5relay_gateway.http import HttpSettings
from mt5relay_gateway.http.problems import Refusal
from mt5relay_gateway.http.webhooks import check_target
from mt5relay_shared.errors import MT5AuthError

SECRET = planted("webhook-of-24-characters")
QUESTION = {"account": "25115284@MetaQuotes-Demo", "operation": "positions"}


@dataclass
class Receiver:
    """Takes what is posted to it, and answers with the statuses given, then 204."""

    statuses: list[int] = field(default_factory=list[int])
    received: list[tuple[dict[str, str], bytes]] = field(
        default_factory=list[tuple[dict[str, str], bytes]]
    )
    origin: str = ""

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = [line.partition(": ") for line in head.split("\r\n")[1:] if line]
        headers = {name.lower(): value for name, _, value in lines}
        body = await reader.readexactly(int(headers["content-length"]))
        self.received.append((headers, body))
        status = self.statuses.pop(0) if self.statuses else 204
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    found = Receiver()
    server = await asyncio.start_server(found.take, "127.0.0.1", 0)
    found.origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield found
    server.close()


@pytest.fixture
def settings(settings: HttpSettings, receiver: Receiver) -> HttpSettings:
    return settings.model_copy(
        update={"webhook_origins": receiver.origin, "webhook_secret": SecretStr(SECRET)}
    )


async def _ask(http: httpx.AsyncClient, receiver: Receiver) -> str:
    body = {**QUESTION, "webhook": {"url": f"{receiver.origin}/done?x=1"}}
    response = await http.post("/v1/requests", json=body)
    assert response.status_code == 202, response.text
    request_id: str = response.json()["request_id"]
    return request_id


async def _wait_for(receiver: Receiver, count: int) -> None:
    async with asyncio.timeout(HANG_LIMIT):
        while len(receiver.received) < count:  # noqa: ASYNC110 - it comes over the network
            await asyncio.sleep(0.02)


async def test_the_answer_is_sent_and_signed(
    http: httpx.AsyncClient, worker: Any, receiver: Receiver
) -> None:
    request_id = await _ask(http, receiver)
    await _wait_for(receiver, 1)
    headers, body = receiver.received[0]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    assert headers["webhook-id"] == request_id
    told = msgspec.json.decode(body)
    assert (told["request_id"], told["status"]) == (request_id, "ok")
    assert told["answer"]["data"][0]["ticket"] == 25115284


async def test_a_failure_is_told_too(
    http: httpx.AsyncClient, worker: Any, receiver: Receiver
) -> None:
    worker.answer_with(MT5AuthError("refused"))
    await _ask(http, receiver)
    await _wait_for(receiver, 1)
    told = msgspec.json.decode(receiver.received[0][1])
    assert (told["status"], told["problem"]["code"]) == ("error", "MT5_AUTH_FAILED")


async def test_a_receiver_that_fails_is_tried_again_with_the_same_words(
    http: httpx.AsyncClient, worker: Any, receiver: Receiver
) -> None:
    receiver.statuses = [500]
    await _ask(http, receiver)
    await _wait_for(receiver, 2)
    first, second = receiver.received
    assert first[1] == second[1]
    assert first[0]["webhook-id"] == second[0]["webhook-id"]


async def test_another_gateway_sends_what_a_dead_one_promised(
    settings: HttpSettings, served: Any, token: Any, worker: Any, receiver: Receiver
) -> None:
    worker.stay_silent()
    headers = {"authorization": f"Bearer {await token()}"}
    async with (
        served(settings) as first,
        httpx.AsyncClient(headers=headers, timeout=HANG_LIMIT) as caller,
    ):
        caller.base_url = httpx.URL(first)
        await _ask(caller, receiver)
    await worker.store_reply(worker.ok(worker.requests[0]))
    assert receiver.received == []
    async with served(settings), served(settings):  # two look at one agenda
        await _wait_for(receiver, 1)
        await asyncio.sleep(1.5)
    assert len(receiver.received) == 1
    assert await worker.redis.zcard(settings.fleet_keys.webhooks) == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest",
        "http://localhost:6379/",
        "https://hooks.example.evil/",
        "https://hooks.example@evil/",
        "https://user:pw@hooks.example/",
        "http://hooks.example/",
        "https://hooks.example:444/",
        "https://hooks.example/\r\nx: y",
        "https://[::1",
        "ftp://hooks.example/",
    ],
)
def test_webhooks_go_nowhere_but_where_the_operator_allows(url: str) -> None:
    fields: dict[str, Any] = {
        "webhook_origins": "https://hooks.example",
        "webhook_secret": SecretStr(SECRET),
    }
    with pytest.raises(Refusal):
        check_target(url, HttpSettings(**fields))
    assert check_target("https://hooks.example/a?b=c", HttpSettings(**fields))


def test_settings_of_webhooks_agree() -> None:
    cases: list[dict[str, Any]] = [
        {"webhook_origins": "https://a.example"},
        {"webhook_origins": "a.example", "webhook_secret": SECRET},
        {"webhook_origins": "https://a.example/path", "webhook_secret": SECRET},
        {"webhook_secret": "short"},
    ]
    for wrong in cases:
        with pytest.raises(ValueError, match=r"(?i)webhook|origin"):
            HttpSettings(**wrong)
