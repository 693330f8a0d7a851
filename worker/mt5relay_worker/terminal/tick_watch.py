"""Looks at the latest ticks after a visit, to find the server's offset from UTC."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from mt5relay_shared.accounts import AccountId
from mt5relay_worker.terminal.broker_time import BrokerTime
from mt5relay_worker.terminal.failure import TerminalError
from mt5relay_worker.terminal.metatrader5 import MetaTrader5Adapter


class TickWatch:
    """A few calls at a time, at most every two seconds, and none while the offset is sure."""

    def __init__(
        self, terminal: MetaTrader5Adapter, *, utc: Callable[[], float] = time.time
    ) -> None:
        self._terminal = terminal
        self._utc = utc
        self._known = BrokerTime()

    def offset(self, server: str) -> int | None:
        """Seconds that the server's clock is ahead of UTC; None where that is not known."""
        return self._known.offset(server, self._utc())

    def look(self, account: AccountId, symbols: Iterable[str] = ()) -> None:
        """Look at symbols of the account that is logged in; `symbols` are some that it has.

        Never raises: a look that fails teaches nothing.
        """
        server = account.server
        if not self._known.wants_a_look(server, self._utc()):
            return
        self._known.suggest(server, symbols)
        try:
            self._look(account)
        except TerminalError:
            return

    def _look(self, account: AccountId) -> None:
        server = account.server
        chosen = self._known.symbols(server)
        if not chosen:
            self._known.suggest(server, self._terminal.held_symbols())
            chosen = self._known.symbols(server)
        seen = [(symbol, self._terminal.tick_time(symbol), self._utc()) for symbol in chosen]
        if self._terminal.identity() != account:  # then they may be another server's
            return
        for symbol, tick, now in seen:
            self._known.looked(server, symbol, tick, now)

    def __repr__(self) -> str:
        return f"<TickWatch {self._known!r}>"
