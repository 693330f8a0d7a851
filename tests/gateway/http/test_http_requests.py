"""Ask now, collect later; and many accounts in one call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import msgspec
import pytest
from redis.asyncio import Redis
from tests.ending import end

from mt5relay_gateway.http import HttpSettings
from mt5relay_gateway.http.tokens import Scope
from mt5relay_shared.errors import AccountUnknownError, MT5ConnectionError
from mt5relay_shared.messages import error_reply

ACCOUNT = "25115284@MetaQuotes-Demo"
OTHER = "50100002@Contoso-Live"
QUESTION: dict[str, Any] = {"account": ACCOUNT, "operation": "positions"}


async def test_a_request_is_accepted_and_its_answer_collected(
    http: httpx.AsyncClient, worker: Any
) -> None:
    accepted = await http.post("/v1/requests", json=QUESTION)
    assert accepted.status_code == 202
    assert accepted.json()["status"] == "pending"
    assert accepted.headers["location"] == accepted.json()["location"]
    collected = await http.get(accepted.headers["location"], headers={"prefer": "wait=60"})
    assert collected.status_code == 200
    assert collected.json()["data"][0]["ticket"] == 25115284
    assert collected.json()["request_id"] == accepted.json()["request_id"]


async def test_what_is_pending_says_so(http: httpx.AsyncClient, worker: Any) -> None:
    worker.stay_silent()
    accepted = await http.post("/v1/requests", json=QUESTION)
    pending = await http.get(accepted.headers["location"])
    assert (pending.status_code, pending.json()["status"]) == (202, "pending")
    assert pending.headers["retry-after"] == "1"


async def test_past_its_deadline_no_answer_is_promised(
    http: httpx.AsyncClient, worker: Any, redis: Redis, settings: HttpSettings
) -> None:
    worker.stay_silent()
    accepted = await http.post("/v1/requests", json={**QUESTION, "timeout_ms": 60_000})
    request_id = accepted.json()["request_id"]
    await redis.pexpire(settings.fleet_keys.submitted(request_id), 30_000)  # as half a minute later
    late = await http.get(accepted.headers["location"])
    assert (late.status_code, late.json()["code"]) == (504, "DEADLINE_EXCEEDED")


async def test_a_failed_request_is_the_problem_that_it_was(
    http: httpx.AsyncClient, worker: Any
) -> None:
    worker.answer_with(MT5ConnectionError("gone", code="BROKER_UNAVAILABLE"))
    accepted = await http.post("/v1/requests", json=QUESTION)
    failed = await http.get(accepted.headers["location"], headers={"prefer": "wait=60"})
    assert (failed.status_code, failed.json()["code"]) == (503, "BROKER_UNAVAILABLE")


async def test_a_request_that_nobody_made_is_not_there(http: httpx.AsyncClient) -> None:
    response = await http.get("/v1/requests/unheard-of")
    assert (response.status_code, response.json()["code"]) == (404, "NO_SUCH_REQUEST")


async def test_who_may_not_see_the_account_can_not_collect(
    http: httpx.AsyncClient, worker: Any, token: Any
) -> None:
    accepted = await http.post("/v1/requests", json=QUESTION)
    location = accepted.headers["location"]
    stranger = {"authorization": f"Bearer {await token(accounts=('*@Contoso-Live',))}"}
    assert (await http.get(location, headers=stranger)).status_code == 404
    assert (await http.get(location, headers={"prefer": "wait=60"})).status_code == 200


async def test_the_same_idempotency_key_is_the_same_request(
    http: httpx.AsyncClient, worker: Any
) -> None:
    headers = {"idempotency-key": "order-17"}
    made = [await http.post("/v1/requests", json=QUESTION, headers=headers) for _ in range(3)]
    assert len({one.headers["location"] for one in made}) == 1
    await http.get(made[0].headers["location"], headers={"prefer": "wait=60"})
    assert len(worker.requests) == 1
    other = {**QUESTION, "operation": "orders"}
    assert (await http.post("/v1/requests", json=other, headers=headers)).status_code == 422


async def test_respond_async_answers_at_once_or_says_where(
    http: httpx.AsyncClient, worker: Any
) -> None:
    path = f"/v1/accounts/{ACCOUNT}"
    quick = await http.get(path, headers={"prefer": "respond-async, wait=5"})
    assert quick.status_code == 200
    worker.stay_silent()
    slow = await http.get(path, headers={"prefer": "respond-async, wait=0"})
    assert slow.status_code == 202
    assert slow.headers["preference-applied"] == "respond-async"
    assert (await http.get(slow.headers["location"])).status_code == 202


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (b"", 400, "body"),
        (b"{", 400, "body"),
        (b"[]", 400, "body"),
        (b'{"x":' + b"[" * 50_000, 400, "nested"),
        (b'{"account":"1@S"}', 400, "operation"),
        (b'{"account":"1@S","operation":"dance"}', 400, "operation"),
        (b'{"account":1,"operation":"orders"}', 400, "$.account"),
        (b'{"account":"x","operation":"orders"}', 422, "LOGIN@SERVER"),
        (b'{"account":"1@S","operation":"orders","acount":1}', 400, "acount"),
        (b'{"account":"1@S","operation":"tick"}', 400, "arguments"),
        (b'{"account":"1@S","operation":"tick","arguments":{"symbol":""}}', 400, "symbol"),
        (b'{"account":"1@S","operation":"deals","arguments":{"from_ms":2,"to_ms":1}}', 422,
         "after"),
        (b'{"account":"1@S","operation":"orders","timeout_ms":0}', 400, "timeout_ms"),
        (b'{"account":"1@S","operation":"orders","webhook":{"url":"https://a.example"}}', 403,
         "MT5_WEBHOOK_ORIGINS"),
        (b'"' + b"x" * 200_000 + b'"', 413, "larger"),
        (b'"\xff"', 400, "body"),
    ],
    ids=lambda one: one[:40].decode("latin-1") if isinstance(one, bytes) else "",
)  # fmt: skip
async def test_what_is_wrong_with_a_body_is_named(
    http: httpx.AsyncClient, body: bytes, status: int, word: str
) -> None:
    headers = {"content-type": "application/json"}
    response = await http.post("/v1/requests", content=body, headers=headers)
    assert response.status_code == status, response.text
    assert word in response.json()["detail"]


async def test_a_body_of_another_kind_is_refused(http: httpx.AsyncClient) -> None:
    response = await http.post("/v1/requests", content=b"{}", headers={"content-type": "text/xml"})
    assert response.status_code == 415


async def test_a_body_in_pieces_is_bounded_too(http: httpx.AsyncClient) -> None:
    async def pieces() -> AsyncGenerator[bytes]:
        for _ in range(100):
            yield b" " * 10_000

    headers = {"content-type": "application/json"}
    response = await http.post("/v1/requests", content=pieces(), headers=headers)
    assert response.status_code == 413


async def test_a_batch_answers_each_account_as_its_answer_comes(
    http: httpx.AsyncClient, worker: Any
) -> None:
    gone = AccountUnknownError("1@Nowhere is not enrolled")

    held: list[Any] = []

    def answer(request: Any) -> Any:
        if request.account == "1@Nowhere":
            return error_reply(request, gone, 0)
        return held.append(request) if request.account == OTHER else worker.ok(request)

    worker.answer = answer
    body = {"accounts": [OTHER, ACCOUNT, ACCOUNT, "1@Nowhere"], "operation": "positions"}
    lines: list[dict[str, Any]] = []
    async with http.stream("POST", "/v1/accounts:batch", json=body) as response:
        assert response.headers["content-type"] == "application/x-ndjson"
        async for line in response.aiter_lines():
            lines.append(msgspec.json.decode(line))
            if len(lines) == 2:
                await worker.push_reply(held[0])
    assert {one["account"] for one in lines[:2]} == {ACCOUNT, "1@Nowhere"}
    by_account = {one["account"]: one for one in lines}
    assert len(by_account) == len(lines) == 3
    assert by_account[ACCOUNT]["answer"]["data"][0]["ticket"] == 25115284
    assert by_account["1@Nowhere"]["problem"]["code"] == "ACCOUNT_UNKNOWN"
    assert by_account[OTHER]["status"] == "ok"


async def test_an_account_of_a_batch_that_is_not_answered_in_time_is_a_problem(
    http: httpx.AsyncClient, worker: Any
) -> None:
    worker.stay_silent()
    body = {"accounts": [OTHER], "operation": "positions"}
    response = await http.post("/v1/accounts:batch", json=body, headers={"prefer": "wait=1"})
    (line,) = map(msgspec.json.decode, response.text.splitlines())
    assert (line["account"], line["problem"]["code"]) == (OTHER, "DEADLINE_EXCEEDED")


async def test_a_batch_shows_only_what_the_token_may_see(
    http: httpx.AsyncClient, worker: Any, token: Any
) -> None:
    headers = {"authorization": f"Bearer {await token(accounts=('*@Contoso-Live',))}"}
    body = {"accounts": [ACCOUNT, OTHER], "operation": "account_info"}
    response = await http.post("/v1/accounts:batch", json=body, headers=headers)
    found = {one["account"]: one for one in map(msgspec.json.decode, response.text.splitlines())}
    assert found[ACCOUNT]["problem"]["code"] == "FORBIDDEN"
    assert found[OTHER]["status"] == "ok"


async def test_a_batch_under_one_key_asks_each_account_once(
    http: httpx.AsyncClient, worker: Any
) -> None:
    body = {"accounts": [ACCOUNT, OTHER], "operation": "positions"}
    headers = {"idempotency-key": "b1"}
    await asyncio.gather(
        *(http.post("/v1/accounts:batch", json=body, headers=headers) for _ in range(3))
    )
    assert sorted(one.account for one in worker.requests) == [ACCOUNT, OTHER]


async def test_who_hangs_up_on_a_batch_waits_no_more(
    http: httpx.AsyncClient, worker: Any, eventually: Any
) -> None:
    worker.stay_silent()
    body = {"accounts": [ACCOUNT, OTHER], "operation": "positions"}
    asking = asyncio.create_task(http.post("/v1/accounts:batch", json=body))

    async def have_arrived() -> bool:
        return len(worker.requests) == 2

    await eventually(have_arrived)
    await end(asking)

    async def is_withdrawn() -> bool:
        fields: list[bytes] = []
        for request in worker.requests:
            fields += await worker.redis.hkeys(worker.keys.request(request.id))
        return len(worker.requests) == 2 and not any(one.startswith(b"to:") for one in fields)

    await eventually(is_withdrawn)


async def test_a_batch_with_something_that_is_no_account_asks_nothing(
    http: httpx.AsyncClient, worker: Any
) -> None:
    body = {"accounts": [ACCOUNT, "nobody"], "operation": "orders"}
    response = await http.post("/v1/accounts:batch", json=body)
    assert response.status_code == 422
    assert "nobody" in response.json()["detail"]
    assert worker.requests == []


async def test_for_json_a_number_without_a_fraction_is_whole(
    http: httpx.AsyncClient, worker: Any
) -> None:
    body = {**QUESTION, "operation": "deals", "arguments": {"from_ms": 1.0, "to_ms": 2e3}}
    assert (await http.post("/v1/requests", json=body)).status_code == 202
    body["arguments"] = {"from_ms": 1.5, "to_ms": 2}
    assert (await http.post("/v1/requests", json=body)).status_code == 400


async def test_a_batch_of_too_many_is_refused(http: httpx.AsyncClient) -> None:
    body = {"accounts": [f"{n}@S" for n in range(1, 1002)], "operation": "orders"}
    response = await http.post("/v1/accounts:batch", json=body)
    assert response.status_code == 400
    assert "accounts" in response.json()["detail"]


async def test_asking_needs_the_scope_to_read(http: httpx.AsyncClient, token: Any) -> None:
    headers = {"authorization": f"Bearer {await token(Scope.ENROLL)}"}
    for path, body in (("/v1/requests", QUESTION), ("/v1/accounts:batch", QUESTION)):
        response = await http.post(path, json=body, headers=headers)
        assert (response.status_code, response.json()["code"]) == (403, "FORBIDDEN")
