"""Unsealed passwords: opened once, kept no longer than told, printed nowhere."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.envelopes import envelope_fingerprint
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.sealing import public_part, seal
from mt5relay_shared.secret import Secret
from mt5relay_worker.key_ring import KeyRing
from mt5relay_worker.terminal.vault import Vault

ALICE, BOB = AccountId(11, "Broker"), AccountId(12, "Broker")


@pytest.fixture(scope="module")
def key() -> X25519PrivateKey:
    return X25519PrivateKey.generate()


@pytest.fixture
def vault(key: X25519PrivateKey) -> Vault:
    return Vault(KeyRing([key]))


def envelope_for(key: X25519PrivateKey, account: AccountId, text: str = "planted") -> bytes:
    return seal(Secret(text), account, public_part(key), 0)


def opened(vault: Vault, account: AccountId, envelope: bytes) -> str:
    return vault.password(account, envelope_fingerprint(envelope), envelope).reveal()


def test_it_opens_what_was_sealed_for_its_key(vault: Vault, key: X25519PrivateKey) -> None:
    assert opened(vault, ALICE, envelope_for(key, ALICE)) == "planted"


def test_an_envelope_is_opened_once(vault: Vault, key: X25519PrivateKey) -> None:
    envelope = envelope_for(key, ALICE)
    fingerprint = envelope_fingerprint(envelope)
    vault.password(ALICE, fingerprint, envelope)
    assert vault.password(ALICE, fingerprint, b"not looked at").reveal() == "planted"


def test_a_new_envelope_replaces_the_old_password(vault: Vault, key: X25519PrivateKey) -> None:
    opened(vault, ALICE, envelope_for(key, ALICE, "old"))
    assert opened(vault, ALICE, envelope_for(key, ALICE, "new")) == "new"
    assert len(vault) == 1


def test_a_forgotten_password_must_be_unsealed_again(vault: Vault, key: X25519PrivateKey) -> None:
    envelope = envelope_for(key, ALICE)
    opened(vault, ALICE, envelope)
    vault.forget([ALICE, BOB])
    assert len(vault) == 0
    with pytest.raises(MT5ValidationError):
        vault.password(ALICE, envelope_fingerprint(envelope), b"not an envelope")


def test_an_envelope_of_another_account_does_not_open(vault: Vault, key: X25519PrivateKey) -> None:
    with pytest.raises(MT5ValidationError, match="12@Broker"):
        opened(vault, BOB, envelope_for(key, ALICE))
    assert len(vault) == 0


def test_a_replaced_envelope_that_does_not_open_is_not_covered_by_the_old_password(
    vault: Vault, key: X25519PrivateKey
) -> None:
    opened(vault, ALICE, envelope_for(key, ALICE))
    with pytest.raises(MT5ValidationError):
        opened(vault, ALICE, b"damaged")


def test_it_prints_no_password(vault: Vault, key: X25519PrivateKey) -> None:
    opened(vault, ALICE, envelope_for(key, ALICE))
    assert repr(vault) == "<Vault 1 open>"
