"""Unsealed credentials, for as long as their session is in the pool."""

from __future__ import annotations

from collections.abc import Iterable

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.sealing import open_envelope
from mt5relay_shared.secret import Secret


class Vault:
    """Opens an envelope once and keeps the password until told to forget it."""

    def __init__(self, key: X25519PrivateKey) -> None:
        self._key = key
        self._open: dict[AccountId, tuple[str, Secret]] = {}

    def password(self, account: AccountId, fingerprint: str, envelope: bytes) -> Secret:
        """The password in `envelope`.

        Raises:
            MT5ValidationError: the envelope does not open for this account with this key.
        """
        known, password = self._open.get(account, ("", Secret("")))
        if known != fingerprint:
            password = open_envelope(envelope, account, self._key)
            self._open[account] = (fingerprint, password)
        return password

    def forget(self, accounts: Iterable[AccountId]) -> None:
        for account in accounts:
            self._open.pop(account, None)

    def __len__(self) -> int:
        return len(self._open)

    def __repr__(self) -> str:
        return f"<Vault {len(self)} open>"
