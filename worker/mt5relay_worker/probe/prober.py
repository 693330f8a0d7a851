"""Measures a terminal: attaches, logs in by a plan, looks at what comes when, reads everything.

It logs in with the passwords of the plan and reads; it trades nothing and keeps nothing that it
reads. An account that was refused is left alone, three refusals in a row end the probe, and so does
a terminal that is gone: a probe must not be what gets an account flagged.
"""

from __future__ import annotations

import ntpath
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.operations import (
    Arguments,
    HistoryArguments,
    Operation,
    RatesArguments,
    SymbolArguments,
)
from mt5relay_worker.probe.interpreter_lock import Silence
from mt5relay_worker.probe.messages import (
    Attached,
    Doing,
    Event,
    Failure,
    Finished,
    LoggedIn,
    Plan,
    ReadAll,
    Watched,
)
from mt5relay_worker.probe.metering import MeteredBinding, without_names
from mt5relay_worker.probe.planning import Kind, kind_of, next_account
from mt5relay_worker.terminal.failure import NotReadyError, TerminalError
from mt5relay_worker.terminal.figures import is_hydrated
from mt5relay_worker.terminal.journal import Journal, open_journal
from mt5relay_worker.terminal.journal_lines import Refused, Synchronized, Unreachable
from mt5relay_worker.terminal.login_report import LoginListener, LoginReport
from mt5relay_worker.terminal.metatrader5 import (
    AUTH_FAILED,
    LINK_ERRORS,
    Binding,
    MetaTrader5Adapter,
    TerminalState,
    Totals,
)

REST_BEFORE_ATTACHING = 4.0  # seconds; sooner after `shutdown`, `initialize` may answer -6
MOST_REFUSALS_IN_A_ROW = 3
HISTORY_DAYS = 30
RATES = 100
USUAL_SYMBOL = "EURUSD"  # where an account holds none
_REASON_LIMIT = 0.25  # seconds for the journal to say why a login was refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds: what the package is told, and after how long without a word a step hangs."""

    call_timeout: float = 60.0
    attach: float = 180.0
    step: float = 90.0


class EndedError(Exception):
    """The probe can't go on; the message says why."""


