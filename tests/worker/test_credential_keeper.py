"""What the worker does when keys change, and when credentials go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.envelopes import Envelope, envelope_fingerprint
from mt5relay_shared.errors import MT5StateError
from mt5relay_shared.sealing import generate_private_key, load_private_key, public_part
from mt5relay_worker.credential_keeper import CredentialKeeper
from mt5relay_worker.credential_turns import Credential, CredentialTurns
from mt5relay_worker.event_log import EventLog
from mt5relay_worker.server_clock import ServerClock

if TYPE_CHECKING:
    from tests.worker.conftest import Parts

NEW, OLD = (public_part(load_private_key(generate_private_key())) for _ in range(2))
ACCOUNTS = [AccountId(number, "Demo") for number in range(1, 5)]
A, B, C, D = ACCOUNTS


def envelope(account: AccountId, key_id: str) -> bytes:
    return msgspec.json.encode(Envelope(2, key_id, 0, str(account)))


class Turns(CredentialTurns):
    """The terminal process: what it would answer, and what it was told."""

    def __init__(self, parts: Parts) -> None:
        self.key_ids = [NEW.key_id, OLD.key_id]
        self.told: list[list[AccountId]] = []
        self.does_not_open: set[AccountId] = set()
        self.before_answer: list[tuple[AccountId, bytes]] = []
        self._parts = parts

    async def read_keys(self) -> list[str]:
        await self._parts.redis.set(self._parts.keys.sealing_key, msgspec.json.encode(NEW))
        return self.key_ids

    async def reseal(self, credential: Credential) -> bytes:
        if credential.account in self.does_not_open:
            raise MT5StateError("it does not open")
        for account, body in self.before_answer:
            await self._parts.redis.hset(self._parts.keys.accounts, str(account), body)
        return envelope(credential.account, NEW.key_id)

    async def only_these_are_enrolled(self, accounts: object) -> bool:
        self.told.append(list(accounts))  # type: ignore[call-overload]
        return True


@pytest.fixture
def turns(parts: Parts) -> Turns:
    return Turns(parts)


@pytest.fixture
async def keeper(parts: Parts, turns: Turns) -> CredentialKeeper:
    await turns.read_keys()
    return CredentialKeeper(
        redis=parts.redis,
        keys=parts.keys,
        lease=parts.lease,
        credentials=turns,
        lockout=parts.lockout,
        events=EventLog(ServerClock()),
        key_file=None,
        is_stopping=lambda: False,
        scan_interval=0.0,
    )


async def put(parts: Parts, key_id: str, *accounts: AccountId) -> None:
    for account in accounts:
        body = envelope(account, key_id)
        await parts.redis.hset(parts.keys.accounts, str(account), body)


async def stored(parts: Parts) -> Any:
    return await parts.redis.hgetall(parts.keys.accounts)


def as_stored(key_id: str, *accounts: AccountId) -> dict[bytes, bytes]:
    return {str(account).encode(): envelope(account, key_id) for account in accounts}


async def test_what_is_sealed_for_an_old_key_is_sealed_anew(
    parts: Parts, keeper: CredentialKeeper
) -> None:
    await put(parts, OLD.key_id, A, B)
    await put(parts, NEW.key_id, C)
    await keeper.look()
    assert await stored(parts) == as_stored(NEW.key_id, A, B, C)


async def test_one_that_does_not_open_does_not_hold_up_the_others(
    parts: Parts, keeper: CredentialKeeper, turns: Turns
) -> None:
    await put(parts, OLD.key_id, A, B)
    turns.does_not_open = {A}
    await keeper.look()
    assert await stored(parts) == as_stored(OLD.key_id, A) | as_stored(NEW.key_id, B)


async def test_who_is_enrolled_anew_meanwhile_keeps_what_was_enrolled(
    parts: Parts, keeper: CredentialKeeper, turns: Turns
) -> None:
    await put(parts, OLD.key_id, A)
    turns.before_answer = [(A, b"enrolled anew")]
    await keeper.look()
    assert await stored(parts) == {str(A).encode(): b"enrolled anew"}


async def test_a_locked_out_account_stays_so_when_it_is_sealed_anew(
    parts: Parts, keeper: CredentialKeeper
) -> None:
    await put(parts, OLD.key_id, A)
    parts.lockout.refused(A, envelope_fingerprint(envelope(A, OLD.key_id)), now=0)
    await keeper.look()
    assert parts.lockout.remaining(A, envelope_fingerprint(envelope(A, NEW.key_id)), now=0) > 0


async def test_who_is_missing_twice_is_removed(
    parts: Parts, keeper: CredentialKeeper, turns: Turns
) -> None:
    await put(parts, NEW.key_id, A, B)
    await keeper.look()
    await keeper.look()
    await parts.redis.hdel(parts.keys.accounts, str(A))
    await keeper.look()
    assert turns.told == [[A, B]]
    await keeper.look()
    await keeper.look()
    assert turns.told == [[A, B], [B]]


async def test_who_was_missing_once_is_not(
    parts: Parts, keeper: CredentialKeeper, turns: Turns
) -> None:
    await put(parts, NEW.key_id, A, B)
    await keeper.look()
    await keeper.look()
    await parts.redis.hdel(parts.keys.accounts, str(A))
    await keeper.look()
    await put(parts, NEW.key_id, A)
    await keeper.look()
    await keeper.look()
    assert turns.told == [[A, B]]


async def test_nobody_was_removed_where_redis_lost_what_it_held(
    parts: Parts, keeper: CredentialKeeper, turns: Turns
) -> None:
    await put(parts, NEW.key_id, *ACCOUNTS)
    await keeper.look()
    await keeper.look()
    await parts.redis.delete(parts.keys.accounts, parts.keys.sealing_key)
    for _ in range(4):
        await keeper.look()
    assert turns.told == [ACCOUNTS]
    assert await parts.redis.exists(parts.keys.sealing_key), "it is published anew"
    await put(parts, NEW.key_id, *ACCOUNTS)
    for _ in range(3):
        await keeper.look()
    assert turns.told == [ACCOUNTS]
