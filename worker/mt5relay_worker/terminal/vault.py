"""Unsealed credentials, for as long as their session is in the pool."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.envelopes import Envelope, read_envelope
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.sealing import seal
from mt5relay_shared.secret import Secret
from mt5relay_worker.key_ring import KeyRing
from mt5relay_worker.terminal.replays import opened, removed, why_refused
from mt5relay_worker.terminal.seen_file import SeenFile


class ReplayedCredentialError(MT5ValidationError):
    """An old credential stands in the place of a newer one, or of none."""


class OpenCredential(NamedTuple):
    """A password, and the fingerprint of the envelope that it was last found in."""

    fingerprint: str
    password: Secret


class Vault:
    """Opens an envelope once and keeps the password until told to forget it."""

    def __init__(
        self,
        ring: KeyRing,
        seen: SeenFile | None = None,
        *,
        accepts_v1: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.ring = ring
        self._seen = seen or SeenFile(None)
        self._accepts_v1 = accepts_v1
        self._clock = clock
        self._open: dict[AccountId, OpenCredential] = {}

    def password(self, account: AccountId, fingerprint: str, envelope: bytes) -> Secret:
        """The password in `envelope`.

        Raises:
            MT5ValidationError: the envelope does not open for this account with these keys.
            ReplayedCredentialError: it opens, but is an old one that somebody put back.
        """
        held = self._open.get(account)
        if held is None or held.fingerprint != fingerprint:
            password, sealed = self._unseal(account, envelope)
            self._note(account, sealed)
            held = self._keep(account, fingerprint, password)
        return held.password

    def _keep(self, account: AccountId, fingerprint: str, password: Secret) -> OpenCredential:
        """The same password in another envelope, as after a change of the key, stays the same
        object: nobody need log in anew for it."""
        held = self._open.get(account)
        if held is not None and held.password == password:
            password.wipe()
            password = held.password
        else:
            self.forget([account])
        self._open[account] = OpenCredential(fingerprint, password)
        return self._open[account]

    def opened_as(self, account: AccountId) -> OpenCredential | None:
        """What is held of an account."""
        return self._open.get(account)

    def reseal(self, account: AccountId, envelope: bytes) -> bytes:
        """The same password, and the same time of sealing, for the current key; keeps nothing.

        Raises:
            MT5ValidationError: as `password`.
        """
        password, sealed = self._unseal(account, envelope)
        # The time of version 1 is anybody's word, so it may at most be now.
        now_ms = round(self._clock() * 1000)
        at_ms = sealed.sealed_at_ms if sealed.v > 1 else min(sealed.sealed_at_ms, now_ms)
        try:
            return seal(password, account, self.ring.current, at_ms)
        finally:
            password.wipe()

    def forget(self, accounts: Iterable[AccountId]) -> None:
        """Overwrite the passwords of these accounts, and drop them."""
        for account in accounts:
            if (held := self._open.pop(account, None)) is not None:
                held.password.wipe()

    def only_these_are_enrolled(self, accounts: Iterable[AccountId]) -> None:
        """Whoever else was used before is to be enrolled anew: what was theirs is refused."""
        enrolled = set(accounts)
        self.forget([account for account in self._open if account not in enrolled])
        for account, mark in self._seen.marks().items():
            if account not in enrolled:
                self._seen.put(account, removed(mark))

    def _unseal(self, account: AccountId, body: bytes) -> tuple[Secret, Envelope]:
        password = self.ring.open(account, body)
        sealed = read_envelope(body)
        assert sealed is not None  # noqa: S101 - it was opened
        why = why_refused(self._seen.get(account), sealed, accepts_v1=self._accepts_v1)
        if why is not None:
            password.wipe()
            raise ReplayedCredentialError(
                f"credential of {account} refused: {why}; enrol it again with `mt5relay accounts"
                f" add {account}`, or, if you restored a backup of Redis yourself, run"
                f" `mt5relay-worker accept-restored {account}` where the worker runs"
            )
        return password, sealed

    def _note(self, account: AccountId, sealed: Envelope) -> None:
        now_ms = round(self._clock() * 1000)
        self._seen.put(account, opened(self._seen.get(account), sealed, now_ms))

    def __len__(self) -> int:
        return len(self._open)

    def __repr__(self) -> str:
        return f"<Vault {len(self)} open>"