class Prober:
    """Makes every call on the thread that calls `run`.

    `tell` is given every event as it comes, `Finished` last. Virtual time is made of `clock`,
    `sleep` and `wall_clock`, which is in seconds since 1970.
    """

    def __init__(
        self,
        binding: Binding,
        plan: Plan,
        tell: Callable[[Event], None],
        *,
        path: str | None = None,
        portable: bool = False,
        limits: Limits | None = None,
        silence: Silence | None = None,
        find_journal: Callable[[str], Journal | None] = open_journal,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._meter = MeteredBinding(binding, clock, silence)
        self._terminal = MetaTrader5Adapter(cast("Binding", self._meter), portable=portable)
        self._plan = plan
        self._tell = tell
        self._path = path
        self._limits = limits or Limits()
        self._find_journal = find_journal
        self._clock = clock
        self._sleep = sleep
        self._wall_clock = wall_clock
        self._began = clock()
        self._accounts = [credential.account for credential in plan.credentials]
        self._refused: set[AccountId] = set()
        self._refusals_in_a_row = 0
        self._measured: Counter[Kind] = Counter()
        self._visits: Counter[AccountId] = Counter()
        self._journal: Journal | None = None

    def __repr__(self) -> str:
        return f"<Prober {self._measured.total()} of {self._plan.logins} logins>"

    def run(self) -> None:
        """Carry out the plan, or as much of it as the terminal lets happen."""
        self._began = self._clock()
        try:
            self._attach(again=False)
            self._log_in_by_plan()
            self._attach_again()
            self._terminal.shutdown()
        except EndedError as end:
            self._finish(str(end), complete=False)
        except TerminalError as error:
            self._finish(without_names(error.message), complete=False)
        else:
            self._finish("everything was measured", complete=True)

    def _finish(self, why: str, *, complete: bool) -> None:
        failures = self._meter.take().failures
        self._tell(Finished(complete=complete, why=why, at=self._at(), failures=failures))

    # -- attaching ----------------------------------------------------------------------------

    def _attach(self, *, again: bool) -> None:
        self._tell(Doing("initialize", self._limits.attach))
        began = self._clock()
        try:
            self._terminal.initialize(self._path, round(self._limits.call_timeout * 1000))
        except TerminalError:
            self._tell_attached(again, self._clock() - began, None)
            raise EndedError("`initialize` failed") from None
        took = self._clock() - began
        state = self._terminal.state()
        if _is_elsewhere(state.path, self._path):
            self._terminal.shutdown()
            raise EndedError("`initialize` attached to another terminal than MT5_TERMINAL_PATH")
        self._journal = self._find_journal(state.data_path)
        self._tell_attached(again, took, state)

    def _tell_attached(self, again: bool, took: float, state: TerminalState | None) -> None:
        reading = self._meter.take()
        self._tell(
            Attached(
                at=self._at(),
                again=again,
                took=took,
                is_done=state is not None,
                silence=reading.silence,
                build=state.build if state else None,
                package=self._terminal.package_version(),
                has_journal=self._journal is not None,
                failures=reading.failures,
            )
        )

    def _attach_again(self) -> None:
        for _ in range(self._plan.attaches):
            self._terminal.shutdown()
            self._rest(REST_BEFORE_ATTACHING)
            self._attach(again=True)

    # -- logging in ---------------------------------------------------------------------------

    def _log_in_by_plan(self) -> None:
        for number in range(1, self._plan.logins + 1):
            if number > 1:
                self._rest(self._plan.pause)
            if self._at() >= self._plan.time_limit:
                raise EndedError(f"the time limit, after {number - 1} logins")
            self._log_in_once(number)

    def _log_in_once(self, number: int) -> None:
        left = [account for account in self._accounts if account not in self._refused]
        if not left:
            raise EndedError("every account was refused")
        before = self._terminal.identity()
        account = next_account(left, before, self._measured, self._visits)
        kind = kind_of(before, account)
        self._measured[kind] += 1
        self._visits[account] += 1
        index = self._accounts.index(account)
        self._tell(Doing("login", self._limits.step, number, index, kind))
        listener = LoginListener(self._journal, account)
        if self._log_in(index, kind, listener):
            self._watch(account, before, listener)
            self._read_everything()

    def _log_in(self, index: int, kind: Kind, listener: LoginListener) -> bool:
        account = self._accounts[index]
        self._meter.take()
        error: TerminalError | None = None
        began = self._clock()
        try:
            self._terminal.login(
                account,
                self._plan.credentials[index].secret,
                round(self._limits.call_timeout * 1000),
            )
        except TerminalError as failed:
            error = failed
        took = self._clock() - began
        reading = self._meter.take()
        self._tell(
            LoggedIn(
                at=self._at(),
                account=index,
                kind=kind,
                took=took,
                is_done=error is None,
                silence=reading.silence,
                failures=_of_login(reading.failures),
                reason=self._reason(listener) if error else "",
            )
        )
        self._draw_consequences(account, error)
        return error is None

    def _draw_consequences(self, account: AccountId, error: TerminalError | None) -> None:
        code = error.mt5.code if error and error.mt5 else None
        if code != AUTH_FAILED:
            self._refusals_in_a_row = 0
        else:
            self._refused.add(account)
            self._refusals_in_a_row += 1
        if self._refusals_in_a_row >= MOST_REFUSALS_IN_A_ROW:
            raise EndedError("refused three times in a row, as a throttled host is")
        if error is not None and code in LINK_ERRORS:
            raise EndedError("the terminal is gone")

    def _reason(self, listener: LoginListener) -> str:
        until = self._clock() + (_REASON_LIMIT if listener.can_hear else 0.0)
        while (failure := listener.listen().failure) is None and self._clock() < until:
            self._sleep(self._plan.poll)
        match failure:
            case Refused(reason=reason):
                return without_names(reason)
            case Unreachable():
                return "no connection"
            case None:
                return ""

    # -- after a login ------------------------------------------------------------------------

    def _watch(self, account: AccountId, before: AccountId | None, listener: LoginListener) -> None:
        self._tell(Doing("looks after the login", self._plan.watch + self._limits.step))
        seen = _Seen(account, before)
        began = self._clock()
        while True:
            since = self._clock() - began
            self._look(seen, listener, since)
            if seen.lost_account or seen.is_settled or since >= self._plan.watch:
                break
            self._sleep(self._plan.poll)
        self._tell(seen.told(self._at(), self._meter.take().failures))

    def _look(self, seen: _Seen, listener: LoginListener, since: float) -> None:
        seen.see_identity(since, self._terminal.identity())
        if seen.identity_at is None:
            return
        if seen.margin_at is None and self._is_hydrated():
            seen.margin_at = since
        seen.see_totals(since, self._terminal.totals())
        seen.hear(since, listener.listen())

    def _is_hydrated(self) -> bool:
        try:
            return is_hydrated(self._terminal.account_info())
        except NotReadyError:
            return False

    def _read_everything(self) -> None:
        self._tell(Doing("reads", self._limits.step))
        self._meter.take()
        for operation, arguments in self._questions():
            try:
                self._terminal.read(operation, arguments)
            except TerminalError as error:
                if error.code == "MT5_CONNECTION_LOST":
                    raise EndedError("the terminal is gone") from None
        reading = self._meter.take()
        self._tell(ReadAll(at=self._at(), took=reading.took, failures=reading.failures))

    def _questions(self) -> list[tuple[Operation, Arguments]]:
        until = round(self._wall_clock() + 86_400) * 1000  # the server's clock may be ahead
        span = HistoryArguments(until - HISTORY_DAYS * 86_400_000, until)
        symbol = self._symbol()
        return [
            (Operation.ACCOUNT_INFO, Arguments()),
            (Operation.POSITIONS, Arguments()),
            (Operation.ORDERS, Arguments()),
            (Operation.DEALS, span),
            (Operation.HISTORY_ORDERS, span),
            (Operation.SYMBOL, SymbolArguments(symbol)),
            (Operation.TICK, SymbolArguments(symbol)),
            (Operation.RATES, RatesArguments(symbol, "M1", RATES)),
        ]

    def _symbol(self) -> str:
        try:
            held = self._terminal.held_symbols()
        except TerminalError:
            held = []
        self._meter.take()
        return held[0] if held else USUAL_SYMBOL

    # -- time ---------------------------------------------------------------------------------

    def _rest(self, seconds: float) -> None:
        self._tell(Doing("a pause", seconds + self._limits.step))
        self._sleep(seconds)

    def _at(self) -> float:
        return self._clock() - self._began


class _Seen:
    """What was seen of a login since it returned, and when."""

    def __init__(self, account: AccountId, before: AccountId | None) -> None:
        self._account = account
        self._before = before
        self._totals: Totals | None = None
        self._counted: Synchronized | None = None
        self._nobody_seen = self._old_seen = False
        self.identity_at: float | None = None
        self.margin_at: float | None = None
        self.lists_at: float | None = None
        self.journal_at: float | None = None
        self.nobody_until: float | None = None
        self.old_until: float | None = None
        self.lost_account = False

    @property
    def is_settled(self) -> bool:
        """The journal says that everything is there, and so does the terminal."""
        if self._counted is None or self._totals is None or self.margin_at is None:
            return False
        counts = (self._counted.positions, self._counted.orders)
        return None not in counts and counts == (self._totals.positions, self._totals.orders)

    def see_identity(self, since: float, shown: AccountId | None) -> None:
        if shown == self._account:
            self.identity_at = since if self.identity_at is None else self.identity_at
        elif self.identity_at is not None:
            self.lost_account = shown is not None
        self._see_nobody(since, shown)
        self._see_old(since, shown)

    def _see_nobody(self, since: float, shown: AccountId | None) -> None:
        if shown is None:
            self._nobody_seen = True
        elif self._nobody_seen and self.nobody_until is None:
            self.nobody_until = since

    def _see_old(self, since: float, shown: AccountId | None) -> None:
        if shown is not None and shown == self._before != self._account:
            self._old_seen = True
        elif self._old_seen and self.old_until is None:
            self.old_until = since

    def see_totals(self, since: float, totals: Totals | None) -> None:
        if totals is not None and totals != self._totals:
            self._totals, self.lists_at = totals, since

    def hear(self, since: float, report: LoginReport) -> None:
        if report.synchronized is not None and self.journal_at is None:
            self._counted, self.journal_at = report.synchronized, since

    def told(self, at: float, failures: list[Failure]) -> Watched:
        totals = self._totals
        return Watched(
            at=at,
            identity=self.identity_at,
            margin=self.margin_at,
            lists=self.lists_at,
            journal=self.journal_at,
            has_lists=totals is not None and totals != Totals(0, 0),
            nobody_until=self.nobody_until,
            old_until=self.old_until,
            lost_account=self.lost_account,
            failures=failures,
        )


def _of_login(failures: list[Failure]) -> list[Failure]:
    """Without those of the calls that only explain it."""
    return [failure for failure in failures if failure.call == "login"]


def _is_elsewhere(attached_to: str, path: str | None) -> bool:
    """`initialize` has been seen to attach to whatever terminal was running."""
    if path is None or not attached_to:
        return False
    return os.path.normcase(attached_to) != os.path.normcase(ntpath.dirname(path))
