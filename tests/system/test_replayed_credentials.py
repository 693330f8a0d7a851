"""Who can write to Redis puts an old credential back: the worker refuses it, and says so."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.leaks.planted import planted
from tests.limits import HANG_LIMIT
from tests.system.conftest import System, password_of, until

from mt5relay_gateway import AccountClient
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.envelopes import Envelope, decode_sealing_key, read_envelope
from mt5relay_shared.errors import MT5StateError
from mt5relay_shared.sealing import seal
from mt5relay_shared.secret import Secret

pytestmark = pytest.mark.integration

DAY_MS = 86_400_000
NOON = 20_000 * DAY_MS


async def sealed(system: System, account: AccountId, at_ms: int, *, version: int = 2) -> bytes:
    key = decode_sealing_key(await system.redis.get(system.keys.sealing_key))
    if version == 1:
        key = type(key)(key.key_id, key.public_key)
    return seal(Secret(password_of(account)), account, key, at_ms)


async def put(system: System, account: AccountId, envelope: bytes) -> None:
    await system.redis.hset(system.keys.accounts, str(account), envelope)


@pytest.fixture
async def client(system: System) -> AsyncIterator[AccountClient]:
    async with system.client(timeout=HANG_LIMIT) as client:
        yield client


async def refusals(system: System) -> list[tuple[str, str]]:
    found = [one for one in await system.events() if one["kind"] == "credential"]
    return [(one["detail"], one["cause"]) for one in found if one["to"] == "refused"]


async def until_refused(system: System, account: AccountId, why: str) -> None:
    """Until the event is there: it is written beside the reply, by nobody waited for."""

    async def is_told() -> bool:
        return (str(account), why) in await refusals(system)

    await until(is_told, system.tail)


async def test_an_older_credential_is_refused_also_after_a_restart(
    system: System, client: AccountClient
) -> None:
    worker = await system.start()
    account = system.accounts[0]
    old, new = await sealed(system, account, NOON), await sealed(system, account, NOON + DAY_MS)
    await put(system, account, new)  # `old` was never used here: its time alone tells
    assert await client.positions(account)
    await put(system, account, old)
    with pytest.raises(MT5StateError, match=f"older than .*accounts add {account}") as refused:
        await client.positions(account)
    assert refused.value.code == "INVALID_STATE"
    await until_refused(system, account, "replayed")
    worker.close_input()
    worker.wait()
    system.start_worker()
    await system.until_health(state=b"CONNECTED")
    with pytest.raises(MT5StateError, match="older than"):
        await client.positions(account)
    await put(system, account, await sealed(system, account, NOON + DAY_MS + 1))
    assert await client.positions(account), "who enrols anew is served"


async def test_a_replaced_credential_is_refused_whatever_its_time(
    system: System, client: AccountClient
) -> None:
    await system.start()
    account = system.accounts[0]
    first = await sealed(system, account, NOON, version=1)
    await put(system, account, first)
    assert await client.positions(account)
    await put(system, account, await sealed(system, account, NOON + 1, version=1))
    assert await client.positions(account)
    forged = read_envelope(first)
    assert isinstance(forged, Envelope)
    later: dict[str, Any] = {"v": 1, "key_id": forged.key_id, "ciphertext": forged.ciphertext}
    body = as_json({**later, "sealed_at_ms": NOON + DAY_MS})
    await put(system, account, body)
    with pytest.raises(MT5StateError, match="replaced or removed before"):
        await client.positions(account)


def as_json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).encode()


async def test_a_removed_credential_does_not_come_back(
    system: System, client: AccountClient
) -> None:
    await system.start()
    account = system.accounts[0]
    assert await client.positions(account)
    body = await system.redis.hget(system.keys.accounts, str(account))
    seen = system.directory / f"worker.key.{system.keys.terminal}.seen"

    async def knows_that_it_is_gone() -> bool:
        return b'"replaced"' in seen.read_bytes()

    await system.redis.hdel(system.keys.accounts, str(account))
    await until(knows_that_it_is_gone, system.tail, limit=90)
    await put(system, account, body)
    with pytest.raises(MT5StateError, match="removed before"):
        await client.positions(account)


async def test_a_changed_time_does_not_open(system: System, client: AccountClient) -> None:
    await system.start()
    account = system.accounts[0]
    body = await sealed(system, account, NOON)
    await put(system, account, body.replace(str(NOON).encode(), str(NOON + 1).encode()))
    with pytest.raises(MT5StateError, match="changed, or moved from another account"):
        await client.positions(account)


async def test_version_1_can_be_refused(system: System, client: AccountClient) -> None:
    await system.start(MT5_OLD_ENVELOPES="refuse")
    account = system.accounts[0]
    await put(system, account, await sealed(system, account, NOON, version=1))
    with pytest.raises(MT5StateError, match="MT5_OLD_ENVELOPES"):
        await client.positions(account)
    assert await client.positions(system.accounts[1])


# Investor-only mode


async def test_an_account_that_could_trade_is_refused_until_it_is_enrolled_as_an_investor(
    system: System, client: AccountClient
) -> None:
    account = system.accounts[0]
    investor = Secret(planted("investor"))
    give_investor_password(system, account, investor)
    await system.start(MT5_INVESTOR_ONLY="true")
    for _ in range(2):
        with pytest.raises(MT5StateError, match=f"investor password: .*accounts add {account}"):
            await client.positions(account)
    await system.until_health(logins=b"0", breaker=b"CLOSED")
    await until_refused(system, account, "trading_rights")
    key = decode_sealing_key(await system.redis.get(system.keys.sealing_key))
    await put(system, account, seal(investor, account, key, NOON))
    assert (await client.account_info(account)).data.trade_allowed is False


def give_investor_password(system: System, account: AccountId, password: Secret) -> None:
    path = system.directory / "book.json"
    book = json.loads(path.read_text())
    for one in book["accounts"]:
        if one["login"] == account.login:
            one["investor_password"] = password.reveal()
    path.write_text(json.dumps(book))
