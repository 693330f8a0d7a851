"""What happens, as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest
from redis.asyncio import Redis
from tests.limits import HANG_LIMIT
from tests.servers import running_server

from mt5relay_gateway.http import HttpSettings
from mt5relay_gateway.http.events import parse_cursors, spelled_cursors
from mt5relay_gateway.testing import a_health
from mt5relay_shared.health import encode_health
from mt5relay_shared.keys import Keys

ACCOUNT = "25115284@MetaQuotes-Demo"


class Stream:
    """Reads events one by one."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()

    async def next(self, *kinds: str) -> dict[str, Any]:
        """The next event of one of these kinds, with its id."""
        async with asyncio.timeout(HANG_LIMIT):
            while True:
                found = await self._read()
                if found["event"] in kinds:
                    return found

    async def _read(self) -> dict[str, Any]:
        fields: dict[str, str] = {}
        async for line in self._lines:
            if not line and "event" in fields:
                data = msgspec.json.decode(fields["data"])
                return {"event": fields["event"], "id": fields.get("id"), "data": data}
            name, _, value = line.partition(": ")
            if name:
                fields[name] = value
        raise AssertionError("the stream has ended")


@asynccontextmanager
async def _stream(
    http: httpx.AsyncClient, query: str = "", **headers: str
) -> AsyncGenerator[Stream]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with http.stream("GET", f"/v1/events{query}", headers=named) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Stream(response)


@pytest.fixture
def record(redis: Redis, keys: Keys) -> Callable[..., Any]:
    async def add(**event: Any) -> None:
        await redis.xadd(keys.events, {"event": msgspec.json.encode({"at_ms": 1, **event})})

    return add


async def test_whoever_comes_is_told_how_things_are(http: httpx.AsyncClient, worker: Any) -> None:
    await worker.say_health(**encode_health(a_health()))
    async with _stream(http) as stream:
        health = await stream.next("health")
        assert health["data"]["terminal"] == "main"
        assert health["data"]["health"]["state"] == "CONNECTED"
        assert health["id"] is None
        assert (await stream.next("queue"))["data"] == {"terminal": "main", "line": []}
        await worker.say_health(state="RECONNECTING")
        assert (await stream.next("health"))["data"]["health"]["state"] == "RECONNECTING"


async def test_what_happens_is_told_as_it_happens(
    http: httpx.AsyncClient, worker: Any, record: Any
) -> None:
    await record(kind="state", to="CONNECTED")
    async with _stream(http) as stream:
        await stream.next("health")
        await record(kind="breaker", **{"from": "CLOSED"}, to="OPEN", cause="three failures")
        told = await stream.next("state", "breaker")
    assert told["event"] == "breaker"
    assert told["data"] == {
        "terminal": "main", "at_ms": 1, "kind": "breaker", "from": "CLOSED", "to": "OPEN",
        "cause": "three failures",
    }  # fmt: skip


async def test_past_events_can_be_asked_for(
    http: httpx.AsyncClient, worker: Any, record: Any
) -> None:
    for number in range(5):
        await record(kind="state", to=f"S{number}")
    async with _stream(http, "?last=2") as stream:
        assert [(await stream.next("state"))["data"]["to"] for _ in range(2)] == ["S3", "S4"]
    for wrong in ("?last=x", "?last=1001", "?first=1"):
        assert (await http.get(f"/v1/events{wrong}")).status_code == 400


async def test_a_stream_is_taken_up_where_it_was_left(
    http: httpx.AsyncClient, worker: Any, record: Any, redis: Redis, keys: Keys
) -> None:
    async with _stream(http) as stream:
        await stream.next("health")
        await record(kind="state", to="A")
        last = (await stream.next("state"))["id"]
    await record(kind="state", to="B")
    await record(kind="state", to="C")
    async with _stream(http, last_event_id=last) as stream:
        assert [(await stream.next("state", "gap"))["data"].get("to") for _ in range(2)] == [
            "B",
            "C",
        ]
    await redis.xtrim(keys.events, maxlen=1, approximate=False)
    async with _stream(http, last_event_id=last) as stream:
        assert (await stream.next("state", "gap"))["event"] == "gap"
        assert (await stream.next("state"))["data"]["to"] == "C"


async def test_logins_that_the_token_may_not_see_are_masked(
    http: httpx.AsyncClient, worker: Any, token: Any, record: Any, keys: Keys
) -> None:
    health = msgspec.structs.replace(a_health(), current_account=ACCOUNT)
    await worker.say_health(**encode_health(health))
    await worker.redis.hset(keys.queue, ACCOUNT, '{"waiting":1,"since_ms":1,"by_ms":2}')
    await record(kind="state", to="ERROR", cause=f"login to {ACCOUNT} failed")
    restricted = f"Bearer {await token(accounts=('1@*',))}"
    async with _stream(http, "?last=5", authorization=restricted) as stream:
        told = [await stream.next(kind) for kind in ("state", "health", "queue")]
    async with _stream(http, "?last=5") as stream:
        open_told = [await stream.next(kind) for kind in ("state", "health", "queue")]
    assert "25115284" not in str(told)
    assert str(told).count("***84@MetaQuotes-Demo") == 3
    assert str(open_told).count(ACCOUNT) == 3


async def test_streams_are_bounded_and_end_with_the_gateway(
    settings: HttpSettings, served: Any, token: Any, worker: Any
) -> None:
    few = settings.model_copy(update={"http_streams": 1})
    headers = {"authorization": f"Bearer {await token()}"}
    async with httpx.AsyncClient(headers=headers, timeout=HANG_LIMIT) as caller:
        async with served(few) as address:
            caller.base_url = httpx.URL(address)
            request = caller.build_request("GET", "/v1/events")
            first = await caller.send(request, stream=True)
            stream = Stream(first)
            await stream.next("health")
            second = await caller.get("/v1/events")
            assert (second.status_code, second.json()["code"]) == (503, "TOO_MANY_STREAMS")
        with pytest.raises(AssertionError, match="has ended"):
            await stream.next("never")
        await first.aclose()


async def test_a_stream_says_when_redis_is_away_and_goes_on(
    at_store: Any, served: Any, keys: Keys
) -> None:
    with running_server() as store:
        elsewhere = at_store(store.url, http_auth="off")
        async with (
            served(elsewhere) as address,
            httpx.AsyncClient(base_url=address, timeout=HANG_LIMIT) as caller,
            _stream(caller) as stream,
        ):
            assert (await stream.next("health"))["data"]["health"] is None
            store.kill()
            problem = await stream.next("problem")
            assert problem["data"]["code"] == "REDIS_UNAVAILABLE"
            store.start()
            assert (await stream.next("health"))["data"]["terminal"] == keys.terminal


def test_an_id_says_how_far_each_terminal_was_read() -> None:
    cursors = {"b": "2-0", "a": "1-7"}
    assert spelled_cursors(cursors) == "a:1-7,b:2-0"
    assert parse_cursors("a:1-7,b:2-0") == cursors
    assert parse_cursors("") == parse_cursors("x,a:,a:1,:1-1,a:1-1-1") == {}
