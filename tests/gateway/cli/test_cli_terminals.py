"""`mt5relay terminals`, and what it means for `accounts` and `ask`."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from redis.asyncio import Redis

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.assignment import assign
from mt5relay_shared.keys import FleetKeys, Keys
from mt5relay_shared.sealing import (
    generate_private_key,
    load_private_key,
    open_envelope,
    public_part,
    seal,
)
from mt5relay_shared.secret import Secret

NORTHERN, SOUTHERN = AccountId(1, "MetaQuotes-Demo"), AccountId(2, "Alpha-Demo")  # by their servers
_prefixes = itertools.count(1)


@pytest.fixture
def prefix() -> str:
    return f"fleet-{os.getpid()}-{next(_prefixes)}"


@pytest.fixture
def keys(prefix: str) -> Keys:
    """Of the terminal at which the echo worker answers."""
    return Keys("north", prefix)


@pytest.fixture(autouse=True)
def environment_of_a_fleet(
    environment: dict[str, str], prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prefix of its own, and no terminal named."""
    monkeypatch.setenv("MT5_KEY_PREFIX", prefix)
    monkeypatch.delenv("MT5_TERMINAL_ID")
    environment["MT5_KEY_PREFIX"] = prefix
    del environment["MT5_TERMINAL_ID"]


@pytest.fixture
async def private_keys(redis: Redis, prefix: str) -> dict[str, X25519PrivateKey]:
    """Two terminals' keys, whose public parts their workers have published."""
    pairs = {name: load_private_key(generate_private_key()) for name in ("north", "south")}
    for name, pair in pairs.items():
        await redis.set(Keys(name, prefix).sealing_key, msgspec.json.encode(public_part(pair)))
    return pairs


async def enrolled(redis: Redis, prefix: str, terminal: str) -> dict[bytes, bytes]:
    found = redis.hgetall(Keys(terminal, prefix).accounts)
    return await cast(Awaitable[dict[bytes, bytes]], found)


async def enrol(
    redis: Redis, prefix: str, terminal: str, pair: X25519PrivateKey, account: AccountId
) -> None:
    envelope = seal(Secret("secret"), account, public_part(pair), 0)
    keys: Any = Keys(terminal, prefix)
    await cast(Any, redis).hset(keys.accounts, str(account), envelope)


async def registered(cli: Any) -> dict[str, str]:
    rows = (await cli("terminals", "list", "--json")).json_lines()
    return {row["terminal"]: row["state"] for row in rows}


async def both(cli: Any) -> None:
    for terminal in ("north", "south"):
        assert (await cli("terminals", "add", terminal)).status == 0


async def test_without_registered_terminals_it_says_so(cli: Any) -> None:
    assert (await cli("terminals", "list")).out == "no terminals are registered\n"
    where = (await cli("accounts", "where", str(NORTHERN))).out
    assert where == f"{NORTHERN}: terminal main, no terminals are registered\n"


@pytest.fixture
def drained_long_ago(redis: Redis, prefix: str) -> Callable[[str], Awaitable[None]]:
    """Let a draining terminal have been so since the beginning of time."""

    async def age(terminal: str) -> None:
        body = '{"state":"draining","since_ms":0}'
        await cast(Any, redis).hset(FleetKeys(prefix).terminals, terminal, body)

    return age


async def test_a_terminal_is_added_drained_resumed_and_removed(
    cli: Any, drained_long_ago: Callable[[str], Awaitable[None]]
) -> None:
    await both(cli)
    assert (await cli("terminals", "add", "north")).status == 1
    assert (await cli("terminals", "drain", "north")).status == 0
    assert await registered(cli) == {"north": "draining", "south": "active"}
    assert "draining already" in (await cli("terminals", "drain", "north")).err
    assert (await cli("terminals", "resume", "north")).out == "terminal north is active\n"
    refused = await cli("terminals", "remove", "north")
    assert refused.status == 1
    assert "drain" in refused.err
    await cli("terminals", "drain", "north")
    too_soon = await cli("terminals", "remove", "north")
    assert "may not have noticed yet" in too_soon.err
    await drained_long_ago("north")
    removed = (await cli("terminals", "remove", "north")).out
    assert removed == "removed terminal north; its worker can be stopped\n"
    assert await registered(cli) == {"south": "active"}


async def test_every_change_has_a_higher_version(cli: Any, redis: Redis, prefix: str) -> None:
    versions: list[int] = []
    for words in (("add", "a"), ("add", "b"), ("drain", "a"), ("resume", "a")):
        await cli("terminals", *words)
        versions.append(int(await redis.get(FleetKeys(prefix).version) or 0))
    assert versions == sorted(set(versions))


