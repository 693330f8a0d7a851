"""The journal of a simulated terminal, as the real one writes it, so that readers can be tested.

`logs/YYYYMMDD.log` in UTF-16LE with a byte order mark, one file a local day, CRLF, five fields
between tabs: a code of two letters, severity, local time, source, message. Format and wording are
those of journals that users published (builds 4410 to 6204); that a broker's throttle reads
"Service is not available" is an assumption.
"""

from __future__ import annotations

import codecs
import zlib
from collections import deque
from datetime import datetime
from pathlib import Path

from mt5relay_worker.simulator.book import AccountKey
from mt5relay_worker.simulator.ledger import Ledger
from mt5relay_worker.simulator.session import Access

NOTE, TROUBLE = 0, 2
INVALID_ACCOUNT = "Invalid account"
SERVICE_NOT_AVAILABLE = "Service is not available"


class Journal:
    """Without a folder nothing is written. Times are seconds since 1970."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._late: deque[tuple[float, Path, str]] = deque()
        self.delay_seconds = 0.0
        self.is_silent = False

    @property
    def is_kept(self) -> bool:
        return self._folder is not None

    # -- what is told -------------------------------------------------------------------------

    def started(self, build: int, installed_in: str, at: float) -> None:
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / "origin.txt").write_bytes(_encoded(installed_in, begins=True))
        words = f"MetaTrader 5 x64 build {build} started for MetaQuotes Ltd."
        self._write("Terminal", words, at)

    def authorized(self, key: AccountKey, at: float) -> None:
        self._of_login(
            key, f"authorized on {key[0]} through Access Point EU 0 (ping: 38.40 ms)", at
        )

    def refused(self, key: AccountKey, reason: str, at: float) -> None:
        words = f"authorization on {key[0]} failed ({reason})"
        self._of_login(key, words, at, severity=TROUBLE)

    def unreachable(self, key: AccountKey, at: float) -> None:
        self._of_login(key, f"no connection to {key[0]}", at, severity=TROUBLE)

    def synchronized(
        self, key: AccountKey, ledger: Ledger, access: Access, symbols: int, at: float
    ) -> None:
        """The lists are there; `symbols` is how many the server offers."""
        counts = f"{len(ledger.positions)} positions, {len(ledger.orders)} orders"
        words = f"terminal synchronized with {ledger.company}: {counts}, {symbols} symbols"
        self._of_login(key, f"{words}, 0 spreads", at)
        mode = f"trading has been enabled, demo account - {ledger.account.margin_mode} mode"
        if access == "investor":
            mode = "trading has been disabled - investor mode"
        self._of_login(key, mode, at)

    # -- how it gets into the file ------------------------------------------------------------

    def flush(self, now: float) -> None:
        """Write what has been held back for long enough."""
        while self._late and self._late[0][0] <= now:
            _, path, line = self._late.popleft()
            _append(path, line)

    def _of_login(self, key: AccountKey, words: str, at: float, *, severity: int = NOTE) -> None:
        self._write("Network", f"'{key[1]}': {words}", at, severity)

    def _write(self, source: str, words: str, at: float, severity: int = NOTE) -> None:
        if self._folder is None or self.is_silent:
            return
        when = datetime.fromtimestamp(at)  # noqa: DTZ006 - journals are in local time
        clock = f"{when:%H:%M:%S}.{when.microsecond // 1000:03}"
        line = f"{_code(words, clock)}\t{severity}\t{clock}\t{source}\t{words}\r\n"
        self._late.append(
            (at + self.delay_seconds, self._folder / "logs" / f"{when:%Y%m%d}.log", line)
        )
        self.flush(at)

    def __repr__(self) -> str:
        return f"<Journal in {self._folder}>"


def _append(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(_encoded(line, begins=file.tell() == 0))


def _encoded(text: str, *, begins: bool) -> bytes:
    return (codecs.BOM_UTF16_LE if begins else b"") + text.encode("utf-16-le")


def _code(words: str, clock: str) -> str:
    """Two letters that mean nothing known; they differ from line to line."""
    number = zlib.crc32(f"{clock}{words}".encode())
    return "".join("DEFGHIJKLMNOPQRS"[number >> shift & 15] for shift in (0, 4))
