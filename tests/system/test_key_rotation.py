"""The worker's key is changed while it works: nobody enrols again, and nobody notices."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import pytest
from tests.limits import HANG_LIMIT
from tests.system.conftest import BRIEF_LEASE, System, password_of, until, write_book

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.envelopes import decode_sealing_key, read_envelope
from mt5relay_shared.sealing import seal
from mt5relay_shared.secret import Secret
from mt5relay_worker.key_file import read_key_file, replace_key_file

pytestmark = pytest.mark.integration

RETIRE = ("rotate-key", "--retire", "--json")


async def command(system: System, *words: str, **settings: str) -> tuple[int, dict[str, Any]]:
    """Run `mt5relay-worker` as the operator does, with the worker's settings."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mt5relay_worker", *words),
        env={**os.environ, **system.settings(**settings)},
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 90)
    return process.returncode or 0, json.loads(said)


async def key_ids(system: System) -> set[str]:
    """For which keys the credentials in Redis are sealed."""
    bodies = await system.redis.hvals(system.keys.accounts)
    return {found.key_id for body in bodies if (found := read_envelope(body)) is not None}


def held(system: System) -> list[str]:
    return read_key_file(system.directory / "worker.key").ring.key_ids


async def test_a_key_is_changed_in_three_steps_while_clients_ask(system: System) -> None:
    await system.start()
    (old,) = held(system)
    asked, failures = 0, list[Exception]()
    done = asyncio.Event()

    async def keep_asking() -> None:
        nonlocal asked
        async with system.client(timeout=HANG_LIMIT) as client:
            while not done.is_set():
                for account in system.accounts[:3]:
                    try:
                        await client.positions(account)
                    except Exception as error:
                        failures.append(error)
                    asked += 1

    asking = asyncio.create_task(keep_asking())
    status, said = await command(system, "rotate-key", "--prepare", "--json")
    assert (status, said["key_ids"][0]) == (0, old)
    new = said["key_ids"][1]
    assert await key_ids(system) == {old}

    status, said = await command(system, "rotate-key", "--json")
    assert (status, said["key_ids"]) == (0, [new, old])
    assert await key_ids(system) == {new}
    published = decode_sealing_key(await system.redis.get(system.keys.sealing_key))
    assert published.key_id == new

    _, shown = await command(system, "keys", "--json")
    counts = [(row["key_id"], row["role"], row["credentials"]) for row in shown["keys"]]
    assert counts == [(new, "current", len(system.accounts)), (old, "old", 0)]

    status, said = await command(system, *RETIRE)
    assert (status, said["key_ids"], held(system)) == (0, [new], [new])
    done.set()
    await asking
    assert failures == []
    assert asked > 10
    assert len(system.logged("terminal.process.started")) == 1, "the worker was not restarted"
    resealed = [event for event in await system.events() if event.get("to") == "resealed"]
    assert [(one["kind"], one["detail"]) for one in resealed] == [("credential", "10")]


async def test_who_is_logged_in_need_not_log_in_anew_for_a_new_key(system: System) -> None:
    await system.start()
    account = system.accounts[0]
    async with system.client(timeout=HANG_LIMIT) as client:
        await client.positions(account)
        await system.until_health(logins=b"1")
        assert (await command(system, "rotate-key", "--json"))[0] == 0
        await client.positions(account)
        await client.positions(account)
    assert len(system.logged("credential.resealed")) == len(system.accounts)
    await system.until_health(logins=b"1", requests_total=b"3")


async def test_a_worker_that_died_half_way_goes_on_when_it_is_started_again(
    system: System,
) -> None:
    worker = await system.start(**BRIEF_LEASE)
    worker.end()
    path = system.directory / "worker.key"
    replace_key_file(path, read_key_file(path).changed())  # and then the command was killed
    status, said = await command(system, "rotate-key", "--json", "--timeout", "1")
    assert status == 1
    assert "no worker runs" in said["problem"] or "not published" in said["problem"]
    assert len(held(system)) == 2, "no second change was begun"

    system.start_worker()
    status, said = await command(system, *RETIRE)
    assert (status, said["problem"]) == (0, None)
    assert await key_ids(system) == set(held(system))
    async with system.client(timeout=HANG_LIMIT) as client:
        assert await client.positions(system.accounts[0])


async def test_two_who_change_it_at_once_do_it_once(system: System) -> None:
    await system.start()
    ended = await asyncio.gather(*(command(system, *RETIRE) for _ in range(2)))
    statuses = [status for status, _ in ended]
    assert 0 in statuses
    refused = [said["problem"] for status, said in ended if status]
    assert all("another `rotate-key`" in problem for problem in refused)
    assert await key_ids(system) == set(held(system))


async def test_the_old_key_is_kept_while_something_is_sealed_for_it(system: System) -> None:
    await system.start()
    (old,) = held(system)
    old_key = decode_sealing_key(await system.redis.get(system.keys.sealing_key))
    assert (await command(system, "rotate-key", "--json"))[0] == 0
    # Somebody's envelope does not open: it was moved from another account.
    moved = seal(Secret("invented"), system.accounts[1], old_key, 0)
    await system.redis.hset(system.keys.accounts, str(system.accounts[0]), moved)
    status, said = await command(system, *RETIRE, "--timeout", "3")
    assert status == 1
    assert str(system.accounts[0]) in said["problem"]
    assert old in held(system)


async def test_who_enrols_for_the_old_key_during_the_change_is_sealed_anew_too(
    system: System,
) -> None:
    await system.start()
    old_key = decode_sealing_key(await system.redis.get(system.keys.sealing_key))
    assert (await command(system, "rotate-key", "--json"))[0] == 0
    account = AccountId(799_999, "Alpha-Demo")
    write_book(system.directory / "book.json", [*system.accounts, account])
    late = seal(Secret(password_of(account)), account, old_key, 5)
    await system.redis.hset(system.keys.accounts, str(account), late)

    async def is_resealed() -> bool:
        body = await system.redis.hget(system.keys.accounts, str(account))
        found = read_envelope(body)
        return found is not None and found.key_id == held(system)[0] and found.sealed_at_ms == 5

    await until(is_resealed, system.tail, limit=60)


async def test_the_worker_publishes_its_key_anew_where_it_was_replaced(system: System) -> None:
    await system.start()
    genuine = await system.redis.get(system.keys.sealing_key)
    await system.redis.delete(system.keys.sealing_key)

    async def is_back() -> bool:
        return bool(await system.redis.get(system.keys.sealing_key) == genuine)

    await until(is_back, system.tail, limit=60)
