"""What a line of the terminal's journal says. Pure: any text goes in, nothing is ever raised.

A line is five fields between tabs: a code of letters, a severity (0 for a note, 2 and 3 for
trouble), local time, source, message. Only what the terminal itself says of a login is understood;
everything else is None. The wording is that of journals that users published: builds 4410 to 6204.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import time

MAX_LINE = 2_048  # characters; what is longer is no line of this kind
MAX_REASON = 80

_LINE = re.compile(
    r"[A-Z0-9]{1,4}\t[0-9]\t([0-9]{2}):([0-9]{2}):([0-9]{2})\.([0-9]{3})"
    r"\tNetwork\t'([0-9]{1,19})': ([^\t]+)"
)
_AUTHORIZED = re.compile(r"authorized on (.+?)(?: through .*| \(ping.*)?")
_REFUSED = re.compile(r"authorization on (.+) failed(?: \((.*)\))?")
_UNREACHABLE = re.compile(r"no connection to (.+)")
_SYNCHRONIZED = re.compile(r"terminal synchronized with .*?")
_COUNTED = re.compile(
    r"terminal synchronized with .*: ([0-9]{1,9}) positions?, ([0-9]{1,9}) orders?(?:, .*)?"
)


@dataclass(frozen=True, slots=True)
class Authorized:
    """The server let the account in; its data is still to come."""

    server: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The server did not let the account in. `reason` is the server's word, or empty."""

    server: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unreachable:
    """No word came from the server at all."""

    server: str


@dataclass(frozen=True, slots=True)
class Synchronized:
    """The account's data is there. The counts are None where the terminal gave none."""

    positions: int | None = None
    orders: int | None = None


Said = Authorized | Refused | Unreachable | Synchronized


@dataclass(frozen=True, slots=True)
class Line:
    """What was said of a login, and at what local time of day."""

    at: time
    login: int
    said: Said


def parse_line(text: str) -> Line | None:
    """Read one line, without its end; None for whatever is not about a login."""
    if len(text) > MAX_LINE:
        return None
    found = _LINE.fullmatch(text)
    said = _said(found[6]) if found else None
    if found is None or said is None:
        return None
    hour, minute, second, millisecond = (int(part) for part in found.groups()[:4])
    if hour > 23 or minute > 59 or second > 59:
        return None
    return Line(time(hour, minute, second, millisecond * 1_000), int(found[5]), said)


def _said(message: str) -> Said | None:
    if found := _AUTHORIZED.fullmatch(message):
        return Authorized(found[1])
    if found := _REFUSED.fullmatch(message):
        return Refused(found[1], _printable(found[2] or ""))
    if found := _UNREACHABLE.fullmatch(message):
        return Unreachable(found[1])
    if found := _COUNTED.fullmatch(message):
        return Synchronized(int(found[1]), int(found[2]))
    return Synchronized() if _SYNCHRONIZED.fullmatch(message) else None


def _printable(reason: str) -> str:
    """It ends up in error messages."""
    return "".join(letter for letter in reason if letter.isprintable())[:MAX_REASON]
