"""A worker of one release is followed by one of another, and what was left or is under way."""

from __future__ import annotations

import asyncio
import signal
import sys
from functools import partial
from typing import Any

import msgspec
import pytest
from tests.limits import HANG_LIMIT
from tests.system.conftest import BRIEF_LEASE, System, WorkerProcess, password_of
from tests.system.rolling import HAND_OVER_LIMIT, LASTING, hand_over, steady_load
from tests.upgrade.releases import Release

from mt5relay_gateway import MT5StateError
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.envelopes import decode_sealing_key
from mt5relay_shared.sealing import seal
from mt5relay_shared.secret import Secret

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals"),
]

DIRECTIONS = ["upgrade", "downgrade"]


@pytest.fixture(params=DIRECTIONS)
def direction(
    request: pytest.FixtureRequest, released: Release, current: Release
) -> tuple[Release, Release]:
    """Which release goes, and which comes."""
    return (released, current) if request.param == DIRECTIONS[0] else (current, released)


async def enrol_readable_by_both(system: System, accounts: list[AccountId]) -> None:
    """As the release did: in the envelope's version 1."""
    key = decode_sealing_key(await system.redis.get(system.keys.sealing_key))
    key = msgspec.structs.replace(key, envelope_version=1)
    for account in accounts:
        sealed = seal(Secret(password_of(account)), account, key, 0)
        await system.redis.hset(system.keys.accounts, str(account), sealed)


@pytest.mark.parametrize(
    ("direction", "number"),
    [("upgrade", "SIGTERM"), ("upgrade", "SIGKILL"), ("downgrade", "SIGTERM")],
    indirect=["direction"],
)
async def test_what_one_release_left_the_other_answers(
    system: System, direction: tuple[Release, Release], number: str
) -> None:
    """Requests of both releases' clients wait; some have been taken in by the worker that goes."""
    going, coming = direction
    first = going.start_worker(system, **BRIEF_LEASE)
    await system.until_health(state=b"CONNECTED")
    accounts = system.accounts[:4]
    await enrol_readable_by_both(system, accounts)
    system.set_faults(scale=0.3)  # a login takes long enough to leave most of them waiting
    ids = {
        str(account): [f"{account.login}-{number}" for number in range(20)] for account in accounts
    }
    asking = [
        asyncio.create_task(release.ask(system, "positions", account, ids[account], 60))
        for release, account in zip((going, coming) * 2, ids, strict=True)
    ]

    async def waiting() -> int:
        return int(await system.redis.xlen(system.keys.requests))

    markers = [system.keys.request(one) for asked in ids.values() for one in asked]
    async with asyncio.timeout(60):
        while await system.redis.exists(*markers) < len(markers):  # noqa: ASYNC110 - in processes
            await asyncio.sleep(0.02)
    first.process.send_signal(signal.Signals[number])
    await asyncio.to_thread(first.wait, 30)
    assert await waiting() > 0
    system.set_faults()
    coming.start_worker(system)
    for account, told in zip(ids, await asyncio.gather(*asking), strict=True):
        assert told["answers"] == [account] * 20
    assert await waiting() == 0
    assert not await system.redis.exists(system.keys.dead)


async def test_a_standby_of_another_release_takes_over_and_no_caller_sees_an_error(
    system: System, direction: tuple[Release, Release], current: Release
) -> None:
    """With this tree's clients: gateways are upgraded first."""
    going, coming = direction
    worker = going.start_worker(system, **LASTING)
    await system.until_health(state=b"CONNECTED")
    await enrol_readable_by_both(system, system.accounts)
    async with system.client(timeout=HANG_LIMIT) as client, steady_load(client, system) as load:
        start = partial(coming.start_worker, system, **LASTING)
        back, measured = await hand_over(system, worker, load, start)
        sys.stdout.write(f"{going} to {coming}: {measured}\n")
    assert load.errors == []
    assert measured.without_answer < HAND_OVER_LIMIT
    assert back.process.poll() is None


@pytest.mark.parametrize("worker", ["new-worker", "old-worker"])
async def test_clients_of_both_releases_share_a_queue_and_an_id(
    system: System, released: Release, current: Release, worker: str
) -> None:
    """Each has scripts of its own; what the one queued the other attaches to."""
    (current if worker == "new-worker" else released).start_worker(system)
    await system.until_health(state=b"CONNECTED")
    account = system.accounts[0]
    await system.enrol([account])
    system.set_faults(scale=0.5)
    ids = [f"shared-{number}" for number in range(30)]
    told: list[dict[str, Any]] = await asyncio.gather(
        *(
            release.ask(system, "positions", str(account), ids, 60)
            for release in (released, current)
        )
    )
    assert [one["answers"] for one in told] == [[str(account)] * 30] * 2
    # The total as well: a heartbeat from before the requests has an empty queue, too.
    await system.until_health(queue_depth=b"0", requests_total=b"30")
    assert await system.redis.hgetall(system.keys.shares) == {}


async def test_who_was_enrolled_since_the_upgrade_is_enrolled_again_after_going_back(
    system: System, released: Release, current: Release
) -> None:
    """The release opens no newer envelope; it says so, and what is enrolled then is kept."""

    async def follow(last: WorkerProcess, release: Release) -> WorkerProcess:
        last.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(last.wait, 30)
        worker = release.start_worker(system)
        await system.until_health(state=b"CONNECTED")
        return worker

    before, since = system.accounts[:2]
    worker = released.start_worker(system)
    await system.until_health(state=b"CONNECTED")
    await system.enrol([before])
    async with system.client(timeout=HANG_LIMIT) as client:
        worker = await follow(worker, current)
        await system.enrol([since])
        for account in (before, since):
            assert (await client.account_info(account)).data.login == account.login
        worker = await follow(worker, released)
        assert (await client.account_info(before)).data.login == before.login
        with pytest.raises(MT5StateError, match="enrol it again"):
            await client.account_info(since)
        await system.enrol([since])
        assert (await client.account_info(since)).data.login == since.login
        await follow(worker, current)
        for account in (before, since):
            assert (await client.account_info(account)).data.login == account.login
