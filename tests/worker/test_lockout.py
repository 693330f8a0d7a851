"""Accounts whose authorization was refused cool down; the terminal does not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mt5relay_shared.accounts import AccountId
from mt5relay_worker.lockout import Lockout, LockoutPolicy

A, B, C, D = (AccountId(number, "Demo") for number in range(1, 5))
POLICY = LockoutPolicy(first_cooldown=60, longest_cooldown=3600, fault_threshold=3)


def lockout() -> Lockout:
    return Lockout(POLICY)


def test_an_account_that_was_never_refused_may_be_tried() -> None:
    assert lockout().remaining(A, "f", 0) == 0


def test_a_refused_account_cools_down_and_then_may_be_tried_again() -> None:
    locked = lockout()
    assert locked.refused(A, "f", 100) == 60
    assert [locked.remaining(A, "f", now) for now in (100, 130, 160, 999)] == [60, 30, 0, 0]


def test_one_accounts_refusal_is_nobody_elses() -> None:
    locked = lockout()
    locked.refused(A, "f", 0)
    assert locked.remaining(B, "f", 0) == 0


def test_each_further_refusal_doubles_the_cool_down_up_to_the_longest() -> None:
    locked = lockout()
    cooldowns = [locked.refused(A, "f", 0) for _ in range(8)]
    assert cooldowns == [60, 120, 240, 480, 960, 1920, 3600, 3600]


def test_a_newly_enrolled_password_may_be_tried_at_once() -> None:
    locked = lockout()
    locked.refused(A, "old", 0)
    assert locked.remaining(A, "new", 0) == 0
    assert locked.remaining(A, "old", 0) == 60


def test_a_new_password_that_is_wrong_too_starts_at_the_first_cool_down() -> None:
    locked = lockout()
    for _ in range(5):
        locked.refused(A, "old", 0)
    assert locked.refused(A, "new", 0) == 60


def test_who_gets_in_has_a_clean_slate() -> None:
    locked = lockout()
    locked.refused(A, "f", 0)
    locked.refused(A, "f", 0)
    locked.accepted(A)
    assert locked.remaining(A, "f", 0) == 0
    assert locked.refused(A, "f", 0) == 60


def test_several_different_accounts_in_a_row_put_the_terminal_under_suspicion() -> None:
    locked = lockout()
    suspicions: list[bool] = []
    for account in (A, B, C):
        locked.refused(account, "f", 0)
        suspicions.append(locked.suspects_terminal)
    assert suspicions == [False, False, True]


@given(st.integers(1, 50))
def test_one_account_alone_never_puts_the_terminal_under_suspicion(times: int) -> None:
    locked = lockout()
    for _ in range(times):
        locked.refused(A, "f", 0)
    assert not locked.suspects_terminal


def test_anybody_who_gets_in_in_between_clears_the_terminal() -> None:
    locked = lockout()
    locked.refused(A, "f", 0)
    locked.refused(B, "f", 0)
    locked.accepted(D)
    locked.refused(C, "f", 0)
    assert not locked.suspects_terminal
    assert locked.remaining(A, "f", 0) == 60


def test_when_it_was_the_terminal_nobody_of_this_row_is_held_to_blame() -> None:
    locked = lockout()
    locked.refused(D, "f", 0)
    locked.accepted(A)  # the row begins anew; D stays locked out
    for account in (A, B, C):
        locked.refused(account, "f", 0)
    locked.acquit_accounts()
    assert [locked.remaining(account, "f", 0) for account in (A, B, C, D)] == [0, 0, 0, 60]
    assert not locked.suspects_terminal
    assert len(locked) == 1


@given(st.lists(st.tuples(st.sampled_from([A, B, C, D]), st.sampled_from(["f", "g"]))))
def test_a_cool_down_never_leaves_its_bounds(refusals: list[tuple[AccountId, str]]) -> None:
    locked = lockout()
    for account, fingerprint in refusals:
        assert 60 <= locked.refused(account, fingerprint, 0) <= 3600


def test_its_repr_tells_how_many_are_locked_out() -> None:
    locked = lockout()
    locked.refused(A, "f", 0)
    assert repr(locked) == "<Lockout 1 accounts, 1 refused in a row>"


def test_a_barred_credential_is_refused_until_another_is_enrolled_or_it_is_unlocked() -> None:
    lockout = Lockout(LockoutPolicy())
    lockout.bar(A, "its fingerprint", "it could trade")
    assert lockout.why_barred(A, "its fingerprint") == "it could trade"
    assert lockout.why_barred(A, "another fingerprint") is None
    assert lockout.unlock(A)
    assert lockout.why_barred(A, "its fingerprint") is None


def test_a_credential_that_was_sealed_anew_gets_no_clean_slate() -> None:
    lockout = Lockout(LockoutPolicy(first_cooldown=60))
    lockout.refused(A, "old", now=0)
    lockout.bar(B, "old", "it could trade")
    lockout.resealed(A, "old", "new")
    lockout.resealed(B, "old", "new")
    assert lockout.remaining(A, "new", now=0) == 60
    assert lockout.why_barred(B, "new") == "it could trade"
    lockout.resealed(A, "unknown", "other")
    assert lockout.remaining(A, "other", now=0) == 0
