"""The verified switch: be sure who is logged in, and that the terminal has their data, then read.

After `login` returned True the terminal passes through four stages (each observed in production):
A, the old account or none is still shown; B, the right account with its margin not computed; C, its
positions or orders not loaded; D, history and symbols incomplete. A and B can be seen, and are
waited for. C is told by the terminal's journal, where that can be read; else it is guessed: totals
must hold still over two looks and agree with the margin. D is guessed alike when history is first
asked for: an account with a balance has had a deposit.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import msgspec

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.operations import Operation, parse_arguments, parse_operation
from mt5relay_shared.records import AccountInfo
from mt5relay_shared.secret import Secret
from mt5relay_worker.terminal.failure import IdentityError, NotReadyError, TerminalError
from mt5relay_worker.terminal.journal import Journal
from mt5relay_worker.terminal.login_report import LoginListener, why_refused
from mt5relay_worker.terminal.metatrader5 import MetaTrader5Adapter, Totals
from mt5relay_worker.terminal.protocol import Read, ReadResult
from mt5relay_worker.terminal.synchronization import Look, Patience, judge

HISTORY_OPERATIONS = frozenset({Operation.DEALS, Operation.HISTORY_ORDERS})
_CENT = 0.005  # money is compared to half a cent


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
        self._clock = clock
        self._sleep = sleep
        self._current: tuple[AccountId, str] | None = None
        self._has_history = False  # of the current account, as far as can be told
        self._synchronized: Literal["confirmed", "assumed"] = "assumed"
        self._journal: Journal | None = None
        self._patience = Patience()

    @property
    def synchronized(self) -> Literal["confirmed", "assumed"]:
        """How it is known that the lists of the account are there; as the last login found it."""
        return self._synchronized

    def follow(self, journal: Journal | None) -> None:
        """Listen to this journal from now on; None where there is none to be read."""
        self._journal = journal
        self._patience = Patience()

    def now(self) -> float:
        return self._clock()

    def forget(self) -> None:
        """After a time-out or a restart the terminal's state is unknown."""
        self._current = None
        self._has_history = False
        self._synchronized = "assumed"

    def is_on(self, account: AccountId, fingerprint: str) -> bool:
        """Whether the terminal is, by its own word of just now, where this credential put it."""
        return self._current == (account, fingerprint) and self._terminal.identity() == account

    def switch(
        self, account: AccountId, fingerprint: str, password: Secret, timeout_ms: int
    ) -> None:
        """Log in and wait until it is true and its data is there.

        Raises:
            IdentityError: twice the terminal stayed with somebody else.
            NotReadyError: margin or lists did not become consistent in time.
            TerminalError: the login failed.
        """
        self.forget()
        for _ in range(2):
            listener = LoginListener(self._journal, account)
            self._log_in(account, password, timeout_ms, listener)
            if self._wait(self._limits.identity, lambda: self._terminal.identity() == account):
                break
        else:
            raise IdentityError(f"login to {account} succeeded, yet the terminal shows another")
        if not self._wait(self._limits.hydration, self._has_margin):
            raise NotReadyError(f"{account}: the margin was not computed in time")
        self._synchronized = self._synchronize(account, listener)
        self._current = (account, fingerprint)

    def _log_in(
        self, account: AccountId, password: Secret, timeout_ms: int, listener: LoginListener
    ) -> None:
        try:
            self._terminal.login(account, password, timeout_ms)
        except TerminalError as error:
            if error.code != "MT5_AUTH_FAILED":
                raise
            reason = self._reason(listener)
            raise TerminalError(error.code, error.message + reason, error.mt5) from error

    def _reason(self, listener: LoginListener) -> str:
        limit = self._limits.reason if listener.can_hear else 0.0
        self._wait(limit, lambda: listener.listen().failure is not None)
        return why_refused(listener.listen())

    def _synchronize(
        self, account: AccountId, listener: LoginListener
    ) -> Literal["confirmed", "assumed"]:
        """Look until the lists may be trusted.

        Raises:
            NotReadyError: they did not become consistent in time.
        """
        until = self._clock() + self._limits.sync
        settled: tuple[float, Totals | None] | None = None
        previous: Totals | None = None
        while True:
            look = self._look(previous, listener)
            now = self._clock()
            if settled is None and judge(look, patient=False) != "wait":
                settled = (now, look.totals)
            verdict = judge(look, patient=self._patience.is_worth_it and now < until)
            if verdict != "wait":
                since, found = settled or (now, look.totals)
                self._patience.learn(verdict, now - since, lists_changed=found != look.totals)
                return verdict
            if now >= until:
                raise NotReadyError(f"{account}: positions and orders did not settle in time")
            previous = look.totals
            self._sleep(self._limits.poll)

    def _look(self, previous: Totals | None, listener: LoginListener) -> Look:
        totals = self._terminal.totals()
        return Look(
            totals=totals,
            is_still=totals == previous,
            agrees=totals is not None and self._agrees(totals),
            report=listener.listen(),
        )

    def _wait_for_history(self, account: AccountId) -> None:
        """Wait until the deals hold still and there are any where a balance says there must be.

        Raises:
            NotReadyError: they did not in time. Once they did, they are not asked for again.
        """
        if self._has_history:
            return
        previous: int | None = None

        def holds_still() -> bool:
            nonlocal previous
            before, previous = previous, self._terminal.deals_total()
            return previous == before and previous is not None and self._explains(previous)

        if not self._wait(self._limits.sync, holds_still):
            raise NotReadyError(f"{account}: the history was not loaded in time")
        self._has_history = True

    def _explains(self, deals: int) -> bool:
        return deals > 0 or self._terminal.account_info().balance == 0

    def _has_margin(self) -> bool:
        return is_hydrated(self._terminal.account_info())

    def _agrees(self, totals: Totals) -> bool:
        try:
            return totals.positions > 0 or not implies_positions(self._terminal.account_info())
        except NotReadyError:
            return False

    def _wait(self, limit: float, is_so: Callable[[], bool]) -> bool:
        """Look until it is so; not ready counts as not so."""
        until = self._clock() + limit
        while True:
            try:
                if is_so():
                    return True
            except NotReadyError:
                pass
            if self._clock() >= until:
                return False
            self._sleep(self._limits.poll)

    def read(self, account: AccountId, read: Read) -> ReadResult:
        """Make one read between two looks at who is logged in.

        Raises:
            IdentityError: somebody else was, before or after; the data is gone.
        """
        began = self._clock()
        self._require(account)
        try:
            operation = parse_operation(read.operation)
            if operation in HISTORY_OPERATIONS:
                self._wait_for_history(account)
            found = self._terminal.read(operation, parse_arguments(operation, read.arguments))
        except NotReadyError as error:
            return self._failed("not_ready", error, began)
        except TerminalError as error:
            return self._failed("error", error, began)
        if isinstance(found, AccountInfo) and (found.login, found.server) != (
            account.login,
            account.server,
        ):
            self.forget()
            raise IdentityError(f"asked for {account}, read another account")
        self._require(account)
        return ReadResult(
            kind="empty" if found == [] else "value",
            took_ms=self._since(began),
            data=msgspec.json.encode(found),
        )

    def _failed(self, kind: str, error: TerminalError, began: float) -> ReadResult:
        return ReadResult(
            kind="not_ready" if kind == "not_ready" else "error",
            took_ms=self._since(began),
            code=error.code,
            message=error.message,
            mt5=error.mt5,
        )

    def _require(self, account: AccountId) -> None:
        if self._terminal.identity() != account:
            self.forget()
            raise IdentityError(f"the terminal is no longer logged in to {account}")

    def _since(self, began: float) -> float:
        return (self._clock() - began) * 1000


def is_hydrated(info: AccountInfo) -> bool:
    """Whether the margin was computed: free margin is 0 only where equity minus margin is."""
    if info.margin_free != 0 or info.balance <= 0:
        return True
    return abs(info.equity - info.margin) < _CENT and info.margin > 0


def implies_positions(info: AccountInfo) -> bool:
    """Whether the account's own figures say that there must be open positions."""
    return info.margin > _CENT or abs(info.profit) > _CENT
