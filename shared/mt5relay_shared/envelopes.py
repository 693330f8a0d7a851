"""What stands in Redis of sealed credentials, for those who neither seal nor open them.

Apart from `sealing`, because the cryptography that it needs is a tenth of a process's memory.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Annotated

import msgspec

from mt5relay_shared.decoding import LATEST_MS, UnreadableError, read_json
from mt5relay_shared.errors import MT5ValidationError

ENVELOPE_VERSION = 2
"""The newest that is written and opened; in version 1 time and key id were not authenticated."""

_PUBLIC_KEY_BYTES = 32  # of X25519


class SealingKey(msgspec.Struct, frozen=True, omit_defaults=True):
    """The worker's public key as it stands at `sealing-key`; `key_id` is its fingerprint.

    `envelope_version` is the newest that the worker opens; workers that do not say open version 1.
    """

    key_id: str
    public_key: str
    envelope_version: int = 1


class Envelope(msgspec.Struct, frozen=True):
    """A sealed credential as it stands in the hash `accounts`.

    `sealed_at_ms` is when the account was enrolled, in Redis server time; sealing it anew to
    another key leaves it as it is.
    """

    v: Annotated[int, msgspec.Meta(ge=1, le=1_000)]
    key_id: Annotated[str, msgspec.Meta(max_length=64)]
    sealed_at_ms: Annotated[int, msgspec.Meta(ge=0, le=LATEST_MS)]
    ciphertext: Annotated[str, msgspec.Meta(max_length=4_096)]


def read_envelope(body: bytes) -> Envelope | None:
    """What can be known without a key, or None where it is no envelope."""
    try:
        return read_json(body, Envelope)
    except UnreadableError:
        return None


def decode_sealing_key(body: bytes) -> SealingKey:
    """Read `sealing-key` and check that the id belongs to the key.

    Raises:
        MT5ValidationError: somebody wrote something else there.
    """
    try:
        key = read_json(body, SealingKey)
        raw = base64.b64decode(key.public_key, validate=True)
        genuine = len(raw) == _PUBLIC_KEY_BYTES and key_fingerprint(raw) == key.key_id
    except ValueError:
        genuine, key = False, SealingKey("", "")
    if not genuine:
        raise MT5ValidationError("sealing-key: not a key with its own fingerprint; do not trust it")
    return key


def key_fingerprint(raw: bytes) -> str:
    """Of a raw public key."""
    return hashlib.sha256(raw).hexdigest()[:32]


def envelope_fingerprint(body: bytes) -> str:
    """Tell one enrolled credential from the next without opening either."""
    return hashlib.sha256(body).hexdigest()[:32]
