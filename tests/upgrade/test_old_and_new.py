"""This tree's clients with the last release's worker, and the reverse."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tests.leaks.http import HearingClient
from tests.limits import HANG_LIMIT
from tests.system.conftest import System, password_of
from tests.upgrade.releases import Release

from mt5relay_gateway import AccountUnknownError, MT5ValidationError
from mt5relay_shared.envelopes import decode_sealing_key

pytestmark = pytest.mark.integration

PATIENT = {"prefer": "wait=60"}
PAIRINGS = ["old-clients-new-worker", "new-clients-old-worker"]


@pytest.fixture(params=PAIRINGS)
def sides(
    request: pytest.FixtureRequest, released: Release, current: Release
) -> tuple[Release, Release]:
    """The release of all clients, and that of the worker."""
    return (released, current) if request.param == PAIRINGS[0] else (current, released)


@pytest.fixture
def clients(sides: tuple[Release, Release]) -> Release:
    return sides[0]


@pytest.fixture
async def served(sides: tuple[Release, Release], system: System) -> System:
    """A system with a worker of the other release, and two accounts enrolled."""
    sides[1].start_worker(system)
    await system.until_health(state=b"CONNECTED")
    await system.enrol(system.accounts[:2])
    return system


async def test_the_library_is_answered_whatever_it_asks(served: System, clients: Release) -> None:
    account, other = map(str, served.accounts[:2])
    assert await clients.ask(served, "everything", account, other) == {
        "login": served.accounts[0].login,
        "source": "terminal",
        "symbols": ["EURUSD"],
        "orders": 0,
        "deals": pytest.approx(50, abs=49),
        "past": True,
        "symbol": "EURUSD",
        "spread": True,
        "rates": 10,
        "batch": [account, other] * 10,
        "fresh": "snapshot",
        "snapshot": served.accounts[0].login,
        "collected": other,
        "health": ["ok", "CONNECTED", "CLOSED"],
        "unknown_symbol": "NOT_FOUND",
        "unknown_account": "ACCOUNT_UNKNOWN",
    }


async def test_an_operator_can_do_everything(served: System, clients: Release) -> None:
    account, other = map(str, served.accounts[1:3])
    await served.redis.xadd(served.keys.requests, {"request": "not json"})
    await clients.enrol(served, served.accounts[2])
    said = await clients.commands(
        served,
        f"ask account_info {other} --json --timeout 20",
        "accounts list --json",
        "health --json",
        "dead list --json",
        "queue --json",
        "breaker reset",
        f"accounts unlock {account}",
        f"accounts remove {other}",
        "events --json",
    )
    assert [one.status for one in said] == [0] * len(said), said
    asked, listed, health, letters = (one.lines for one in said[:4])
    assert asked[0]["data"]["login"] == served.accounts[2].login
    assert {one["account"] for one in listed} == set(map(str, served.accounts[:3]))
    assert (health[0]["state"], health[0]["breaker"]) == ("CONNECTED", "CLOSED")
    assert [letter["request"] for letter in letters] == ["not json"]
    assert {"lease", "state", "command"} <= {event["kind"] for event in said[-1].lines}
    refused = await clients.command(served, "ask", "positions", other)
    assert "ACCOUNT_UNKNOWN" in refused.err


def data(response: Any) -> Any:
    assert response.status_code == 200, response.text
    return response.json()["data"]


async def test_an_http_gateway_serves(served: System, clients: Release) -> None:
    account, other = map(str, served.accounts[:2])
    scopes = ("--scope", "read", "--scope", "enroll")
    added = await clients.command(served, "tokens", "add", "upgrade", *scopes)
    assert added.status == 0, added.err
    key = decode_sealing_key(await served.redis.get(served.keys.sealing_key))
    headers = {"authorization": f"Bearer {added.out.split()[0]}"}
    async with (
        clients.gateway(served, MT5_SEALING_KEY_ID=key.key_id) as address,
        HearingClient(base_url=address, headers=headers, timeout=HANG_LIMIT) as http,
    ):
        info = data(await http.get(f"/v1/accounts/{account}", headers=PATIENT))
        assert info["login"] == served.accounts[0].login
        tick = data(await http.get(f"/v1/accounts/{account}/symbols/EURUSD/tick", headers=PATIENT))
        assert tick["bid"] > 0
        made = await http.post("/v1/requests", json={"account": other, "operation": "positions"})
        found = data(await http.get(made.headers["location"], headers=PATIENT))
        assert [one["symbol"] for one in found] == ["EURUSD"]
        question = {"accounts": [account, other], "operation": "account_info"}
        batch = await http.post("/v1/accounts:batch", json=question, headers=PATIENT)
        assert [json.loads(line)["status"] for line in batch.text.splitlines()] == ["ok", "ok"]
        third = served.accounts[2]
        sealed = await http.put(
            f"/v1/accounts/{third}/credential", json={"password": password_of(third)}
        )
        assert sealed.is_success, sealed.text
        info = data(await http.get(f"/v1/accounts/{third}", headers=PATIENT))
        assert info["login"] == third.login
        snapshot = await http.get(f"/v1/accounts/{account}/snapshot")
        assert snapshot.status_code == 200
        health = await http.get("/health")
        assert (health.status_code, health.json()["terminals"][0]["state"]) == (200, "CONNECTED")
        metrics = await http.get("/metrics")
        labels = f'state="CONNECTED",terminal="{served.keys.terminal}"'
        assert f"mt5relay_worker_state{{{labels}}} 1.0" in metrics.text
        async with http.stream("GET", "/v1/events", params={"last": 5}) as stream:
            lines = stream.aiter_lines()
            async with asyncio.timeout(HANG_LIMIT):
                while "event: health" not in await anext(lines):
                    pass
                told = json.loads((await anext(lines)).removeprefix("data: "))
        assert told


async def test_a_request_of_an_unknown_version_is_answered_and_told_so(
    system: System, current: Release
) -> None:
    """As a client of a release to come may write it."""
    current.start_worker(system)
    await system.redis.xadd(system.keys.replies("gw-next"), {"hello": "1"})
    for number, request_id in enumerate(["next-1", ["no", "id"]]):
        body = {"v": 2, "id": request_id, "account": {"login": number}, "reply_to": "gw-next"}
        await system.redis.xadd(system.keys.requests, {"request": json.dumps(body)})
    await system.until_health(wire_versions=b"1")
    async with system.client() as client:
        with pytest.raises(MT5ValidationError, match=r"v: 2 is not read .* reads 1; upgrade this"):
            await client.fetch_reply("next-1", wait=HANG_LIMIT)
        with pytest.raises(AccountUnknownError):  # answered last, so all before is settled
            await client.positions(system.accounts[0])
    reply = json.loads(await system.redis.get(system.keys.reply("next-1")))
    assert (reply["v"], reply["status"], reply["id"]) == (1, "error", "next-1")
    assert reply["error"]["code"] == "VALIDATION_FAILED"
    pushed = await system.redis.xrange(system.keys.replies("gw-next"))
    assert b"next-1" in pushed[-1][1]
    (letter,) = await system.redis.xrange(system.keys.dead)
    assert b"v: 2 is not read" in letter[1][b"error"]
