"""What the terminal process does with credentials: seals anew, refuses, forgets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.envelopes import ENVELOPE_VERSION, envelope_fingerprint, read_envelope
from mt5relay_shared.sealing import open_envelope, public_part, seal
from mt5relay_shared.secret import Secret
from mt5relay_worker.key_ring import KeyRing
from mt5relay_worker.terminal.host import TerminalHost
from mt5relay_worker.terminal.metatrader5 import MetaTrader5Adapter
from mt5relay_worker.terminal.protocol import (
    Command,
    Done,
    Enrolled,
    Failed,
    Hello,
    Read,
    ReadKeys,
    Reseal,
    Resealed,
    Visit,
    Visited,
)
from mt5relay_worker.terminal.seen_file import SeenFile
from mt5relay_worker.terminal.switching import VerifiedSwitch
from mt5relay_worker.terminal.vault import Vault

if TYPE_CHECKING:
    from tests.worker.terminal.conftest import FakeBinding

ALICE, BOB = AccountId(11, "Broker-Demo"), AccountId(12, "Broker-Demo")
OLD, NEW = X25519PrivateKey.generate(), X25519PrivateKey.generate()
NOON, LATER = 1_700_000_000_000, 1_700_000_600_000


class Rig:
    """A host whose keys can be changed under it."""

    def __init__(
        self,
        binding: FakeBinding,
        switch: VerifiedSwitch,
        seen: SeenFile,
        *,
        investor_only: bool = False,
    ) -> None:
        binding.knows(ALICE, positions=2, margin=10.0)
        binding.knows(BOB)
        self.binding = binding
        self.keys = [OLD]
        self.vault = Vault(KeyRing(self.keys), seen)
        self.host = TerminalHost(
            MetaTrader5Adapter(binding),
            switch,
            self.vault,
            None,
            read_keys=lambda: KeyRing(self.keys),
            investor_only=investor_only,
        )

    def visit(self, account: AccountId, envelope: bytes) -> Visited | Failed:
        visit = Visit(
            login=account.login,
            server=account.server,
            fingerprint=envelope_fingerprint(envelope),
            envelope=envelope,
            timeout_ms=60_000,
            reads=[Read("positions")],
        )
        answer = self.host.handle(visit)
        assert isinstance(answer, Visited | Failed)
        return answer

    def reseal(self, account: AccountId, envelope: bytes) -> bytes:
        answer = self.host.handle(Reseal(account.login, account.server, envelope))
        assert isinstance(answer, Resealed)
        return answer.envelope

    def fails(self, command: Command) -> Failed:
        answer = self.host.handle(command)
        assert isinstance(answer, Failed)
        return answer

    @property
    def logins(self) -> int:
        return len(self.binding.called("login"))


@pytest.fixture
def seen(tmp_path: Path) -> SeenFile:
    return SeenFile(tmp_path / "seen")


@pytest.fixture
def rig(binding: FakeBinding, switch: VerifiedSwitch, seen: SeenFile) -> Rig:
    return Rig(binding, switch, seen)


def sealed(
    account: AccountId, key: X25519PrivateKey = OLD, at_ms: int = NOON, *, version: int = 2
) -> bytes:
    public = msgspec.structs.replace(public_part(key), envelope_version=version)
    return seal(Secret(f"secret-{account.login}"), account, public, at_ms)


# A changed key


def test_keys_are_read_anew_when_told(rig: Rig) -> None:
    rig.keys = [NEW, OLD]
    hello = rig.host.handle(ReadKeys())
    assert isinstance(hello, Hello)
    assert hello.key_ids == [public_part(NEW).key_id, public_part(OLD).key_id]
    assert (hello.key_id, hello.envelope_version) == (hello.key_ids[0], ENVELOPE_VERSION)


@pytest.mark.parametrize("version", [1, 2])
def test_a_credential_is_sealed_anew_with_its_own_time(rig: Rig, version: int) -> None:
    rig.keys = [NEW, OLD]
    rig.host.handle(ReadKeys())
    renewed = rig.reseal(ALICE, sealed(ALICE, version=version))
    assert open_envelope(renewed, ALICE, NEW).reveal() == "secret-11"
    found = read_envelope(renewed)
    assert found is not None
    assert (found.v, found.sealed_at_ms) == (ENVELOPE_VERSION, NOON)
    assert len(rig.vault) == 0, "nothing is kept of it"


def test_the_unauthenticated_time_of_version_1_is_not_taken_into_the_future(rig: Rig) -> None:
    found = read_envelope(rig.reseal(ALICE, sealed(ALICE, at_ms=200_000_000_000_000, version=1)))
    assert found is not None
    assert found.sealed_at_ms < 100_000_000_000_000


def test_what_does_not_open_is_not_sealed_anew(rig: Rig) -> None:
    failed = rig.fails(Reseal(BOB.login, BOB.server, sealed(ALICE)))
    assert failed.code == "INVALID_STATE"


def test_who_is_logged_in_stays_so_with_a_credential_that_was_sealed_anew(rig: Rig) -> None:
    before = sealed(ALICE)
    rig.visit(ALICE, before)
    rig.keys = [NEW, OLD]
    rig.host.handle(ReadKeys())
    answer = rig.visit(ALICE, rig.reseal(ALICE, before))
    assert isinstance(answer, Visited)
    assert not answer.switched
    assert rig.logins == 1


def test_another_password_is_logged_in_with(rig: Rig) -> None:
    rig.visit(ALICE, sealed(ALICE))
    wrong = seal(Secret("wrong"), ALICE, public_part(OLD), LATER)
    assert isinstance(rig.visit(ALICE, wrong), Failed)
    assert rig.logins == 2


# Replays


def test_an_old_credential_is_refused_without_a_login(rig: Rig) -> None:
    rig.visit(ALICE, sealed(ALICE, at_ms=LATER))
    answer = rig.visit(ALICE, sealed(ALICE, at_ms=NOON))
    assert isinstance(answer, Failed)
    assert (answer.code, answer.about_credential) == ("INVALID_STATE", "replayed")
    assert "accept-restored 11@Broker-Demo" in answer.message
    assert rig.logins == 1
    assert len(rig.vault) == 0


def test_an_old_credential_is_not_sealed_anew_either(rig: Rig) -> None:
    rig.visit(ALICE, sealed(ALICE, at_ms=LATER))
    failed = rig.fails(Reseal(ALICE.login, ALICE.server, sealed(ALICE, at_ms=NOON)))
    assert failed.about_credential == "replayed"


def test_who_was_removed_is_forgotten_and_does_not_come_back(rig: Rig) -> None:
    alice, bob = sealed(ALICE), sealed(BOB)
    rig.visit(ALICE, alice)
    rig.visit(BOB, bob)
    assert isinstance(rig.host.handle(Enrolled([(BOB.login, BOB.server)])), Done)
    assert len(rig.vault) == 1
    assert isinstance(rig.visit(BOB, bob), Visited)
    answer = rig.visit(ALICE, alice)
    assert isinstance(answer, Failed)
    assert "removed" in answer.message
    assert isinstance(rig.visit(ALICE, sealed(ALICE, at_ms=NOON + 1)), Visited)


def test_what_a_person_accepts_is_used_again(rig: Rig, tmp_path: Path) -> None:
    rig.visit(ALICE, sealed(ALICE, at_ms=LATER))
    person = SeenFile(tmp_path / "seen")
    person.marks()
    assert person.forget([ALICE]) == [ALICE]
    assert isinstance(rig.visit(ALICE, sealed(ALICE, at_ms=NOON)), Visited)


# Investor only


def test_an_account_that_could_trade_has_nothing_answered(
    binding: FakeBinding, switch: VerifiedSwitch, seen: SeenFile
) -> None:
    rig = Rig(binding, switch, seen, investor_only=True)
    assert isinstance(rig.visit(BOB, sealed(BOB)), Visited), "without trading rights"
    book = binding.books[ALICE]
    book.info = msgspec.structs.replace(book.info, trade_allowed=True)
    answer = rig.visit(ALICE, sealed(ALICE))
    assert isinstance(answer, Failed)
    assert (answer.code, answer.about_credential) == ("INVALID_STATE", "trading_rights")
    assert "investor password: `mt5relay accounts add 11@Broker-Demo`" in answer.message


def test_an_account_that_gets_the_right_to_trade_later_is_refused_then(
    binding: FakeBinding, switch: VerifiedSwitch, seen: SeenFile
) -> None:
    rig = Rig(binding, switch, seen, investor_only=True)
    envelope = sealed(ALICE)
    assert isinstance(rig.visit(ALICE, envelope), Visited)
    book = binding.books[ALICE]
    book.info = msgspec.structs.replace(book.info, trade_allowed=True)
    assert isinstance(rig.visit(ALICE, envelope), Failed)


def test_without_the_setting_nobody_is_asked(rig: Rig) -> None:
    book = rig.binding.books[ALICE]
    book.info = msgspec.structs.replace(book.info, trade_allowed=True)
    assert isinstance(rig.visit(ALICE, sealed(ALICE)), Visited)
