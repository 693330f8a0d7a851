"""The keys of a terminal."""

from __future__ import annotations

import dataclasses

import pytest

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.keys import FleetKeys, Keys

KEYS = Keys("main")

# As in the wire contract, with the commands stream and who waits.
CONTRACT = {
    "{mt5:main}:requests": KEYS.requests,
    "{mt5:main}:request:my-1": KEYS.request("my-1"),
    "{mt5:main}:reply:my-1": KEYS.reply("my-1"),
    "{mt5:main}:replies:gw-1": KEYS.replies("gw-1"),
    "{mt5:main}:snapshot:1@Demo": KEYS.snapshot(AccountId(1, "Demo")),
    "{mt5:main}:accounts": KEYS.accounts,
    "{mt5:main}:sealing-key": KEYS.sealing_key,
    "{mt5:main}:lease": KEYS.lease,
    "{mt5:main}:fence": KEYS.fence,
    "{mt5:main}:running": KEYS.running,
    "{mt5:main}:health": KEYS.health,
    "{mt5:main}:events": KEYS.events,
    "{mt5:main}:dead": KEYS.dead,
    "{mt5:main}:commands": KEYS.commands,
    "{mt5:main}:queue": KEYS.queue,
    "{mt5:main}:shares": KEYS.shares,
    "{mt5:main}:logins": KEYS.logins,
    "{mt5:main}:timings": KEYS.timings,
}


@pytest.mark.parametrize(("spelled", "key"), CONTRACT.items())
def test_a_key_is_spelled_as_in_the_contract(spelled: str, key: str) -> None:
    assert key == spelled


def test_the_contract_knows_every_key() -> None:
    fields = {field.name for field in dataclasses.fields(Keys)}
    public = {name for name in dir(Keys) if not name.startswith("_")} - fields
    assert len(public) == len(CONTRACT)


@pytest.mark.parametrize("key", CONTRACT.values())
def test_all_keys_of_a_terminal_live_in_one_slot_of_a_cluster(key: str) -> None:
    assert key.startswith(f"{KEYS.tag}:")
    assert key.count("{") == key.count("}") == 1


def test_terminals_and_prefixes_share_no_key() -> None:
    assert len({Keys("a").lease, Keys("b").lease, Keys("a", "other").lease}) == 3


def test_a_snapshot_is_found_by_the_accounts_spelling_too() -> None:
    assert KEYS.snapshot("1@Demo") == KEYS.snapshot(AccountId(1, "Demo"))


@pytest.mark.parametrize("terminal", ["", "a:b", "{a}", "a b", "-a", "a\n", "ä", "x" * 65])
def test_a_terminal_id_that_would_break_a_hash_tag_is_refused(terminal: str) -> None:
    with pytest.raises(MT5ValidationError, match=r"^terminal: .*letters, digits"):
        Keys(terminal)


@pytest.mark.parametrize("terminal", ["main", "t-1", "vps_2.eu", "x" * 64])
def test_a_terminal_id_may_be_a_host_name(terminal: str) -> None:
    assert Keys(terminal).terminal == terminal


def test_the_registry_of_terminals_has_keys_of_its_own_in_one_slot() -> None:
    keys = FleetKeys()
    spelled = [keys.version, keys.terminals, keys.pins]
    assert spelled == ["{mt5}:version", "{mt5}:terminals", "{mt5}:pins"]
    assert FleetKeys("other").pins == "{other}:pins"


def test_the_http_gateways_have_keys_beside_the_registrys() -> None:
    keys = FleetKeys()
    assert keys.tokens == "{mt5}:tokens"
    assert keys.submitted("x") == "{mt5}:submitted:x"
    assert keys.webhooks == "{mt5}:webhooks"
    assert keys.webhook_claim("x") == "{mt5}:webhook-claim:x"
    assert keys.undelivered("x") == "{mt5}:undelivered:x"
