"""Which credentials are sealed anew: those for a key that is held but is not the current one."""

from __future__ import annotations

import msgspec

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.envelopes import Envelope
from mt5relay_worker.credential_keeper import read_enrolment

NEW, OLD, STRANGE = "n" * 32, "o" * 32, "s" * 32


def envelope(key_id: str) -> bytes:
    return msgspec.json.encode(Envelope(2, key_id, 0, ""))


FIELDS = {
    b"1@A": envelope(OLD),
    b"2@A": envelope(NEW),
    b"3@A": envelope(STRANGE),
    b"4@A": b"no envelope",
    b"5@A": envelope(OLD),
    b"no account": envelope(OLD),
    b"\xff@A": envelope(OLD),
}


def test_only_what_an_older_key_opens_is_sealed_anew() -> None:
    found = read_enrolment(FIELDS).to_reseal([NEW, OLD])
    assert [one.account for one in found] == [AccountId(1, "A"), AccountId(5, "A")]
    assert [one.envelope for one in found] == [FIELDS[b"1@A"], FIELDS[b"5@A"]]


def test_with_one_key_nothing_is_sealed_anew() -> None:
    assert read_enrolment(FIELDS).to_reseal([NEW]) == []


def test_who_has_anything_enrolled_counts_as_enrolled_readable_or_not() -> None:
    assert len(read_enrolment(FIELDS).credentials) == 5
