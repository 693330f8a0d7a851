"""The verified switch: be sure who is logged in, and that the terminal has their data, then read.

After `login` returned True the terminal passes through four stages (each observed in production):
A, the old account or none is still shown; B, the right account with its margin not computed; C, its
positions or orders not loaded; D, history and symbols incomplete. A and B can be seen, and are
waited for; figures that contradict each other and hold still are answered as assumed. C is told by
the terminal's journal, where that can be read; else it is guessed (`synchronization`), and what
can't be believed is logged in to once more. D is waited for when history is first asked for
(`history`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.operations import Arguments, Operation, parse_arguments, parse_operation
from mt5relay_shared.records import AccountInfo, Record
from mt5relay_shared.secret import Secret
from mt5relay_worker.terminal.failure import (
    IdentityError,
    NotReadyError,
    ServerNameError,
    TerminalError,
)
from mt5relay_worker.terminal.figures import implies_positions, is_hydrated
from mt5relay_worker.terminal.history import HistoryWait
from mt5relay_worker.terminal.journal import Journal
from mt5relay_worker.terminal.list_wait import ListWait
from mt5relay_worker.terminal.login_report import LoginListener, is_servers_fault, why_refused
from mt5relay_worker.terminal.looks import Looks
from mt5relay_worker.terminal.metatrader5 import MetaTrader5Adapter
from mt5relay_worker.terminal.protocol import Read, ReadResult
from mt5relay_worker.terminal.synchronization import Verdict

MOST_HYDRATIONS = 3  # times the limit that figures may go on changing
LOGINS = 2  # until the terminal must show the account
HISTORY_OPERATIONS = frozenset({Operation.DEALS, Operation.HISTORY_ORDERS})


@dataclass(frozen=True, slots=True)
class SwitchLimits:
    """Seconds. Looks are `poll` apart; the next three bound a stage each, and `reason` the wait for
    the journal to say why a login was refused."""

    poll: float = 0.02
    identity: float = 2.5
    hydration: float = 1.0
    sync: float = 5.0
    reason: float = 0.25


class VerifiedSwitch:
    """Holds what is known of who is logged in: nothing, until it was verified."""

    def __init__(
        self,
        terminal: MetaTrader5Adapter,
        limits: SwitchLimits,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._terminal = terminal
        self._limits = limits
        self._looks = Looks(limits.poll, clock=clock, sleep=sleep)
        self._lists = ListWait(terminal, self._looks, limits.sync)
        self._history = HistoryWait(terminal, self._looks, limits.sync)
        self._current: tuple[AccountId, str] | None = None
        self._has_history = False  # of the current account, as far as can be told
        self._synchronized: Literal["confirmed", "assumed"] = "assumed"
        self._is_margin_assumed = False  # the account's figures contradict each other for good
        self._journal: Journal | None = None

    @property
    def synchronized(self) -> Literal["confirmed", "assumed"]:
        """How it is known that the lists of the account are there; as the last login found it."""
        return self._synchronized

    def follow(self, journal: Journal | None) -> None:
        """Listen to this journal from now on; None where there is none to be read."""
        self._journal = journal
        self._lists.begin_anew()

    def now(self) -> float:
        return self._looks.now()

    def forget(self) -> None:
        """After a time-out or a restart the terminal's state is unknown."""
        self._current = None
        self._has_history = False
        self._synchronized = "assumed"
        self._is_margin_assumed = False

    def is_on(self, account: AccountId, fingerprint: str) -> bool:
        """Whether the terminal is, by its own word of just now, where this credential put it."""
        return self._current == (account, fingerprint) and self._terminal.identity() == account

    def renew(self, account: AccountId, before: str, fingerprint: str) -> None:
        """The same password has another fingerprint now: who is logged in stays so."""
        if self._current == (account, before):
            self._current = (account, fingerprint)

    def switch(
        self, account: AccountId, fingerprint: str, password: Secret, timeout_ms: int
    ) -> None:
        """Log in and wait until it is true and its data is there.

        Raises:
            IdentityError: the terminal stayed with another account, or went to one.
            ServerNameError: the account is right, and its server has another name.
            NotReadyError: the lists did not become consistent in time.
            TerminalError: the login failed.
        """
        self.forget()
        verdict: Verdict | None = None
        for _ in range(2):  # some lists come with a second login only
            listener = self._enter(account, password, timeout_ms)
            verdict = self._lists.wait(account, listener, before=verdict)
            if verdict in ("confirmed", "assumed"):
                self._synchronized = "assumed" if self._is_margin_assumed else verdict
                self._current = (account, fingerprint)
                return
        raise NotReadyError(f"{account}: positions and orders did not settle in time")

    def _enter(self, account: AccountId, password: Secret, timeout_ms: int) -> LoginListener:
        """Log in until the terminal shows the account, and its margin."""
        before, attempts = self.shown(), 0
        while True:
            attempts += 1
            listener = LoginListener(self._journal, account)
            self._log_in(account, password, timeout_ms, listener)
            if self._looks.until(
                self._limits.identity, lambda: self._terminal.identity() == account
            ):
                self._is_margin_assumed = not self._wait_for_margin(account)
                return listener
            if attempts == LOGINS:
                raise self._another_is_shown(account, before, listener)

    def shown(self) -> AccountId | None:
        """The account that the terminal shows; None where it does not say."""
        try:
            return self._terminal.identity()
        except TerminalError:
            return None

    def _another_is_shown(
        self, account: AccountId, before: AccountId | None, listener: LoginListener
    ) -> TerminalError:
        """Tell an account under another server name from a terminal that shows another account.

        Two brokers may have the same login. So the login alone proves nothing where the terminal
        showed this very account before: then only the journal does.
        """
        shown = self.shown()
        if shown is None or shown.login != account.login:
            return IdentityError(f"login to {account} succeeded, yet the terminal shows another")
        if shown == before and listener.listen().authorized_on != shown.server:
            return IdentityError(
                f"login to {account} succeeded, yet the terminal shows {shown}, as before it; if"
                " that is the same account, enrol it by the server name that the terminal shows"
            )
        return ServerNameError(
            f"{account}: the login succeeded, and the terminal calls this server"
            f" {shown.server!r}; enrol the account as {shown} and remove {account}"
        )

    def _wait_for_margin(self, account: AccountId) -> bool:
        """Wait until the figures agree with each other; False where they hold still and do not.

        Raises:
            NotReadyError: they still changed, or were not to be had, at three times the limit.
        """
        limit, figures = self._limits.hydration, self._figures()
        began = changed = self._looks.now()
        while figures is None or not is_hydrated(figures):
            if figures is not None and self._looks.now() - changed >= limit:
                return False
            if self._looks.now() - began >= MOST_HYDRATIONS * limit:
                raise NotReadyError(f"{account}: the margin was not computed in time")
            self._looks.pause()
            before, figures = figures, self._figures()
            if figures != before:
                changed = self._looks.now()
        return True

    def _figures(self) -> AccountInfo | None:
        try:
            return self._terminal.account_info()
        except NotReadyError:
            return None

    def _log_in(
        self, account: AccountId, password: Secret, timeout_ms: int, listener: LoginListener
    ) -> None:
        try:
            self._terminal.login(account, password, timeout_ms)
        except TerminalError as error:
            if error.code != "MT5_AUTH_FAILED":
                raise
            reason = self._reason(listener)
            is_servers = is_servers_fault(listener.listen())
            code = "BROKER_UNAVAILABLE" if is_servers else error.code
            raise TerminalError(code, error.message + reason, error.mt5) from error

    def _reason(self, listener: LoginListener) -> str:
        limit = self._limits.reason if listener.can_hear else 0.0
        self._looks.until(limit, lambda: listener.listen().failure is not None)
        return why_refused(listener.listen())

    def read(
        self,
        account: AccountId,
        read: Read,
        *,
        is_seen: bool = False,
        give_up_at: float | None = None,
    ) -> ReadResult:
        """Make one read between two looks at who is logged in; a result with data was looked at.

        What is not ready yet is asked for again until `give_up_at`, or until now where that is
        None. `is_seen` says that a look at who is logged in was the last thing done.

        Raises:
            IdentityError: another account was, before or after; the data is gone.
        """
        began = self._looks.now()
        if not is_seen:
            self._require(account)
        try:
            operation = parse_operation(read.operation)
            if operation in HISTORY_OPERATIONS:
                self._wait_for_history(account)
            arguments = parse_arguments(operation, read.arguments)
            limit = 0.0 if give_up_at is None else give_up_at - began
            found = self._looks.got(limit, lambda: self._plausible(account, operation, arguments))
            data = msgspec.json.encode(found)
        except NotReadyError as error:
            return self._failed("not_ready", error, began)
        except IdentityError:
            self.forget()
            raise
        except TerminalError as error:
            return self._failed("error", error, began)
        except MT5ValidationError:
            raise
        except Exception as error:  # a read is a unit of work: the others of the visit go on
            unforeseen = f"{read.operation}: reading it raised {type(error).__name__}"
            return self._failed("error", TerminalError("INTERNAL", unforeseen), began)
        self._require(account)
        if isinstance(found, list):
            self._lists.note(account, operation, len(found))
        return ReadResult(
            kind="empty" if found == [] else "value",
            took_ms=self._since(began),
            data=data,
        )

    def _plausible(
        self, account: AccountId, operation: Operation, arguments: Arguments
    ) -> Record | list[Any]:
        found = self._terminal.read(operation, arguments)
        self._require_plausible(account, operation, found)
        return found

    def _wait_for_history(self, account: AccountId) -> None:
        """Once it was there it is not waited for again."""
        if not self._has_history:
            self._history.wait(account)
            self._has_history = True

    def _require_plausible(
        self, account: AccountId, operation: Operation, found: Record | list[Any]
    ) -> None:
        """A terminal that logs in anew by itself passes through the same stages again.

        Raises:
            IdentityError: it is of another account.
            NotReadyError: the account's own figures speak against it.
        """
        if isinstance(found, AccountInfo):
            if (found.login, found.server) != (account.login, account.server):
                raise IdentityError(f"asked for {account}, read another account")
            if not is_hydrated(found) and not self._is_margin_assumed:
                raise NotReadyError(f"{account}: the margin is not computed")
        is_empty = operation is Operation.POSITIONS and found == []
        if is_empty and implies_positions(self._terminal.account_info()):
            raise NotReadyError(f"{account}: the positions are not loaded")

    def _failed(self, kind: str, error: TerminalError, began: float) -> ReadResult:
        return ReadResult(
            kind="not_ready" if kind == "not_ready" else "error",
            took_ms=self._since(began),
            code=error.code,
            message=error.message,
            mt5=error.mt5,
        )

    def _require(self, account: AccountId) -> None:
        found = self._terminal.identity()
        if found is None:
            self.forget()
            raise NotReadyError(f"the terminal does not say that {account} is logged in")
        if found != account:
            self.forget()
            raise IdentityError(f"the terminal is no longer logged in to {account}")

    def _since(self, began: float) -> float:
        return (self._looks.now() - began) * 1000
