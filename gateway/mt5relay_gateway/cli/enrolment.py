"""Sealing passwords for the worker and keeping them where it looks."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from mt5relay_gateway.batch import CommandBatch
from mt5relay_gateway.cli.connection import server_time_ms
from mt5relay_shared.accounts import AccountId, check_password
from mt5relay_shared.errors import AccountUnknownError, MT5StateError, MT5ValidationError
from mt5relay_shared.keys import Keys
from mt5relay_shared.sealing import Envelope, SealingKey, decode_sealing_key, seal
from mt5relay_shared.secret import Secret


@dataclass(frozen=True)
class Enrolled:
    """An account with a sealed credential; without an envelope, what stands there can't be read."""

    account: str
    envelope: Envelope | None


class Enrolment:
    """The credentials of one terminal's accounts, which only its worker can open."""

    def __init__(self, redis: CommandBatch, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def find_key(self) -> SealingKey | None:
        """The key that the worker published. Whoever can write to Redis could have replaced it.

        Raises:
            MT5ValidationError: what stands there is no key.
        """
        body = await self._redis.call("GET", self._keys.sealing_key)
        return None if body is None else decode_sealing_key(body)

    async def published_key(self) -> SealingKey:
        """As `find_key`.

        Raises:
            MT5StateError: there is none.
        """
        key = await self.find_key()
        if key is None:
            raise MT5StateError(
                f"no worker has published a sealing key for terminal {self._keys.terminal};"
                " start the worker first"
            )
        return key

    async def add(self, account: AccountId, password: Secret, key: SealingKey) -> None:
        """Seal and store, instead of what was stored before."""
        envelope = seal(password, account, key, await server_time_ms(self._redis))
        await self._redis.call("HSET", self._keys.accounts, str(account), envelope)

    async def all(self) -> list[Enrolled]:
        found = await self._redis.call("HGETALL", self._keys.accounts)
        return sorted(
            (
                Enrolled(name.decode(errors="replace"), _envelope(body))
                for name, body in found.items()
            ),
            key=lambda enrolled: enrolled.account,
        )

    async def remove(self, account: AccountId) -> None:
        """Forget a credential.

        Raises:
            AccountUnknownError: there is none.
        """
        if not await self._redis.call("HDEL", self._keys.accounts, str(account)):
            raise AccountUnknownError(f"{account}: no credential is enrolled")


def check_credentials(account: AccountId, password: Secret) -> None:
    """Refuse a password that the terminal could not use, naming the account it is for.

    Raises:
        MT5ValidationError: without quoting the password.
    """
    try:
        check_password(password.reveal())
    except MT5ValidationError as error:
        raise MT5ValidationError(f"{account}: {error}") from None


def _envelope(body: bytes) -> Envelope | None:
    try:
        return msgspec.json.decode(body, type=Envelope)
    except msgspec.DecodeError:
        return None


def check_pin(key: SealingKey, pinned: str) -> None:
    """Refuse a key that is not the pinned one: somebody may wish to read passwords.

    Raises:
        MT5ValidationError: with both ids.
    """
    if key.key_id != pinned:
        raise MT5ValidationError(
            f"sealing key: the published one is {key.key_id}, pinned is {pinned}; nothing was"
            " sealed. If the worker has a new key, pin the id that its `keygen` printed"
        )
