"""Look-ups over HTTP: the client's answers, in HTTP's own words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from tests.ending import end

from mt5relay_shared.errors import MT5AuthError, MT5ConnectionError, NotFoundError

ACCOUNT = "25115284@MetaQuotes-Demo"
PATH = f"/v1/accounts/{ACCOUNT}"
HISTORY = "from=2026-01-01T00:00:00&to=2026-01-31T00:00:00Z"


@pytest.mark.parametrize(
    ("path", "operation", "arguments"),
    [
        ("", "account_info", {}),
        ("/positions", "positions", {}),
        ("/orders", "orders", {}),
        (f"/deals?{HISTORY}", "deals", {"from_ms": 1767225600000, "to_ms": 1769817600000}),
        (
            "/history-orders?from=0&to=1769817600000",
            "history_orders",
            {"from_ms": 0, "to_ms": 1769817600000},
        ),
        ("/symbols/EURUSD", "symbol", {"symbol": "EURUSD"}),
        ("/symbols/EUR%2FUSD/tick", "tick", {"symbol": "EUR/USD"}),
        (
            "/symbols/%23AAPL/rates?timeframe=M15&count=3",
            "rates",
            {"symbol": "#AAPL", "timeframe": "M15", "count": 3},
        ),
    ],
    ids=lambda one: one if isinstance(one, str) and one.islower() else "",
)
async def test_every_operation_can_be_asked(
    http: httpx.AsyncClient, worker: Any, path: str, operation: str, arguments: dict[str, Any]
) -> None:
    response = await http.get(f"{PATH}{path}")
    answer = response.json()
    assert response.status_code == 200
    assert (answer["operation"], answer["account"]) == (operation, ACCOUNT)
    assert (answer["source"], answer["stale"]) == ("terminal", False)
    (asked,) = worker.requests
    assert (asked.operation, asked.arguments) == (operation, arguments)


@pytest.mark.parametrize("path", ["", "/positions", "/snapshot", "/symbols/EUR%2FUSD/tick"])
async def test_a_server_name_may_have_a_slash(
    http: httpx.AsyncClient, worker: Any, path: str
) -> None:
    account = "7@Broker/Live"
    await worker.store_snapshot(account, age=1)
    response = await http.get(f"/v1/accounts/7@Broker%2fLive{path}")
    assert (response.status_code, response.json()["account"]) == (200, account)
    unescaped = await http.get(f"/v1/accounts/7@Broker/Live{path}")
    assert unescaped.status_code == 404


async def test_integers_that_javascript_rounds_can_be_had_as_text(
    http: httpx.AsyncClient, worker: Any
) -> None:
    login = 2**53 + 1
    path, prefer = f"/v1/accounts/{login}@S", {"prefer": "wait=20, integers=text"}
    await worker.store_snapshot(f"{login}@S", age=1)
    for number in (await http.get(path), await http.get(f"{path}/snapshot")):
        assert f'"login":{login},' in number.text
    for text in (
        await http.get(path, headers=prefer),
        await http.get(f"{path}/snapshot", headers=prefer),
        await http.post(
            "/v1/accounts:batch",
            json={"operation": "account_info", "accounts": [f"{login}@S"]},
            headers=prefer,
        ),
    ):
        assert f'"login":"{login}",' in text.text
        assert '"leverage":"' not in text.text  # small ones stay numbers


async def test_by_default_the_terminal_is_asked(http: httpx.AsyncClient, worker: Any) -> None:
    await worker.store_snapshot(ACCOUNT, age=1)
    assert (await http.get(PATH)).json()["source"] == "terminal"


async def test_cache_control_decides_how_old_an_answer_may_be(
    http: httpx.AsyncClient, worker: Any
) -> None:
    await worker.store_snapshot(ACCOUNT, age=5)
    old = await http.get(PATH, headers={"cache-control": "max-age=60"})
    assert old.json()["source"] == "snapshot"
    assert 5 <= int(old.headers["age"]) < 60
    assert old.headers["cache-control"] == "private, no-cache"
    for live in ("max-age=60, no-cache", "max-age=2", "no-store", "max-age=ten"):
        response = await http.get(PATH, headers={"cache-control": live})
        assert response.json()["source"] == "terminal", live


async def test_a_stale_answer_instead_of_an_error_says_so(
    http: httpx.AsyncClient, worker: Any
) -> None:
    await worker.store_snapshot(ACCOUNT, age=5)
    worker.answer_with(MT5ConnectionError("broker gone", code="BROKER_UNAVAILABLE"))
    response = await http.get(PATH, headers={"cache-control": "stale-if-error=600"})
    answer = response.json()
    assert response.status_code == 200
    assert (answer["stale"], answer["reason"]) == (True, "BROKER_UNAVAILABLE")
    assert answer["age_ms"] >= 5000


async def test_the_same_data_need_not_be_sent_again(http: httpx.AsyncClient, worker: Any) -> None:
    first = await http.get(PATH)
    second = await http.get(PATH, headers={"if-none-match": first.headers["etag"]})
    assert (second.status_code, second.content) == (304, b"")
    assert second.headers["etag"] == first.headers["etag"]
    assert "age" in second.headers
    other = await http.get(f"{PATH}/positions", headers={"if-none-match": first.headers["etag"]})
    assert other.status_code == 200


async def test_an_error_is_a_problem_with_all_that_is_known(
    http: httpx.AsyncClient, worker: Any
) -> None:
    worker.answer_with(
        MT5AuthError("refused", mt5_error=(-6, "Authorization failed"), retry_after=30.2)
    )
    response = await http.get(PATH)
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["retry-after"] == "31"
    assert response.status_code == problem["status"] == 424
    assert problem["code"] == "MT5_AUTH_FAILED"
    assert (problem["retryable"], problem["retry_after_ms"]) == (False, 30200)
    assert problem["mt5"] == {"code": -6, "text": "Authorization failed"}
    assert problem["request_id"] == worker.requests[0].id


async def test_an_unknown_symbol_is_not_found(http: httpx.AsyncClient, worker: Any) -> None:
    worker.answer_with(NotFoundError("symbol 'X' is not known"))
    assert (await http.get(f"{PATH}/symbols/X")).status_code == 404


@pytest.mark.parametrize(
    ("path", "status", "word"),
    [
        ("/v1/accounts/nobody", 422, "LOGIN@SERVER"),
        (f"{PATH}/deals", 400, "from"),
        (f"{PATH}/deals?from=2026-13-01&to=5", 400, "from"),
        (f"{PATH}/deals?from=2026-01-01T00:00:00%2B03:00&to=5", 422, "time zone"),
        (f"{PATH}/deals?from=1769817600000&to=1767225600000", 422, "after"),
        (f"{PATH}/deals?from=1700000000&to=1900000000", 422, "from: 1700000000 ms is before 1973"),
        (f"{PATH}/deals?from=0&to=1900000000", 422, "to: 1900000000 ms is before 1973"),
        (f"{PATH}/deals?from=7&to=5&from=8", 400, "twice"),
        (f"{PATH}?form=1", 400, "form"),
        (f"{PATH}?x=%ff", 400, "query"),
        (f"{PATH}/symbols/EURUSD/rates?timeframe=M7&count=1", 400, "timeframe"),
        (f"{PATH}/symbols/EURUSD/rates?timeframe=M5&count=0", 400, "count"),
        (f"{PATH}/symbols/EURUSD/rates?timeframe=M5&count=1e3", 400, "count"),
        (f"{PATH}/symbols/{'X' * 32}", 400, "symbol"),
        (f"{PATH}/nothing", 404, "/docs"),
    ],
    ids=str,
)
async def test_what_is_wrong_is_named(
    http: httpx.AsyncClient, path: str, status: int, word: str
) -> None:
    response = await http.get(path)
    assert response.status_code == status
    assert word in response.json()["detail"]


async def test_another_method_is_refused_with_those_that_there_are(
    http: httpx.AsyncClient,
) -> None:
    response = await http.delete("/health")
    assert response.status_code == 405
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD"}
    assert response.json()["code"] == "METHOD_NOT_ALLOWED"


async def test_prefer_wait_bounds_the_wait(http: httpx.AsyncClient, worker: Any) -> None:
    worker.stay_silent()
    response = await http.get(PATH, headers={"prefer": "wait=1"})
    assert response.status_code == 504
    assert response.json()["code"] == "DEADLINE_EXCEEDED"
    assert worker.requests[0].timeout_ms <= 1000


async def test_whoever_hangs_up_waits_no_more(
    http: httpx.AsyncClient,
    worker: Any,
    eventually: Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]],
) -> None:
    worker.stay_silent()
    asking = asyncio.create_task(http.get(PATH))

    async def has_arrived() -> bool:
        return bool(worker.requests)

    await eventually(has_arrived)
    await end(asking)

    async def is_withdrawn() -> bool:
        (request,) = worker.requests
        marker = await worker.redis.hgetall(worker.keys.request(request.id))
        return not any(field.startswith(b"to:") for field in marker)

    await eventually(is_withdrawn)


async def test_the_last_read_is_there_however_old(http: httpx.AsyncClient, worker: Any) -> None:
    missing = await http.get(f"{PATH}/snapshot")
    assert (missing.status_code, missing.json()["code"]) == (404, "NO_SNAPSHOT")
    await worker.store_snapshot(ACCOUNT, age=100_000)
    found = await http.get(f"{PATH}/snapshot")
    assert found.json()["account_info"]["balance"] == 77.0
    assert int(found.headers["age"]) >= 100_000
    again = await http.get(f"{PATH}/snapshot", headers={"if-none-match": found.headers["etag"]})
    assert again.status_code == 304
    assert worker.requests == []


async def test_one_idempotency_key_is_one_request(http: httpx.AsyncClient, worker: Any) -> None:
    headers = {"idempotency-key": '"k-1"'}
    answers = await asyncio.gather(*(http.get(PATH, headers=headers) for _ in range(5)))
    assert len({answer.json()["request_id"] for answer in answers}) == 1
    assert len(worker.requests) == 1
    other = await http.get(f"{PATH}/orders", headers=headers)
    assert other.status_code == 422
    assert "another question" in other.json()["detail"]
    bad = await http.get(PATH, headers={"idempotency-key": "two words"})
    assert bad.status_code == 400


async def test_head_tells_what_get_would(http: httpx.AsyncClient, worker: Any) -> None:
    response = await http.head(PATH)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["etag"]
