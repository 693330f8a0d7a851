"""Follows the terminal's journal: the files `logs/YYYYMMDD.log` of its data folder.

The terminal appends UTF-16 text, begins a file at local midnight, and writes at its own pace: lines
have been seen to reach the file seconds after what they tell of. A file that is not there, can't be
opened at the moment or makes no sense is the same as one in which nothing was written.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path

from mt5relay_worker.terminal.journal_lines import MAX_LINE, Said, parse_line

MAX_BYTES_A_LOOK = 256 * 1024
_BOMS = (
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, "utf-8"),
)
_HEAD = 64  # bytes that tell an encoding


def local_now() -> datetime:
    """The time on this computer's clock, as the terminal writes it: without a zone."""
    return datetime.now()  # noqa: DTZ005 - journals are in local time


def open_journal(data_folder: str) -> Journal | None:
    """The journal of the terminal with this data folder; None where the folder can't be seen."""
    try:
        is_there = bool(data_folder) and os.path.isdir(data_folder)
    except (OSError, ValueError):
        return None
    return Journal(Path(data_folder) / "logs") if is_there else None


class Journal:
    """What is said of logins, from `skip` on. Bounded in memory; nothing here raises."""

    def __init__(self, folder: Path, *, now: Callable[[], datetime] = local_now) -> None:
        self._folder = folder
        self._now = now
        self._file: _LogFile | None = None

    def now(self) -> datetime:
        """Local time, to compare with that of the lines."""
        return self._now()

    def skip(self) -> None:
        """Let go of everything that has been written so far."""
        self._file = self._of_today()
        self._file.skip()

    def read(self) -> list[tuple[datetime, int, Said]]:
        """Read what was written since the last look, at most 256 KiB of each file.

        Returns:
            (local time, login, what was said), in the order of the journal.
        """
        if self._file is None:
            self.skip()
            return []
        today = self._of_today()
        # Looked at first: once the new file is there, nothing more comes into the old one.
        has_begun = today.day > self._file.day and today.is_there()
        said = list(self._file.read())
        if has_begun:
            self._file = today
            said += self._file.read()
        return said

    def _of_today(self) -> _LogFile:
        return _LogFile(self._folder, self._now().date())

    def __repr__(self) -> str:
        return f"<Journal {self._folder}>"


class _LogFile:
    """One day's file, read on from where the last look ended. It is held open during a look only:
    an open file could not be moved away on Windows."""

    def __init__(self, folder: Path, day: date) -> None:
        self.day = day
        self._path = folder / f"{day:%Y%m%d}.log"
        self._position = 0
        self._decoder: codecs.IncrementalDecoder | None = None
        self._unfinished = ""

    def is_there(self) -> bool:
        return self._size() is not None

    def skip(self) -> None:
        self._position = (self._size() or 0) & ~1  # UTF-16 comes in twos

    def read(self) -> Iterator[tuple[datetime, int, Said]]:
        for text in self._lines():
            line = parse_line(text)
            if line is not None:
                yield datetime.combine(self.day, line.at), line.login, line.said

    def _lines(self) -> list[str]:
        *lines, unfinished = (self._unfinished + self._new_text()).split("\n")
        self._unfinished = unfinished if len(unfinished) <= MAX_LINE else ""
        return [line.removesuffix("\r") for line in lines]

    def _new_text(self) -> str:
        try:
            with self._path.open("rb") as file:
                if self._decoder is None:
                    self._decoder = _decoder(file.read(_HEAD))
                    if self._decoder is None:
                        return ""
                if file.seek(0, os.SEEK_END) < self._position:
                    self._start_over()
                file.seek(self._position)
                new = file.read(MAX_BYTES_A_LOOK)
        except (OSError, ValueError):  # somebody holds it; there will be another look
            return ""
        self._position += len(new)
        return self._decoder.decode(new).replace("\ufeff", "")

    def _start_over(self) -> None:
        """The file was replaced by a shorter one."""
        self._position = 0
        self._unfinished = ""
        if self._decoder is not None:
            self._decoder.reset()

    def _size(self) -> int | None:
        try:
            return self._path.stat().st_size
        except (OSError, ValueError):
            return None


def _decoder(head: bytes) -> codecs.IncrementalDecoder | None:
    """By the byte order mark; without one by its look. None while there is nothing to look at."""
    if len(head) < 2:
        return None
    marked = (encoding for bom, encoding in _BOMS if head.startswith(bom))
    guessed = "utf-16-le" if head[1:2] == b"\0" else "utf-8"
    return codecs.getincrementaldecoder(next(marked, guessed))(errors="replace")
