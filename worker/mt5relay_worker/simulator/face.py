"""What every function of the package has in common: how it fails, and what it looks at."""

from __future__ import annotations

import functools
import itertools
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar, cast

from mt5relay_worker.simulator.arguments import (
    RETURNED_WHEN_REFUSED,
    AnswerLostError,
    ArgumentsRefusedError,
    OutOfRangeError,
    Taken,
    take_apart,
)
from mt5relay_worker.simulator.book import Book, Symbol, check_book
from mt5relay_worker.simulator.broker import Broker
from mt5relay_worker.simulator.faults import Faults, FaultsFile
from mt5relay_worker.simulator.journal import Journal
from mt5relay_worker.simulator.ledger import Ledger
from mt5relay_worker.simulator.machine import Machine
from mt5relay_worker.simulator.market import Market
from mt5relay_worker.simulator.session import Session
from mt5relay_worker.simulator.surface import CallError, Constants

P = ParamSpec("P")
Found = TypeVar("Found")
Failed = TypeVar("Failed")
FaceT = TypeVar("FaceT", bound="Face")
Call = Callable[Concatenate[FaceT, P], Found]

# Where these look for the terminal before they judge a value: a time frame, an action.
_LINK_COMES_FIRST = ("copy_", "order_calc_")


def fails_with(
    failed: Failed,
) -> Callable[[Call[FaceT, P, Found]], Call[FaceT, P, Found | Failed]]:
    """Make a method a function of the package: it returns `failed` and leaves a last error."""

    def decorate(function: Call[FaceT, P, Found]) -> Call[FaceT, P, Found | Failed]:
        @functools.wraps(function)
        def call(face: FaceT, /, *args: P.args, **kwargs: P.kwargs) -> Found | Failed:
            def carry_out(taken: Taken) -> Found:
                body = cast("Callable[..., Found]", function)
                return body(face, *taken.args, **taken.kwargs)

            return face.perform(function.__name__, args, kwargs, carry_out, failed)

        return call

    return decorate


class Face(Constants):
    """The state behind the functions. Arguments as of `SimulatedMetaTrader5`."""

    def __init__(
        self,
        book: Book,
        *,
        faults: Faults | None = None,
        faults_file: Path | None = None,
        data_folder: Path | None = None,
        seed: int = 0,
        speed: float = 1.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        check_book(book)
        self._market = Market(book.symbols, seed)
        self._broker = Broker(book, self._market, seed)
        self._machine = Machine(
            self._broker,
            FaultsFile(faults_file, faults or Faults()),
            Journal(data_folder),
            rng=random.Random(seed),
            clock=clock,
            sleep=sleep,
            pace=1 / speed if speed else 0.0,
        )
        self._data_folder = data_folder
        self._error = (0, "")
        self._selected = set(self._market.symbols)
        self._watched_depths: set[str] = set()
        self._request_ids = itertools.count(1)

    def __repr__(self) -> str:
        return f"<SimulatedMetaTrader5 {self._machine!r}, last error {self._error}>"

    def perform(
        self,
        name: str,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        carry_out: Callable[[Taken], Found],
        failed: Failed,
    ) -> Found | Failed:
        """Make a call and leave its last error; not part of the package's surface."""
        found: Found | Failed = failed
        is_thrown_away = False
        try:
            self._machine.enter(name)
            taken = take_apart(name, args, kwargs)
            is_thrown_away = taken.is_thrown_away
            if name.startswith(_LINK_COMES_FIRST):
                self._machine.require_link()
            found = carry_out(taken)
            self._error = (self.RES_S_OK, "Success")
        except ArgumentsRefusedError as error:
            self._error = (error.code, error.text)
            return cast("Failed", RETURNED_WHEN_REFUSED.get(name, failed))
        except CallError as error:
            self._error = (error.code, error.text)
        except OutOfRangeError as error:
            self._error = (self.RES_E_INVALID_PARAMS, error.text)
            raise
        if is_thrown_away:
            raise AnswerLostError
        return found

    def last_error(self) -> tuple[int, str]:
        """Code and text of the last call; (0, '') before any."""
        return self._error

    def _session_and_ledger(self) -> tuple[Session, Ledger | None]:
        session = self._machine.session()
        if session.account is None:
            return session, None
        now, priced_at = self._machine.now(), self._machine.market_time()
        return session, self._broker.supervised_ledger(session.account, now, priced_at)

    def _symbol(self, name: str) -> Symbol:
        if name not in self._market.symbols:
            raise CallError(self.RES_E_NOT_FOUND)
        return self._market.symbols[name]

    def _offset(self) -> int:
        """The lead of the server's clock over UTC in seconds; 0 where nobody is logged in."""
        account = self._machine.session().account
        return self._broker.offset(account[0]) if account else 0
