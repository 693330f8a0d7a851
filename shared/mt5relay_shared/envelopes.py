"""What stands in Redis of sealed credentials, for those who neither seal nor open them.

Apart from `sealing`, because the cryptography that it needs is a tenth of a process's memory.
"""

from __future__ import annotations

import base64
import hashlib

import msgspec

from mt5relay_shared.errors import MT5ValidationError

_PUBLIC_KEY_BYTES = 32  # of X25519


class SealingKey(msgspec.Struct, frozen=True):
    """The worker's public key as it stands at `sealing-key`; `key_id` is its fingerprint."""

    key_id: str
    public_key: str


class Envelope(msgspec.Struct, frozen=True):
    """A sealed credential as it stands in the hash `accounts`."""

    v: int
    key_id: str
    sealed_at_ms: int
    ciphertext: str


def decode_sealing_key(body: bytes) -> SealingKey:
    """Read `sealing-key` and check that the id belongs to the key.

    Raises:
        MT5ValidationError: somebody wrote something else there.
    """
    try:
        key = msgspec.json.decode(body, type=SealingKey)
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
