"""Which account is logged in to next."""

from __future__ import annotations

from collections import Counter

import pytest

from mt5relay_shared.accounts import AccountId
from mt5relay_worker.probe.planning import Kind, kind_of, next_account, possible_kinds

ADA, BELA = AccountId(1, "Here"), AccountId(2, "Here")
CHIDI = AccountId(3, "There")


def play(accounts: list[AccountId], logins: int) -> tuple[Counter[Kind], Counter[AccountId]]:
    measured: Counter[Kind] = Counter()
    visits: Counter[AccountId] = Counter()
    before: AccountId | None = None
    for _ in range(logins):
        account = next_account(accounts, before, measured, visits)
        measured[kind_of(before, account)] += 1
        visits[account] += 1
        before = account
    return measured, visits


@pytest.mark.parametrize("order", [[ADA, BELA, CHIDI], [CHIDI, ADA, BELA], [BELA, CHIDI, ADA]])
def test_every_kind_of_login_is_made_about_as_often(order: list[AccountId]) -> None:
    measured, visits = play(order, 61)
    assert measured.pop(Kind.NOBODY) == 1
    assert max(measured.values()) - min(measured.values()) <= 2
    assert min(visits.values()) >= 8


def test_with_one_account_there_is_one_kind() -> None:
    measured, _ = play([ADA], 5)
    assert measured == {Kind.NOBODY: 1, Kind.SAME_ACCOUNT: 4}
    assert possible_kinds([ADA]) == {Kind.SAME_ACCOUNT}


def test_what_can_be_measured_is_known_beforehand() -> None:
    assert possible_kinds([ADA, BELA]) == {Kind.SAME_ACCOUNT, Kind.SAME_SERVER}
    assert possible_kinds([ADA, CHIDI]) == {Kind.SAME_ACCOUNT, Kind.OTHER_SERVER}


def test_an_account_that_is_no_longer_tried_may_still_be_the_one_that_is_shown() -> None:
    assert next_account([BELA], ADA, {}, {}) == BELA
