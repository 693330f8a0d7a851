"""Sealed credentials: written by the operator's side, opened by the terminal process alone.

HPKE (RFC 9180, base mode) with X25519, HKDF-SHA256 and ChaCha20-Poly1305. Purpose and account go
into `info`, so an envelope that was moved to another account does not open; so do, in version 2,
the key's id and the time of sealing, so that neither can be changed.

Nothing here says *who* sealed: whoever knows a password and the public key can. What it keeps is
the secrecy of passwords that are not known, and that the time of sealing is the sealer's.
"""

from __future__ import annotations

import base64
import re

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
from mt5relay_shared.decoding import readable
from mt5relay_shared.envelopes import (
    ENVELOPE_VERSION,
    Envelope,
    SealingKey,
    key_fingerprint,
    read_envelope,
)
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.secret import Secret

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_PURPOSE = b"mt5relay/credential/v%d\x00"
_PEM_BLOCK = re.compile(rb"-----BEGIN [^-]+-----.*?-----END [^-]+-----", re.DOTALL)
_BLOCK = 64  # passwords are padded to a multiple of this, so an envelope does not tell their length


def generate_private_key() -> bytes:
    """A new X25519 key as PEM (PKCS #8, unencrypted: the file's permissions guard it)."""
    return private_pem(X25519PrivateKey.generate())


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


def load_private_keys(pem: bytes) -> list[X25519PrivateKey]:
    """Read keys that stand one after the other: the first is sealed to, all open.

    Raises:
        MT5ValidationError: one is not an X25519 key in PEM, or there is none.
    """
    return [load_private_key(block) for block in _PEM_BLOCK.findall(pem) or [pem]]


def public_part(key: X25519PrivateKey) -> SealingKey:
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return SealingKey(key_fingerprint(raw), base64.b64encode(raw).decode(), ENVELOPE_VERSION)


def private_pem(key: X25519PrivateKey) -> bytes:
    """As `generate_private_key` returns it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def seal(password: Secret, account: AccountId, key: SealingKey, now_ms: int) -> bytes:
    """Seal a password for one account, in the newest version that the key's holder opens; nobody
    else can. `now_ms` is Redis server time."""
    check_password(password.reveal())
    public = X25519PublicKey.from_public_bytes(base64.b64decode(key.public_key))
    version = min(max(key.envelope_version, 1), ENVELOPE_VERSION)
    envelope = Envelope(version, key.key_id, now_ms, "")
    sealed = _SUITE.encrypt(_pad(password.reveal().encode()), public, info=_info(account, envelope))
    ciphertext = base64.b64encode(sealed).decode()
    return msgspec.json.encode(msgspec.structs.replace(envelope, ciphertext=ciphertext))


def open_envelope(body: bytes, account: AccountId, *keys: X25519PrivateKey) -> Secret:
    """Open a sealed password with the one of these keys that it was sealed for.

    What `read_envelope` says of a version 2 that opened is what the sealer said.

    Raises:
        MT5ValidationError: damaged, changed, of a newer version, sealed for another key, or moved
            from another account; with the remedy.
    """
    envelope = read_envelope(body)
    if envelope is None:
        raise _closed(account, "it is damaged")
    if not 1 <= envelope.v <= ENVELOPE_VERSION:
        raise _closed(account, f"it is of version {envelope.v}, newer than this worker")
    by_id = {public_part(key).key_id: key for key in keys}
    key = by_id.get(envelope.key_id)
    if key is None:
        held = ", ".join(by_id)
        theirs = readable(envelope.key_id, 32)
        raise _closed(account, f"it was sealed for key {theirs}, here is {held}")
    try:
        sealed = base64.b64decode(envelope.ciphertext, validate=True)
        padded = _SUITE.decrypt(sealed, key, info=_info(account, envelope))
        return Secret(_unpad(padded).decode())
    except (InvalidTag, ValueError):
        raise _closed(account, "it was changed, or moved from another account") from None


def _closed(account: AccountId, why: str) -> MT5ValidationError:
    return MT5ValidationError(
        f"credential of {account}: it does not open with this worker's key: {why};"
        f" enrol it again with `mt5relay accounts add {account}`"
    )


def _info(account: AccountId, envelope: Envelope) -> bytes:
    purpose = _PURPOSE % envelope.v + str(account).encode()
    if envelope.v == 1:
        return purpose
    return purpose + f"\0{envelope.key_id}\0{envelope.sealed_at_ms}".encode()


def _pad(text: bytes) -> bytes:
    framed = len(text).to_bytes(2, "little") + text
    return framed + bytes(-len(framed) % _BLOCK)


def _unpad(padded: bytes) -> bytes:
    return padded[2 : 2 + int.from_bytes(padded[:2], "little")]
