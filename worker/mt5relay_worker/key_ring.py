"""The worker's private keys: credentials are sealed to the first, and every one of them opens."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.envelopes import SealingKey
from mt5relay_shared.sealing import open_envelope, public_part
from mt5relay_shared.secret import Secret


class KeyRing:
    """At least one key. While a key is changed there are two: see `mt5relay-worker rotate-key`."""

    def __init__(self, keys: Sequence[X25519PrivateKey]) -> None:
        self._keys = tuple(keys)
        self._public = tuple(public_part(key) for key in keys)

    @property
    def current(self) -> SealingKey:
        """What credentials are to be sealed to."""
        return self._public[0]

    @property
    def key_ids(self) -> list[str]:
        """The current one first."""
        return [key.key_id for key in self._public]

    def open(self, account: AccountId, envelope: bytes) -> Secret:
        """Open a sealed password.

        Raises:
            MT5ValidationError: as `open_envelope`.
        """
        return open_envelope(envelope, account, *self._keys)

    def __repr__(self) -> str:
        return f"<KeyRing {' '.join(self.key_ids)}>"