async def test_two_operators_at_once_do_not_undo_each_other(program: Any, cli: Any) -> None:
    names = ["a", "b", "c"]
    ended = await asyncio.gather(*(program("terminals", "add", name) for name in names))
    succeeded = {name for name, one in zip(names, ended, strict=True) if one.status == 0}
    assert set(await registered(cli)) == succeeded
    assert all("try again" in one.err for one in ended if one.status)


async def test_a_name_that_is_no_terminal_is_refused(cli: Any) -> None:
    assert (await cli("terminals", "add", "a b")).status == 2
    unknown = await cli("terminals", "drain", "nowhere")
    assert unknown.status == 1
    assert "registered: none" in unknown.err


async def test_the_list_shows_health_and_what_waits(cli: Any, worker: Any, redis: Redis) -> None:
    await both(cli)
    await cli("accounts", "pin", str(SOUTHERN), "north")
    await redis.xadd(Keys("south", worker.keys.prefix).requests, {"request": "{}"})
    north, south = (await cli("terminals", "list", "--json")).json_lines()
    assert (north["status"], north["waiting"], north["pins"]) == ("ok", 0, 1)
    assert (south["status"], south["waiting"], south["pins"]) == ("down", 1, 0)
    assert "south" in (await cli("terminals", "list")).out


async def test_a_terminal_where_requests_wait_is_not_forgotten_by_accident(
    cli: Any, redis: Redis, prefix: str
) -> None:
    await both(cli)
    await cli("accounts", "pin", str(SOUTHERN), "north")
    await cli("terminals", "drain", "north")
    await redis.xadd(Keys("north", prefix).requests, {"request": "{}"})
    assert "1 request(s) wait" in (await cli("terminals", "remove", "north")).err
    assert (await cli("terminals", "remove", "north", "--anyway")).status == 0
    assert await redis.exists(FleetKeys(prefix).pins) == 0


async def test_the_last_active_terminal_is_not_drained_by_accident(cli: Any) -> None:
    await cli("terminals", "add", "north")
    assert "no other terminal is active" in (await cli("terminals", "drain", "north")).err
    assert (await cli("terminals", "drain", "north", "--anyway")).status == 0


class TestHandOver:
    """Accounts go only where a credential is sealed for them."""

    async def test_a_new_terminal_takes_no_account_that_it_cannot_log_in_to(
        self, cli: Any, redis: Redis, prefix: str, private_keys: dict[str, X25519PrivateKey]
    ) -> None:
        await cli("terminals", "add", "north")
        for account in (NORTHERN, SOUTHERN):
            await enrol(redis, prefix, "north", private_keys["north"], account)
        refused = await cli("terminals", "add", "south")
        assert refused.status == 1
        assert f"1 account(s) would go to a terminal that can't log in to them, as {SOUTHERN}" in (
            refused.err
        )
        assert await registered(cli) == {"north": "active"}
        assert (await cli("terminals", "add", "south", "--draining")).status == 0
        assert (await cli("terminals", "resume", "south")).status == 1
        await enrol(redis, prefix, "south", private_keys["south"], SOUTHERN)
        assert (await cli("terminals", "resume", "south")).status == 0

    async def test_draining_needs_somebody_who_can_take_over(
        self, cli: Any, redis: Redis, prefix: str, private_keys: dict[str, X25519PrivateKey]
    ) -> None:
        await both(cli)
        await enrol(redis, prefix, "south", private_keys["south"], SOUTHERN)
        refused = await cli("terminals", "drain", "south")
        assert f"accounts add {SOUTHERN} --terminal north" in refused.err
        assert (await cli("terminals", "drain", "south", "--anyway")).status == 0

    async def test_a_credential_for_an_old_key_of_the_terminal_does_not_count(
        self, cli: Any, redis: Redis, prefix: str, private_keys: dict[str, X25519PrivateKey]
    ) -> None:
        await both(cli)
        await enrol(redis, prefix, "south", private_keys["south"], SOUTHERN)
        await enrol(redis, prefix, "north", load_private_key(generate_private_key()), SOUTHERN)
        assert (await cli("terminals", "drain", "south")).status == 1

    async def test_a_pin_is_checked_likewise(
        self, cli: Any, redis: Redis, prefix: str, private_keys: dict[str, X25519PrivateKey]
    ) -> None:
        await both(cli)
        await enrol(redis, prefix, "south", private_keys["south"], SOUTHERN)
        assert (await cli("accounts", "pin", str(SOUTHERN), "north")).status == 1
        assert (await cli("accounts", "pin", str(SOUTHERN), "north", "--anyway")).status == 0


