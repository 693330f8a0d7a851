"""The broker's side: which accounts there are, and who may log in to them."""

from __future__ import annotations

import math
import random
from typing import Literal

from mt5relay_worker.simulator.book import AccountKey, Book
from mt5relay_worker.simulator.ledger import Ledger
from mt5relay_worker.simulator.market import Market
from mt5relay_worker.simulator.past import live_through_the_past
from mt5relay_worker.simulator.stop_out import stop_out
from mt5relay_worker.simulator.trading_week import last_open

SUPERVISED_EVERY = 1.0  # seconds


class Broker:
    """All accounts of a book. Outlives the terminal: what was traded stays traded."""

    def __init__(self, book: Book, market: Market, seed: int) -> None:
        self.market = market
        self._accounts = {account.key: account for account in book.accounts}
        self._servers = {server.name: server for server in book.servers}
        self._sessions = book.sessions
        self._seed = seed
        self._ledgers: dict[AccountKey, Ledger] = {}
        self._supervised_at: dict[AccountKey, float] = {}

    @property
    def keys(self) -> tuple[AccountKey, ...]:
        return tuple(self._accounts)

    def has_server(self, name: str) -> bool:
        return name in self._servers

    def last_open(self, at: float) -> float:
        """The last moment up to `at` at which there was trade."""
        return last_open(at) if self._sessions == "weekdays" else at

    def access(self, key: AccountKey, password: str) -> Literal["full", "investor"] | None:
        """What a password opens; None for a wrong one, or for an unknown server or account."""
        account = self._accounts.get(key)
        if account is None:
            return None
        if password == account.password:
            return "full"
        return "investor" if password == account.investor_password else None

    def ledger(self, key: AccountKey, now: float) -> Ledger:
        if key not in self._ledgers:
            account = self._accounts[key]
            server = self._servers[account.server]
            ledger = Ledger(account, server, self.market)
            rng = random.Random(f"{self._seed}/{server.name}/{account.login}")
            live_through_the_past(ledger, self.market, rng, now)
            self._ledgers[key] = ledger
        return self._ledgers[key]

    def supervised_ledger(self, key: AccountKey, now: float, priced_at: float) -> Ledger:
        """The ledger, after positions that its account can't carry were closed.

        `priced_at` is up to when prices are known; an account is looked at once a second.
        """
        ledger = self.ledger(key, now)
        if abs(priced_at - self._supervised_at.get(key, -math.inf)) >= SUPERVISED_EVERY:
            self._supervised_at[key] = priced_at
            stop_out(ledger, priced_at)
        return ledger

    def offset(self, server: str) -> int:
        """How many seconds the server's wall clock is ahead of UTC."""
        return round(self._servers[server].utc_offset_hours * 3600)
