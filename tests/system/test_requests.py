"""What a user sees of the whole system when all is well."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from tests.leaks.planted import planted
from tests.limits import HANG_LIMIT
from tests.system.conftest import until

from mt5relay_shared.errors import AccountUnknownError, MT5AuthError, NotFoundError
from mt5relay_shared.records import AccountInfo

pytestmark = pytest.mark.integration

if TYPE_CHECKING:
    from tests.system.conftest import System


async def test_every_operation_is_answered_with_the_packages_own_fields(system: System) -> None:
    await system.start()
    account = system.accounts[0]
    now = datetime.now(UTC)
    async with system.client() as client:
        info = await client.account_info(account)
        positions = await client.positions(account)
        orders = await client.orders(account)
        deals = await client.deals(account, now - timedelta(days=60), now + timedelta(days=1))
        past = await client.history_orders(account, now - timedelta(days=60), now)
        symbol = await client.symbol(account, "EURUSD")
        tick = await client.tick(account, "EURUSD")
        rates = await client.rates(account, "EURUSD", "M5", 10)
    assert (info.data.login, info.data.server) == (account.login, account.server)
    assert len(AccountInfo.__struct_fields__) == 28
    assert info.source == "terminal"
    assert not info.stale
    assert [position.symbol for position in positions.data] == ["EURUSD"]
    assert orders.data == []
    assert deals.data
    assert isinstance(past.data, list)
    assert symbol.data.name == "EURUSD"
    assert tick.data.ask >= tick.data.bid > 0
    assert len(rates.data) == 10


async def test_many_askers_of_one_account_share_one_login(system: System) -> None:
    await system.start()
    async with system.client() as client:
        await asyncio.gather(*(client.positions(account) for account in system.accounts[:3] * 100))
    health = await system.until_health(requests_total=b"300")
    assert int(health[b"logins"]) < 20


async def test_a_fresh_snapshot_answers_without_the_terminal(system: System) -> None:
    await system.start()
    account = system.accounts[0]
    async with system.client() as client:
        await client.account_info(account)
        visits = (await system.until_health(requests_total=b"1"))[b"visits"]
        again = await client.orders(account, max_age=60)
        stored = await client.snapshot(account)
    assert again.source == "snapshot"
    assert stored is not None
    assert stored.account_info.login == account.login
    assert (await system.health())[b"visits"] == visits


async def test_a_plain_xadd_is_answered_durably_and_on_its_reply_stream(system: System) -> None:
    await system.start()
    stream = system.keys.replies("legacy")
    await system.redis.xadd(stream, {"hello": "1"})
    body = {
        "v": 1,
        "id": "legacy-1",
        "account": str(system.accounts[1]),
        "operation": "account_info",
        "reply_to": "legacy",
    }
    await system.redis.xadd(system.keys.requests, {"request": json.dumps(body)})

    async def is_answered() -> bool:
        return bool(await system.redis.exists(system.keys.reply("legacy-1")))

    await until(is_answered, system.tail)
    stored = await system.redis.get(system.keys.reply("legacy-1"))
    told = [fields for _, fields in await system.redis.xrange(stream)]
    assert told == [{b"hello": b"1"}, {b"legacy-1": stored}]
    assert json.loads(stored)["data"]["login"] == system.accounts[1].login
    assert await system.redis.xlen(system.keys.requests) == 0


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"id": "bad-1", "account": "nobody", "operation": "tick"}, "LOGIN@SERVER"),
        ({"id": "bad-2", "account": "1@X", "operation": "tock"}, "operation"),
        ({"id": "bad-3", "account": "1@X", "operation": "tick"}, "symbol"),
        ({"id": "bad-4", "account": 1, "operation": "tick"}, "account"),
        ({"id": "bad-5", "account": "1@X", "operation": "orders", "timeout_ms": -1}, "timeout_ms"),
    ],
)
async def test_a_malformed_request_is_told_which_field_is_wrong(
    system: System, body: dict[str, object], complaint: str
) -> None:
    await system.start()
    await system.redis.xadd(system.keys.requests, {"request": json.dumps(body)})
    async with system.client() as client:
        with pytest.raises(Exception, match=complaint):
            await client.fetch_reply(str(body["id"]), wait=HANG_LIMIT)


async def test_what_cannot_be_answered_is_kept_as_a_dead_letter(system: System) -> None:
    await system.start()
    await system.redis.xadd(system.keys.requests, {"request": "not json"})
    await system.redis.xadd(system.keys.requests, {"other": "field"})
    async with system.client() as client:
        await client.account_info(system.accounts[0])
    letters = await system.redis.xrange(system.keys.dead)
    assert [fields[b"request"] for _, fields in letters] == [b"not json", b""]


async def test_an_account_without_credential_and_an_unknown_symbol_are_said_to_be_so(
    system: System,
) -> None:
    await system.start()
    async with system.client() as client:
        with pytest.raises(AccountUnknownError, match="accounts add 999@Alpha-Demo"):
            await client.account_info("999@Alpha-Demo")
        with pytest.raises(NotFoundError):
            await client.tick(system.accounts[0], "NOSUCH")


async def test_a_wrong_password_locks_out_its_account_and_nobody_else(system: System) -> None:
    await system.start()
    bad, good = system.accounts[0], system.accounts[1]
    await system.enrol([bad], planted("wrong"))
    async with system.client() as client:
        with pytest.raises(MT5AuthError) as refused:
            await client.account_info(bad)
        with pytest.raises(MT5AuthError):
            await client.account_info(bad)
        assert (await client.account_info(good)).data.login == good.login
        await system.enrol([bad])  # a changed credential lifts the lock-out
        assert (await client.account_info(bad)).data.login == bad.login
    assert refused.value.mt5_error == (-6, "Terminal: Authorization failed")
    assert (refused.value.retry_after or 0) > 0
    changes = [event for event in await system.events() if event["kind"] in ("state", "breaker")]
    assert [event["to"] for event in changes] == ["CONNECTED"]
