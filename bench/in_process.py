"""The simulated terminal inside a peer's own worker: what its task does for one look-up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.world import Lookup, password

from mt5relay_worker.simulator import SimulatedMetaTrader5, load_book


class LookupFailedError(RuntimeError):
    """The terminal refused, or shows another account than was asked for."""


class InProcessTerminal:
    """One account at a time: log in where need be, check who is logged in, read.

    For one thread only, as the package is.
    """

    def __init__(self, book: Path) -> None:
        self._mt5 = SimulatedMetaTrader5(load_book(book), speed=0)
        if not self._mt5.initialize():
            raise LookupFailedError("initialize")
        self._login = 0

    def answer(self, account: str, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """The record, as a dictionary that every serializer takes.

        Raises:
            LookupFailedError: there is none.
        """
        asked = Lookup(account, operation, arguments)
        self._be_on(asked)
        if asked.operation != "tick":
            raise LookupFailedError(f"no such operation here: {asked.operation}")
        name = asked.arguments["symbol"]
        if not self._mt5.symbol_select(name, True):
            raise LookupFailedError(f"symbol_select {name}")
        found = self._mt5.symbol_info_tick(name)
        if found is None:
            raise LookupFailedError(f"symbol_info_tick {name}")
        return found._asdict()

    def _be_on(self, asked: Lookup) -> None:
        login, _, server = asked.account.partition("@")
        if asked.login != self._login:
            self._login = 0
            if not self._mt5.login(int(login), password=password(int(login)), server=server):
                raise LookupFailedError(f"login {asked.account}")
        shown = self._mt5.account_info()
        if shown is None or (shown.login, shown.server) != (int(login), server):
            raise LookupFailedError(f"another account than {asked.account} is logged in")
        self._login = int(login)
