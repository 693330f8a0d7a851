"""The simulated terminal as the pipe needs it: nothing blocks, and it says when it is done."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

from mt5relay_worker.simulator.book import Book
from mt5relay_worker.simulator.faults import Faults
from mt5relay_worker.simulator.pipe.ahead import AheadClock, SilenceError
from mt5relay_worker.simulator.pipe.calls import PackageCall
from mt5relay_worker.simulator.terminal import SimulatedMetaTrader5

# Only the package knows the time-out of a call; this much outlasts it, also when it is scaled.
_NEVER_SECONDS = 1e12


class PipeTerminal(SimulatedMetaTrader5):
    """The module face's broker, machine and functions; for one thread, and for any clients.

    Args: as of `SimulatedMetaTrader5`; `path` is that of the program that is simulated. `clock` is
    the real time in seconds since 1970.
    """

    def __init__(
        self,
        book: Book,
        path: str,
        *,
        faults: Faults | None = None,
        faults_file: Path | None = None,
        data_folder: Path | None = None,
        seed: int = 0,
        speed: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._ahead = AheadClock(clock)
        super().__init__(
            book,
            faults=faults,
            faults_file=faults_file,
            data_folder=data_folder,
            seed=seed,
            speed=speed,
            clock=self._ahead.time,
            sleep=self._ahead.sleep,
        )

    @property
    def now(self) -> float:
        """The terminal's time, which is ahead of the real one while it is busy."""
        return self._ahead.time()

    @property
    def busy_until(self) -> float:
        """When what was asked so far is done, in seconds since 1970."""
        return self._ahead.ahead

    @property
    def never_ends(self) -> bool:
        """Whether the last call would have gone on until its caller gives up."""
        return self._ahead.is_endless

    @property
    def build(self) -> int:
        return self._machine.build

    @property
    def is_alive(self) -> bool:
        """Whether whoever is attached still is: it has not died, nor been closed."""
        return self._machine.is_attached

    @property
    def is_installed(self) -> bool:
        return not self._machine.faults.terminal_missing

    def make(self, call: PackageCall) -> tuple[object, int]:
        """Make a call of the package; what it returned, and the code it left.

        Raises:
            SilenceError: it would never return.
        """
        function = cast("Callable[..., object]", getattr(self, call.function))
        return self._without_waiting(lambda: function(*call.args, **call.kwargs))

    def attach(self) -> tuple[object, int]:
        """What the package's first frame does: attach, and start the terminal if it must be."""

        def carry_out(_: object) -> bool:
            self._machine.attach(self._path, _NEVER_SECONDS)
            return True

        return self._without_waiting(lambda: self.perform("initialize", (), {}, carry_out, False))

    def log_in(self, login: int, password: str, server: str) -> tuple[object, int]:
        """Log in. An empty text is one that was not given."""
        named = {"password": password, "server": server}

        def carry_out(_: object) -> bool:
            self._machine.log_in(login, password or None, server or None, _NEVER_SECONDS)
            return True

        return self._without_waiting(
            lambda: self.perform("login", (login,), named, carry_out, False)
        )

    def let_go(self) -> None:
        """The last client is gone; who is logged in stays so."""
        self._without_waiting(self.shutdown)

    def _without_waiting(self, call: Callable[[], object]) -> tuple[object, int]:
        self._ahead.begin_call()
        before = self._ahead.ahead
        try:
            return call(), self.last_error()[0]
        except SilenceError:
            self._ahead.ahead = before
            raise

    def keep_up(self) -> None:
        """What a terminal does while nobody asks: its journal; and changes of faults take hold."""
        self._without_waiting(lambda: self._machine.enter("last_error"))

    def __repr__(self) -> str:
        return f"<PipeTerminal {self._path!r}, {self._machine!r}>"
