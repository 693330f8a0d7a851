"""Keeps what `replays` remembers in a file beside the private key, across restarts.

One file for each key file and terminal, written by that terminal's process alone. It holds no
secret, but who may change it may make an old credential look new: its owner alone may.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.decoding import UNREADABLE
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_worker.key_file import replace_owner_only, sweep
from mt5relay_worker.terminal.replays import Mark


class _Content(msgspec.Struct, frozen=True):
    v: Literal[1]
    accounts: dict[str, Mark]


class SeenFile:
    """The marks of all accounts, as the file has them.

    Where it can't be written, what was seen is remembered until the process ends: `trouble` says
    why, else it is None.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._marks: dict[str, Mark] = {}
        self._read_as: tuple[int, int] | None = None
        self.trouble: str | None = None

    def open(self) -> None:
        """Read it, and try whether it can be written.

        Raises:
            MT5ValidationError: something else stands there.
        """
        if self._path is not None:
            sweep(self._path)
        self._refresh()
        self._write()

    def get(self, account: AccountId) -> Mark | None:
        """Raises as `open`: a person may have changed the file meanwhile."""
        self._refresh()
        return self._marks.get(str(account))

    def put(self, account: AccountId, mark: Mark) -> None:
        if self._marks.get(str(account)) != mark:
            self._marks[str(account)] = mark
            self._write()

    def marks(self) -> dict[AccountId, Mark]:
        """All of them. Raises as `open`."""
        self._refresh()
        return {AccountId.parse(name): mark for name, mark in self._marks.items()}

    def forget(self, accounts: Iterable[AccountId]) -> list[AccountId]:
        """Take these off, so that whatever is enrolled for them is the first that is seen; returns
        those that were there."""
        names = [one for one in accounts if self._marks.pop(str(one), None) is not None]
        if names:
            self._write()
        return names

    def _refresh(self) -> None:
        if self._path is None or (found := _signature(self._path)) == self._read_as:
            return
        if found is None:
            self._marks = {}  # somebody took it away: all are seen for the first time
            self._read_as = None
            return
        try:
            content = msgspec.json.decode(self._path.read_bytes(), type=_Content)
        except (OSError, *UNREADABLE) as error:
            raise MT5ValidationError(
                f"{self._path}: it can't be read ({error}); it tells whether an old credential was"
                " put back. Restore it, or delete it if you know that Redis holds what was enrolled"
            ) from None
        self._marks, self._read_as = dict(content.accounts), found

    def _write(self) -> None:
        if self._path is None:
            return
        try:
            replace_owner_only(self._path, msgspec.json.encode(_Content(1, self._marks)))
        except OSError as error:
            self.trouble = f"{self._path}: {error.strerror or error}"
        else:
            self.trouble = None
            self._read_as = _signature(self._path)

    def __repr__(self) -> str:
        return f"<SeenFile {len(self._marks)} accounts>"


def _signature(path: Path) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_mtime_ns, found.st_ino
    return None
