"""Waiting for an account's positions and orders after a login."""

from __future__ import annotations

from collections import OrderedDict

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.operations import Operation
from mt5relay_shared.records import AccountInfo
from mt5relay_worker.terminal.failure import IdentityError, NotReadyError
from mt5relay_worker.terminal.figures import implies_positions
from mt5relay_worker.terminal.login_report import LoginListener
from mt5relay_worker.terminal.looks import Looks
from mt5relay_worker.terminal.metatrader5 import MetaTrader5Adapter, Totals
from mt5relay_worker.terminal.synchronization import NOTHING, Look, Patience, Verdict, judge

REMEMBERED = 1_000  # accounts


class ListWait:
    """Waits for lists, and remembers what each account had open when it was last seen."""

    def __init__(self, terminal: MetaTrader5Adapter, looks: Looks, limit: float) -> None:
        self._terminal = terminal
        self._looks = looks
        self._limit = limit
        self._patience = Patience()
        self._seen: OrderedDict[AccountId, Totals] = OrderedDict()

    def begin_anew(self) -> None:
        """Another journal, or another life of the terminal: nothing is known of its pace."""
        self._patience = Patience()

    def wait(
        self, account: AccountId, listener: LoginListener, *, before: Verdict | None = None
    ) -> Verdict:
        """Look until the lists may be trusted, or the limit has passed.

        `before` is how that ended after the login before this one: what could only be doubted then
        is assumed now.

        Returns:
            `confirmed` or `assumed`; else a second login may bring what is missing.

        Raises:
            IdentityError: somebody else is logged in.
        """
        expects_a_word = listener.can_hear and self._patience.expects_a_word
        suspicious = expects_a_word or self._had_something(account)
        if before is not None:
            suspicious = before != "doubtful"
        until = self._looks.now() + self._limit
        settled: tuple[float, Totals | None] | None = None
        previous: Totals | None = None
        while True:
            look = self._look(account, previous, listener)
            now = self._looks.now()
            if settled is None and judge(look, patient=False) != "wait":
                settled = (now, look.totals)
            patient = self._patience.is_worth_it and now < until
            verdict = judge(look, patient=patient, suspicious=suspicious)
            if verdict in ("confirmed", "assumed") and look.totals is not None:
                since, found = settled or (now, look.totals)
                self._patience.learn(verdict, now - since, lists_changed=found != look.totals)
                self._remember(account, look.totals)
                return verdict
            if now >= until:
                if verdict == "doubtful" and expects_a_word:
                    self._patience.heard_nothing()
                return verdict
            previous = look.totals
            self._looks.pause()

    def note(self, account: AccountId, operation: Operation, found: int) -> None:
        """A read found so many; what was closed on purpose is not missed at the next login."""
        seen = self._seen.get(account, NOTHING)
        match operation:
            case Operation.POSITIONS:
                self._remember(account, Totals(found, seen.orders))
            case Operation.ORDERS:
                self._remember(account, Totals(seen.positions, found))
            case _:
                pass

    def _remember(self, account: AccountId, totals: Totals) -> None:
        self._seen[account] = totals
        self._seen.move_to_end(account)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    def _had_something(self, account: AccountId) -> bool:
        return self._seen.get(account, NOTHING) != NOTHING

    def _look(self, account: AccountId, previous: Totals | None, listener: LoginListener) -> Look:
        info = self._info(account)
        totals = self._terminal.totals()
        return Look(
            totals=totals,
            is_still=totals == previous,
            agrees=totals is not None
            and info is not None
            and (totals.positions > 0 or not implies_positions(info)),
            report=listener.listen(),
        )

    def _info(self, account: AccountId) -> AccountInfo | None:
        try:
            info = self._terminal.account_info()
        except NotReadyError:
            return None
        if (info.login, info.server) != (account.login, account.server):
            raise IdentityError(f"the terminal is no longer logged in to {account}")
        return info

    def __repr__(self) -> str:
        return f"<ListWait {self._patience!r}, {len(self._seen)} accounts seen>"
