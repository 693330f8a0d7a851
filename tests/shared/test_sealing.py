"""Sealed credentials: who can open what."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
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

passwords = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=64)


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
    assert (envelope.v, envelope.key_id) == (1, PUBLIC.key_id)
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