class TestPins:
    async def test_an_account_is_pinned_and_unpinned_and_where_says_why(self, cli: Any) -> None:
        await both(cli)
        account = str(SOUTHERN)
        by_server = (await cli("accounts", "where", account)).out
        assert by_server == f"{account}: terminal south, by its server Alpha-Demo\n"
        await cli("accounts", "pin", account, "north")
        assert (await cli("accounts", "where", account)).out.endswith("terminal north, pinned\n")
        await cli("terminals", "drain", "north")
        where = (await cli("accounts", "where", account, "--json")).json()
        assert where["terminal"] == "south"
        assert "to which it is pinned, is not active" in where["because"]
        assert (await cli("accounts", "unpin", account)).out == f"unpinned {account}\n"
        assert (await cli("accounts", "unpin", account)).status == 1

    async def test_a_pin_needs_a_registered_terminal(self, cli: Any) -> None:
        await both(cli)
        refused = await cli("accounts", "pin", str(NORTHERN), "west")
        assert "registered: north, south" in refused.err


class TestEnrolment:
    ADD = ("accounts", "add", str(NORTHERN))

    @pytest.fixture
    async def pins(self, cli: Any, private_keys: dict[str, X25519PrivateKey]) -> str:
        """Both terminals' key ids, as MT5_SEALING_KEY_ID has them."""
        await both(cli)
        return ", ".join(public_part(pair).key_id for pair in private_keys.values())

    async def test_an_account_is_sealed_for_every_registered_terminal(
        self,
        program: Any,
        redis: Redis,
        prefix: str,
        private_keys: dict[str, X25519PrivateKey],
        pins: str,
    ) -> None:
        await program("terminals", "drain", "south")
        ended = await program(*self.ADD, text="secret\n", MT5_SEALING_KEY_ID=pins)
        assert (ended.status, ended.err) == (0, "")
        for terminal, pair in private_keys.items():
            envelope = (await enrolled(redis, prefix, terminal))[str(NORTHERN).encode()]
            assert open_envelope(envelope, NORTHERN, pair).reveal() == "secret"

    async def test_an_account_is_listed_and_removed_at_every_registered_terminal(
        self, program: Any, cli: Any, pins: str
    ) -> None:
        await program(*self.ADD, "--key-id", pins, text="secret\n")
        listed = (await cli("accounts", "list", "--json")).json_lines()
        assert [one["terminal"] for one in listed] == ["north", "south"]
        assert (await cli("accounts", "remove", str(NORTHERN))).status == 0
        assert (await cli("accounts", "list", "--json")).json_lines() == []

    async def test_one_key_that_is_not_pinned_seals_nothing_anywhere(
        self, program: Any, redis: Redis, prefix: str, pins: str
    ) -> None:
        north, south = pins.split(", ")
        ended = await program(*self.ADD, "--key-id", north, text="secret\n")
        assert ended.status == 2
        assert f"published for terminal south is {south}" in ended.err
        assert await enrolled(redis, prefix, "north") == {}

    async def test_a_terminal_that_never_ran_is_named(
        self, program: Any, cli: Any, pins: str
    ) -> None:
        await cli("terminals", "add", "west", "--anyway")
        ended = await program(*self.ADD, text="secret\n", MT5_SEALING_KEY_ID=pins)
        assert ended.status == 1
        assert "terminal west; start the worker first" in ended.err

    async def test_one_terminal_can_be_named(
        self, program: Any, cli: Any, redis: Redis, prefix: str, pins: str
    ) -> None:
        words = ("--terminal", "north", "--key-id", pins)
        assert (await program(*self.ADD, *words, text="secret\n")).status == 0
        assert await enrolled(redis, prefix, "south") == {}
        assert (await cli("accounts", "list", "--terminal", "south", "--json")).out == ""
        assert (await cli("accounts", "remove", str(NORTHERN), "--terminal", "south")).status == 1

    async def test_a_malformed_list_of_key_ids_is_a_wrong_setting(self, program: Any) -> None:
        ended = await program(*self.ADD, text="secret\n", MT5_SEALING_KEY_ID="ab,cd")
        assert ended.status == 2
        assert "MT5_SEALING_KEY_ID" in ended.err


class TestAsk:
    async def test_ask_goes_to_the_account_s_terminal(self, cli: Any, worker: Any) -> None:
        await both(cli)
        assert assign(NORTHERN, ["north", "south"], {}) == worker.keys.terminal
        assert (await cli("ask", "positions", str(NORTHERN))).status == 0
        assert [request.account for request in worker.asked] == [str(NORTHERN)]
        elsewhere = await cli("ask", "positions", str(SOUTHERN))
        assert "NO_WORKER" in elsewhere.err

    async def test_a_terminal_that_is_named_is_asked_whatever_the_registry_says(
        self, cli: Any, worker: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await both(cli)
        monkeypatch.setenv("MT5_TERMINAL_ID", "north")
        assert (await cli("ask", "positions", str(SOUTHERN))).status == 0
        assert [request.account for request in worker.asked] == [str(SOUTHERN)]
