"""When lists are trusted: the journal's word first, then totals that hold still."""

from __future__ import annotations

import pytest

from mt5relay_worker.terminal.journal_lines import (
    Authorized,
    Refused,
    Said,
    Synchronized,
    Unreachable,
)
from mt5relay_worker.terminal.login_report import LoginReport, hear, is_servers_fault, why_refused
from mt5relay_worker.terminal.metatrader5 import Totals
from mt5relay_worker.terminal.synchronization import PROMPT, Look, Patience, judge

SILENT = LoginReport()
TWO_AND_ONE = Totals(2, 1)
LET_IN = LoginReport(is_authorized=True)


def counted(positions: int | None, orders: int | None) -> LoginReport:
    return LoginReport(is_authorized=True, synchronized=Synchronized(positions, orders))


def look(
    totals: Totals | None = TWO_AND_ONE,
    *,
    is_still: bool = True,
    agrees: bool = True,
    report: LoginReport = SILENT,
) -> Look:
    return Look(totals, is_still, agrees, report)


@pytest.mark.parametrize("patient", [True, False])
@pytest.mark.parametrize(
    ("one", "verdict"),
    [
        # what needs no patience, and what no impatience hurries
        (look(report=counted(2, 1)), "confirmed"),
        (look(report=counted(2, 1), is_still=False), "confirmed"),
        (look(report=counted(2, 1), agrees=False), "wait"),
        (look(None, report=counted(0, 0)), "wait"),
        (look(Totals(0, 0), report=counted(0, 0)), "confirmed"),
        (look(), "assumed"),
        (look(is_still=False), "wait"),
        (look(agrees=False), "wait"),
        (look(Totals(0, 0)), "assumed"),
        (look(report=counted(None, None)), "assumed"),
        # empty lists where the journal counted some are never taken for "none"
        (look(Totals(0, 1), report=counted(2, 1)), "wait"),
        (look(Totals(2, 0), report=counted(2, 1)), "wait"),
        (look(Totals(0, 0), report=counted(0, 7)), "wait"),
    ],
)
def test_a_verdict_that_does_not_depend_on_patience(one: Look, verdict: str, patient: bool) -> None:
    assert judge(one, patient=patient) == verdict


@pytest.mark.parametrize("report", [LET_IN, counted(3, 1), counted(1, 1)])
def test_a_journal_that_is_behind_or_disagrees_is_waited_for_with_patience_only(
    report: LoginReport,
) -> None:
    assert judge(look(report=report), patient=True) == "wait"
    assert judge(look(report=report), patient=False) == "assumed"


def test_a_wait_that_taught_nothing_is_the_last_until_the_journal_is_in_time() -> None:
    patience = Patience()
    patience.learn("confirmed", 0.0, lists_changed=False)
    assert patience.is_worth_it
    patience.learn("assumed", 5.0, lists_changed=False)
    assert not patience.is_worth_it
    patience.learn("assumed", 0.0, lists_changed=False)
    assert not patience.is_worth_it
    patience.learn("confirmed", 0.0, lists_changed=False)
    assert patience.is_worth_it


def test_a_long_wait_was_worth_it_where_the_lists_came_meanwhile() -> None:
    patience = Patience()
    patience.learn("confirmed", 4.0, lists_changed=True)
    assert patience.is_worth_it
    patience.learn("confirmed", 2 * PROMPT, lists_changed=False)
    assert not patience.is_worth_it


def test_a_silent_journal_says_nothing_about_patience() -> None:
    patience = Patience()
    patience.learn("assumed", 0.0, lists_changed=False)
    assert patience.is_worth_it


# What one login's lines add up to


def heard(*words: Said) -> LoginReport:
    report = LoginReport()
    for said in words:
        report = hear(report, "Broker-Demo", said)
    return report


def test_counts_are_believed_after_this_servers_authorization_alone() -> None:
    here, elsewhere, counts = (
        Authorized("Broker-Demo"),
        Authorized("Other-Live"),
        Synchronized(2, 1),
    )
    assert heard(here, counts) == LoginReport(True, here.server, synchronized=counts)
    assert heard(counts) == LoginReport()
    assert heard(elsewhere, counts) == LoginReport(authorized_on="Other-Live")
    assert heard(here, elsewhere, counts) == LoginReport(authorized_on="Other-Live")


def test_an_authorization_starts_the_account_anew() -> None:
    here, counts = Authorized("Broker-Demo"), Synchronized(2, 1)
    assert heard(here, counts, here) == LoginReport(True, here.server)


def test_a_failure_at_another_server_is_not_this_logins() -> None:
    assert heard(Refused("Other-Live", "Invalid account")) == LoginReport()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (Refused("Broker-Demo", "Invalid account"), "no such login with this password"),
        (Refused("Broker-Demo", "Service is not available"), "(Service is not available)"),
    ],
)
def test_a_refusal_is_explained_in_the_servers_words(said: Refused, words: str) -> None:
    assert words in why_refused(heard(said))


def test_where_the_journal_does_not_tell_nothing_is_made_up() -> None:
    assert why_refused(heard()) == ""
    assert why_refused(heard(Refused("Broker-Demo", ""))) == ""


@pytest.mark.parametrize(
    ("said", "is_servers"),
    [
        (Unreachable("Broker-Demo"), True),
        (Refused("Broker-Demo", "Service is not available"), True),
        (Refused("Broker-Demo", "Invalid account"), False),
        (Refused("Broker-Demo", "Account disabled"), False),
        (Refused("Broker-Demo", ""), False),
        (Refused("Other-Live", "Service is not available"), False),
    ],
)
def test_a_server_that_takes_no_logins_is_not_the_accounts_fault(
    said: Said, is_servers: bool
) -> None:
    assert is_servers_fault(heard(said)) is is_servers


def test_a_server_that_let_the_account_in_afterwards_is_not_at_fault() -> None:
    refused = Refused("Broker-Demo", "Service is not available")
    assert not is_servers_fault(heard(refused, Authorized("Broker-Demo")))
