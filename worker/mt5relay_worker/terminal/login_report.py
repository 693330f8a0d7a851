"""What the terminal's journal has said of one login.

Lines count from the moment the login began: the terminal writes late, so lines of an earlier login
to the same account may arrive after this one began.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mt5relay_shared.accounts import AccountId
from mt5relay_worker.terminal.journal import Journal
from mt5relay_worker.terminal.journal_lines import (
    Authorized,
    Refused,
    Said,
    Synchronized,
    Unreachable,
)

_TO_THE_MILLISECOND = timedelta(milliseconds=1)  # the journal cuts off the rest
_ABOUT_THE_CREDENTIAL = frozenset({"Invalid account", "Invalid password"})
# Of these only "Service is not available" is what a throttling server is assumed to say; any other
# reason may be about the account, so it stays a refusal.
_ABOUT_THE_SERVER = frozenset(
    {"service is not available", "server is busy", "too many requests", "no connection"}
)


@dataclass(frozen=True, slots=True)
class LoginReport:
    """Nothing is known of what is False or None."""

    is_authorized: bool = False
    authorized_on: str | None = None  # the server that let the login in, by the terminal's name
    synchronized: Synchronized | None = None
    failure: Refused | Unreachable | None = None


def hear(report: LoginReport, server: str, said: Said) -> LoginReport:
    """Take in one more word. Counts are believed only after this server's authorization, because
    they name no server: two servers may have the same login."""
    match said:
        case Authorized() if said.server == server:
            return LoginReport(is_authorized=True, authorized_on=said.server)
        case Authorized():
            return LoginReport(authorized_on=said.server)
        case Synchronized() if report.is_authorized:
            return replace(report, synchronized=said)
        case Refused() | Unreachable() if said.server == server:
            return LoginReport(failure=said)
        case _:
            return report


class LoginListener:
    """Listens to the journal for one login; make it right before that begins."""

    def __init__(self, journal: Journal | None, account: AccountId) -> None:
        self._account = account
        self._report = LoginReport()
        self._heard: tuple[Journal, datetime] | None = None
        if journal is not None:
            self._heard = journal, journal.now() - _TO_THE_MILLISECOND
            journal.skip()

    @property
    def can_hear(self) -> bool:
        return self._heard is not None

    def listen(self) -> LoginReport:
        """Everything said up to now; costs one look at a file, and nothing without a journal."""
        if self._heard is None:
            return self._report
        journal, began = self._heard
        for at, login, said in journal.read():
            if login == self._account.login and at >= began:
                self._report = hear(self._report, self._account.server, said)
        return self._report


def is_servers_fault(report: LoginReport) -> bool:
    """Whether a refused login says nothing of the account: the server was not there, or took no
    logins. False where the journal does not tell."""
    match report.failure:
        case Unreachable():
            return True
        case Refused(reason=reason):
            return reason.casefold() in _ABOUT_THE_SERVER
        case _:
            return False


def why_refused(report: LoginReport) -> str:
    """What to add to the message of a refused login; empty where the journal does not tell."""
    match report.failure:
        case Refused(reason=reason) if reason in _ABOUT_THE_CREDENTIAL:
            return f" ({reason}: the server knows no such login with this password)"
        case Refused(reason=reason) if reason:
            return f" ({reason})"
        case Unreachable():
            return " (no connection to the server: it never saw the password)"
        case _:
            return ""
