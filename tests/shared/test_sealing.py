"""Sealed credentials: who can open what."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.envelopes import Envelope, SealingKey, decode_sealing_key, envelope_fingerprint
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.sealing import (
    generate_private_key,
    load_private_key,
    open_envelope,
    public_part,
    seal,
)
from mt5relay_shared.secret import Secret

ACCOUNT = AccountId(25115284, "MetaQuotes-Demo")
PASSWORD = Secret("Planted-Secret-1")
PRIVATE = load_private_key(generate_private_key())
PUBLIC = public_part(PRIVATE)
ENVELOPE = seal(PASSWORD, ACCOUNT, PUBLIC, 1_700_000_000_000)

visible = st.characters(exclude_categories=["Cc", "Cf", "Cs", "Z"], include_characters=" ")
passwords = st.text(visible, min_size=1, max_size=64)


def with_ciphertext(ciphertext: bytes) -> bytes:
    envelope = msgspec.json.decode(ENVELOPE, type=Envelope)
    text = base64.b64encode(ciphertext).decode()
    return msgspec.json.encode(msgspec.structs.replace(envelope, ciphertext=text))


def ciphertext_of(envelope: bytes) -> bytes:
    return base64.b64decode(msgspec.json.decode(envelope, type=Envelope).ciphertext)


def assert_closed(body: bytes, account: AccountId = ACCOUNT, **how: Any) -> None:
    with pytest.raises(MT5ValidationError, match=f"accounts add {account}") as refused:
        open_envelope(body, account, how.get("key", PRIVATE))
    assert refused.value.__cause__ is None


@given(passwords)
def test_the_holder_of_the_private_key_opens_what_was_sealed(password: str) -> None:
    envelope = seal(Secret(password), ACCOUNT, PUBLIC, 0)
    assert open_envelope(envelope, ACCOUNT, PRIVATE).reveal() == password


def test_an_envelope_shows_neither_the_password_nor_a_trace_of_it() -> None:
    assert PASSWORD.reveal().encode() not in ENVELOPE
    assert seal(PASSWORD, ACCOUNT, PUBLIC, 1_700_000_000_000) != ENVELOPE


@pytest.mark.parametrize(
    "other", [AccountId(25115284, "Other-Demo"), AccountId(25115285, "MetaQuotes-Demo")]
)
def test_an_envelope_moved_to_another_account_does_not_open(other: AccountId) -> None:
    assert_closed(ENVELOPE, other)


def test_another_key_does_not_open_it() -> None:
    assert_closed(ENVELOPE, key=X25519PrivateKey.generate())


@given(st.integers(0, len(ciphertext_of(ENVELOPE)) - 1), st.integers(1, 255))
def test_a_changed_byte_is_noticed(position: int, change: int) -> None:
    tampered = bytearray(ciphertext_of(ENVELOPE))
    tampered[position] ^= change
    assert_closed(with_ciphertext(bytes(tampered)))


@given(st.binary(max_size=100))
def test_an_invented_ciphertext_is_refused(ciphertext: bytes) -> None:
    assert_closed(with_ciphertext(ciphertext))


@pytest.mark.parametrize(
    "damaged", [b"", b"{}", b"\xff", ENVELOPE[:-1], ENVELOPE.replace(b'"ciphertext":"', b'"x":"')]
)
def test_a_damaged_envelope_is_refused_with_the_remedy(damaged: bytes) -> None:
    assert_closed(damaged)


def test_an_envelope_does_not_tell_the_length_of_the_password() -> None:
    lengths = {len(ciphertext_of(seal(Secret("x" * n), ACCOUNT, PUBLIC, 0))) for n in range(1, 63)}
    assert len(lengths) == 1


def test_a_password_that_the_terminal_would_not_take_is_not_sealed() -> None:
    with pytest.raises(MT5ValidationError, match=r"^password: "):
        seal(Secret(""), ACCOUNT, PUBLIC, 0)


def test_an_envelope_says_for_which_key_and_when_it_was_sealed() -> None:
    envelope = msgspec.json.decode(ENVELOPE, type=Envelope)
    assert (envelope.v, envelope.key_id) == (2, PUBLIC.key_id)
    assert envelope.sealed_at_ms == 1_700_000_000_000


def test_a_newly_enrolled_credential_differs_from_the_last() -> None:
    again = seal(PASSWORD, ACCOUNT, PUBLIC, 1_700_000_000_000)
    assert envelope_fingerprint(again) != envelope_fingerprint(ENVELOPE)
    assert envelope_fingerprint(ENVELOPE) == envelope_fingerprint(bytes(ENVELOPE))


def test_a_published_key_reads_back() -> None:
    assert decode_sealing_key(msgspec.json.encode(PUBLIC)) == PUBLIC


@pytest.mark.parametrize(
    "published",
    [
        b"",
        b"{}",
        b"\xff",
        msgspec.json.encode(SealingKey(PUBLIC.key_id, "not base64")),
        msgspec.json.encode(
            SealingKey(PUBLIC.key_id, public_part(X25519PrivateKey.generate()).public_key)
        ),
        msgspec.json.encode(SealingKey("", "")),
    ],
    ids=["nothing", "no fields", "no text", "no key", "another key", "empty fields"],
)
def test_a_key_under_another_keys_id_is_not_trusted(published: bytes) -> None:
    with pytest.raises(MT5ValidationError, match=r"^sealing-key: .*do not trust it"):
        decode_sealing_key(published)


def test_a_text_with_its_own_fingerprint_is_no_key_yet() -> None:
    short = b"short"
    key_id = hashlib.sha256(short).hexdigest()[:32]
    published = msgspec.json.encode(SealingKey(key_id, base64.b64encode(short).decode()))
    with pytest.raises(MT5ValidationError, match=r"^sealing-key: "):
        decode_sealing_key(published)


def ed25519_pem() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )


@pytest.mark.parametrize("pem", [b"", b"hunter2", ed25519_pem()])
def test_what_is_no_private_key_is_refused_unquoted(pem: bytes) -> None:
    with pytest.raises(MT5ValidationError, match="mt5relay-worker keygen") as refused:
        load_private_key(pem)
    assert "hunter2" not in str(refused.value)


def test_a_generated_key_reads_back() -> None:
    pem = generate_private_key()
    assert public_part(load_private_key(pem)) == public_part(load_private_key(pem))
    assert len(public_part(load_private_key(pem)).key_id) == 32


# Versions


def rewritten(body: bytes, **fields: object) -> bytes:
    return msgspec.json.encode({**msgspec.json.decode(body), **fields})


def test_a_worker_that_does_not_say_what_it_opens_is_sealed_version_1_to() -> None:
    published = decode_sealing_key(
        msgspec.json.encode({"key_id": PUBLIC.key_id, "public_key": PUBLIC.public_key})
    )
    envelope = seal(PASSWORD, ACCOUNT, published, 5)
    assert msgspec.json.decode(envelope, type=Envelope).v == 1
    assert open_envelope(envelope, ACCOUNT, PRIVATE) == PASSWORD


def test_version_1_is_what_it_always_was() -> None:
    """Sealed with nothing but the description in `shared/README.md`."""
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
    info = b"mt5relay/credential/v1\0" + str(ACCOUNT).encode()
    sealed = suite.encrypt(b"\x03\0abc".ljust(64, b"\0"), PRIVATE.public_key(), info=info)
    body = rewritten(ENVELOPE, v=1, ciphertext=base64.b64encode(sealed).decode())
    assert open_envelope(body, ACCOUNT, PRIVATE).reveal() == "abc"


def test_version_2_is_as_described() -> None:
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
    info = f"mt5relay/credential/v2\0{ACCOUNT}\0{PUBLIC.key_id}\0" + "1700000000000"
    sealed = suite.encrypt(b"\x03\0abc".ljust(64, b"\0"), PRIVATE.public_key(), info=info.encode())
    body = rewritten(ENVELOPE, ciphertext=base64.b64encode(sealed).decode())
    assert open_envelope(body, ACCOUNT, PRIVATE).reveal() == "abc"


@pytest.mark.parametrize(
    "changed", [{"sealed_at_ms": 1_700_000_000_001}, {"v": 1}], ids=["time", "version"]
)
def test_time_and_version_cannot_be_changed(changed: dict[str, int]) -> None:
    assert_closed(rewritten(ENVELOPE, **changed))


def test_the_key_that_it_names_cannot_be_changed() -> None:
    other = load_private_key(generate_private_key())
    body = rewritten(ENVELOPE, key_id=public_part(other).key_id)
    with pytest.raises(MT5ValidationError, match="accounts add"):
        open_envelope(body, ACCOUNT, PRIVATE, other)


def test_a_newer_version_is_refused_by_its_name() -> None:
    with pytest.raises(MT5ValidationError, match="version 3, newer than this worker"):
        open_envelope(rewritten(ENVELOPE, v=3), ACCOUNT, PRIVATE)


def test_one_of_several_keys_opens_it() -> None:
    other = load_private_key(generate_private_key())
    assert open_envelope(ENVELOPE, ACCOUNT, other, PRIVATE) == PASSWORD


def test_a_wiped_secret_has_nothing_to_reveal() -> None:
    secret = Secret("hunter2ü")
    secret.wipe()
    assert set(secret.reveal()) == {"\0"}
