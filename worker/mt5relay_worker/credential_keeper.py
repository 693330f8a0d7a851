"""Keeps the sealed credentials in Redis in step with the private keys on this host.

It notices that the keys' file was changed, has what is sealed for another key sealed anew, and
tells the terminal process who is enrolled, so that what was removed is forgotten and does not come
back. Every step may be repeated, and one that was cut short is done at the next look.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from redis.exceptions import RedisError

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.envelopes import decode_sealing_key, read_envelope
from mt5relay_shared.errors import MT5Error, MT5ValidationError
from mt5relay_shared.keys import Keys
from mt5relay_shared.logs import get_logger
from mt5relay_shared.scripts import RESEAL
from mt5relay_worker.credential_turns import Credential, CredentialTurns
from mt5relay_worker.event_log import EventLog
from mt5relay_worker.lease import Lease
from mt5relay_worker.lockout import Lockout

log = get_logger("credentials")

LOOK_INTERVAL = 2.0  # seconds until a changed key file is noticed
SCAN_INTERVAL = 10.0  # seconds between two looks at all credentials

Signature = tuple[int, int, int] | None


@dataclass(frozen=True)
class Enrolment:
    """What a look at Redis found: each account's credential as it stands there."""

    credentials: Mapping[AccountId, bytes]

    def to_reseal(self, key_ids: list[str]) -> list[Credential]:
        """Those that are sealed for a key that is held, but is not the current one."""
        older = set(key_ids[1:])
        return [
            Credential(account, body)
            for account, body in sorted(self.credentials.items())
            if (envelope := read_envelope(body)) is not None and envelope.key_id in older
        ]


def read_enrolment(fields: Mapping[bytes, bytes]) -> Enrolment:
    """Names that are no accounts are passed over."""
    found: dict[AccountId, bytes] = {}
    for name, body in fields.items():
        with contextlib.suppress(MT5ValidationError):
            found[AccountId.parse(name.decode(errors="replace"))] = body
    return Enrolment(found)


class CredentialKeeper:
    """Looks every 2 s at the file and every 10 s, or when the keys changed, at Redis."""

    def __init__(
        self,
        *,
        redis: Any,  # noqa: ANN401 - redis-py half types this
        keys: Keys,
        lease: Lease,
        credentials: CredentialTurns,
        lockout: Lockout,
        events: EventLog,
        key_file: Path | None,
        is_stopping: Callable[[], bool],
        scan_interval: float = SCAN_INTERVAL,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._lease = lease
        self._credentials = credentials
        self._lockout = lockout
        self._events = events
        self._key_file = key_file
        self._is_stopping = is_stopping
        self._scan_interval = scan_interval
        self._read_as = signature_of(key_file)
        self._scanned_with: list[str] = []
        self._scan_at = 0.0
        self._seen_before: set[AccountId] | None = None
        self._lost: set[AccountId] = set()
        self._told: set[AccountId] | None = None
        self._unopenable: set[str] = set()
        self._trouble = ""
        self._hurry = anyio.Event()

    async def run(self) -> None:
        while not self._is_stopping():
            try:
                await self.look()
                self._trouble = ""
            except (RedisError, MT5Error) as error:
                if str(error) != self._trouble:  # else it was said before
                    log.warning("credentials.not_kept", error=str(error))
                self._trouble = str(error)
            with anyio.move_on_after(LOOK_INTERVAL):
                await self._hurry.wait()

    def hurry(self) -> None:
        """The worker stops: wait no longer."""
        self._hurry.set()

    async def look(self) -> None:
        """Do what is due.

        Raises:
            MT5Error: the terminal process can't; later it may.
            redis.exceptions.RedisError: Redis can't.
        """
        await self._read_changed_keys()
        key_ids = self._credentials.key_ids
        due = anyio.current_time() >= self._scan_at or key_ids != self._scanned_with
        if key_ids and due:
            await self._scan(key_ids)
            self._scanned_with, self._scan_at = key_ids, anyio.current_time() + self._scan_interval

    async def _read_changed_keys(self) -> None:
        found = signature_of(self._key_file)
        if found in (None, self._read_as):
            return
        key_ids = await self._credentials.read_keys()
        if key_ids is not None:
            self._read_as = found
            log.info("keys.read", key_ids=key_ids)

    async def _scan(self, key_ids: list[str]) -> None:
        if not await self._is_published(key_ids[0]):
            self._lost = self._seen_before or self._lost
            self._seen_before = None
            log.warning("sealing_key.replaced", key_id=key_ids[0])
            await self._credentials.read_keys()  # which publishes it
        fields: dict[bytes, bytes] = await self._redis.hgetall(self._keys.accounts)
        enrolment = read_enrolment(fields)
        await self._reseal_all(enrolment.to_reseal(key_ids))
        await self._tell_who_is_enrolled(enrolment.credentials)

    async def _is_published(self, key_id: str) -> bool:
        body: bytes | None = await self._redis.get(self._keys.sealing_key)
        with contextlib.suppress(MT5ValidationError):
            return body is not None and decode_sealing_key(body).key_id == key_id
        return False

    async def _reseal_all(self, credentials: Iterable[Credential]) -> None:
        resealed = 0
        for credential in credentials:
            if self._is_stopping():
                break
            resealed += await self._reseal(credential)
        if resealed:
            key_id = self._credentials.key_ids[0]
            self._events.credentials_resealed(resealed, key_id)

    async def _reseal(self, credential: Credential) -> bool:
        account, before = credential.account, credential.fingerprint
        try:
            envelope = await self._credentials.reseal(credential)
        except MT5Error as error:
            if error.code != "INVALID_STATE":
                raise
            if before not in self._unopenable:  # else it was said before
                log.warning("credential.not_resealed", account=str(account), error=str(error))
            self._unopenable.add(before)
            return False
        if envelope is None:
            return False
        renewed = Credential(account, envelope)
        # Before it can be fetched: with a new fingerprint alone nobody gets a clean slate.
        self._lockout.resealed(account, before, renewed.fingerprint)
        _, in_place = await self._lease.write(
            RESEAL, [self._keys.accounts], [str(account), credential.envelope, envelope]
        )
        if in_place:
            log.info("credential.resealed", account=str(account))
        else:  # enrolled anew or removed meanwhile, which counts for more
            self._lockout.resealed(account, renewed.fingerprint, before)
        return bool(in_place)

    async def _tell_who_is_enrolled(self, accounts: Iterable[AccountId]) -> None:
        """Who was there at one of the last two looks counts as enrolled: one may have erred.

        Where Redis lost the key that was published, it may have lost the credentials as well:
        until most of them are back, nobody counts as removed.
        """
        found = set(accounts)
        if 2 * len(found & self._lost) < len(self._lost):
            return
        self._lost = set()
        before, self._seen_before = self._seen_before, found
        if before is None:
            return
        enrolled = found | before
        if enrolled != self._told and await self._credentials.only_these_are_enrolled(
            sorted(enrolled)
        ):
            self._told = enrolled


def signature_of(file: Path | None) -> Signature:
    """What changes whenever the file is replaced; None where there is none."""
    if file is None:
        return None
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
