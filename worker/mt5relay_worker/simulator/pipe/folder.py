"""Where a simulated terminal lives on disk: a folder of its own, laid out as a terminal's is."""

from __future__ import annotations

import codecs
import hashlib
import ntpath
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PLACEHOLDER: Final = b"This file stands for a simulated terminal. It is no program.\r\n"
_PROGRAMS: Final = frozenset({".exe", ".dll", ".com", ".bat", ".cmd", ".lnk"})
_ORIGIN, _ACCOUNTS, _SETTINGS = "origin.txt", "config/accounts.dat", "config/terminal.ini"
_FOLDERS: Final = ("MQL5", "config", "logs", "bases")


class FolderError(ValueError):
    """A simulated terminal can't live there; the message says why and what to do."""


def claim_folder(program: Path) -> str:
    """Make the folder of a simulated terminal, with a file that stands for its program.

    That file makes the package name the pipe by its final path, which is returned: absolute, with
    every link resolved.

    Raises:
        FolderError: the folder holds a terminal, or any other program; or it can't be made.
    """
    try:
        _refuse_programs(program)
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_bytes(PLACEHOLDER)
        final = str(program.resolve(strict=True))
    except OSError as error:
        raise FolderError(
            f"{program}: {error.strerror}; name a file in a folder of its own"
        ) from error
    return final


def _refuse_programs(program: Path) -> None:
    if not program.parent.exists():
        return
    for file in sorted(program.parent.iterdir()):
        if file.is_symlink() or (file.suffix.lower() in _PROGRAMS and not is_placeholder(file)):
            raise FolderError(
                f"{program.parent} holds {file.name}, which is not of a simulated terminal: a real"
                " terminal's pipe must not be served; name a file in a folder of its own"
            )
    if program.exists() and not is_placeholder(program):
        raise FolderError(
            f"{program} is there and is not of a simulated terminal; name another file"
        )


def is_placeholder(file: Path) -> bool:
    """Whether a file stands for a simulated terminal."""
    try:
        with file.open("rb") as opened:
            return opened.read(len(PLACEHOLDER) + 1) == PLACEHOLDER
    except OSError:
        return False


def data_folder_of(program: str, environment: Mapping[str, str]) -> Path:
    """Where a terminal keeps its data: below the user's profile, or beside its program.

    Beside it where there is no profile, and where a terminal is known there already: to be found by
    `initialize()` without a path, in its stead, would be to take its place.
    """
    profile = environment.get("APPDATA")
    beside = Path(ntpath.dirname(program)) if "\\" in program else Path(program).parent
    if not profile:
        return beside
    known = Path(profile) / "MetaQuotes" / "Terminal"
    mine = (
        known
        / hashlib.md5(  # noqa: S324 - names a folder, keeps nothing safe
            ntpath.dirname(program).upper().encode("utf-16-le")
        )
        .hexdigest()
        .upper()
    )
    others = [found for found in known.glob(f"*/{_ORIGIN}") if found.parent != mine]
    return beside if others else mine


def lay_out(folder: Path, program: str) -> None:
    """Make the files by which the package finds a terminal without being told its path."""
    for name in _FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / _ACCOUNTS).touch()
    (folder / _SETTINGS).write_bytes(_text("[Common]\r\nLogin=\r\n"))
    (folder / _ORIGIN).write_bytes(_text(ntpath.dirname(program)))


def withdraw(folder: Path) -> None:
    """Nobody is to find this terminal any more."""
    (folder / _ORIGIN).unlink(missing_ok=True)


def _text(text: str) -> bytes:
    return codecs.BOM_UTF16_LE + text.encode("utf-16-le")
