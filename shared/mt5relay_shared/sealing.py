"""Sealed credentials: written by the operator's side, opened by the terminal process alone.

HPKE (RFC 9180, base mode) with X25519, HKDF-SHA256 and ChaCha20-Poly1305. Purpose and account go
into `info`, so an envelope that was moved to another account does not open.
"""

from __future__ import annotations

import base64

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from mt5relay_shared.accounts import AccountId, check_password
from mt5relay_shared.envelopes import Envelope, SealingKey, key_fingerprint
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.secret import Secret

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_PURPOSE = b"mt5relay/credential/v1\x00"
_BLOCK = 64  # passwords are padded to a multiple of this, so an envelope does not tell their length


def generate_private_key() -> bytes:
    """A new X25519 key as PEM (PKCS #8, unencrypted: the file's permissions guard it)."""
    return X25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )


def load_private_key(pem: bytes) -> X25519PrivateKey:
    """Read a key made by `mt5relay-worker keygen`.

    Raises:
        MT5ValidationError: it is not an X25519 key in PEM. Never quotes the text.
    """
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, X25519PrivateKey):
        raise MT5ValidationError(
            "private key: not an X25519 key in PEM; make one with `mt5relay-worker keygen`"
        ) from None
    return key


def public_part(key: X25519PrivateKey) -> SealingKey:
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return SealingKey(key_fingerprint(raw), base64.b64encode(raw).decode())


def seal(password: Secret, account: AccountId, key: SealingKey, now_ms: int) -> bytes:
    """Seal a password for one account; only the holder of the private key can open it."""
    text = password.reveal()
    check_password(text)
    public = X25519PublicKey.from_public_bytes(base64.b64decode(key.public_key))
    sealed = _SUITE.encrypt(_pad(text.encode()), public, info=_info(account))
    return msgspec.json.encode(Envelope(1, key.key_id, now_ms, base64.b64encode(sealed).decode()))


def open_envelope(body: bytes, account: AccountId, key: X25519PrivateKey) -> Secret:
    """Open a sealed password.

    Raises:
        MT5ValidationError: damaged, sealed for another key, or moved from another account.
    """
    try:
        envelope = msgspec.json.decode(body, type=Envelope)
        padded = _SUITE.decrypt(
            base64.b64decode(envelope.ciphertext, validate=True), key, info=_info(account)
        )
        return Secret(_unpad(padded).decode())
    except (InvalidTag, ValueError):
        raise MT5ValidationError(
            f"credential of {account}: it does not open with this worker's key;"
            f" enrol it again with `mt5relay accounts add {account}`"
        ) from None


def _info(account: AccountId) -> bytes:
    return _PURPOSE + str(account).encode()


def _pad(text: bytes) -> bytes:
    framed = len(text).to_bytes(2, "little") + text
    return framed + bytes(-len(framed) % _BLOCK)


def _unpad(padded: bytes) -> bytes:
    return padded[2 : 2 + int.from_bytes(padded[:2], "little")]
