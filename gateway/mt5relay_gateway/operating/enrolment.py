"""Sealing passwords for the worker and keeping them where it looks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from mt5relay_gateway.batch import CommandBatch
from mt5relay_gateway.operating.connection import server_time_ms
from mt5relay_shared.accounts import AccountId, check_entered_password
from mt5relay_shared.envelopes import Envelope, SealingKey, decode_sealing_key, read_envelope
from mt5relay_shared.errors import MT5StateError, MT5ValidationError
from mt5relay_shared.keys import Keys
from mt5relay_shared.sealing import seal
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
        """Seal and store, instead of what was stored before.

        Raises:
            MT5StateError: another key is published by now; nothing was sealed.
        """
        published = await self.published_key()
        if published.key_id != key.key_id:
            raise MT5StateError(
                f"sealing key: terminal {self._keys.terminal} changed it meanwhile, from"
                f" {key.key_id} to {published.key_id}; nothing was sealed there, so do it again"
            )
        envelope = seal(password, account, published, await server_time_ms(self._redis))
        await self._redis.call("HSET", self._keys.accounts, str(account), envelope)

    async def all(self) -> list[Enrolled]:
        found = await self._redis.call("HGETALL", self._keys.accounts)
        return sorted(
            (
                Enrolled(name.decode(errors="replace"), read_envelope(body))
                for name, body in found.items()
            ),
            key=lambda enrolled: enrolled.account,
        )

    async def remove(self, account: AccountId) -> bool:
        """Forget a credential, and say whether there was one."""
        return bool(await self._redis.call("HDEL", self._keys.accounts, str(account)))


def check_credentials(account: AccountId, password: Secret) -> None:
    """Refuse a password that the terminal could not use, naming the account it is for.

    Raises:
        MT5ValidationError: without quoting the password.
    """
    try:
        check_entered_password(password.reveal())
    except MT5ValidationError as error:
        raise MT5ValidationError(f"{account}: {error}") from None


def check_pin(terminal: str, key: SealingKey, pinned: Collection[str]) -> None:
    """Refuse a key that is not pinned: somebody may wish to read passwords.

    Raises:
        MT5ValidationError: with all ids.
    """
    if key.key_id not in pinned:
        raise MT5ValidationError(
            f"sealing key: the one published for terminal {terminal} is {key.key_id}, pinned is"
            f" {', '.join(pinned)}; nothing was sealed. Compare it with what `mt5relay-worker keys`"
            " prints where that worker runs; if it is there, pin it too, with commas between:"
            f" MT5_SEALING_KEY_ID={','.join([*pinned, key.key_id])}"
        )


def split_pins(text: str | None) -> list[str]:
    """The key ids of `--key-id` or MT5_SEALING_KEY_ID."""
    return [pin.strip() for pin in (text or "").split(",") if pin.strip()]
