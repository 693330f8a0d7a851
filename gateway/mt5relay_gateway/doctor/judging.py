"""What a check says: a level, what was found, why it matters, and what mends it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mt5relay_shared.findings import Level


@dataclass(frozen=True, slots=True)
class Verdict:
    """As `Finding`, which adds whose verdict it is."""

    level: Level
    found: str
    why: str = ""
    remedy: str = ""
    command: str = ""


Verdicts = Iterable[Verdict]


def ok(found: str) -> Verdict:
    return Verdict(Level.OK, found)


def info(found: str, why: str = "", remedy: str = "", command: str = "") -> Verdict:
    return Verdict(Level.INFO, found, why, remedy, command)


def warning(found: str, why: str, remedy: str = "", command: str = "") -> Verdict:
    return Verdict(Level.WARNING, found, why, remedy, command)


def problem(found: str, why: str, remedy: str = "", command: str = "") -> Verdict:
    return Verdict(Level.PROBLEM, found, why, remedy, command)


def not_checked(reason: str, remedy: str = "") -> Verdict:
    return Verdict(Level.NOT_CHECKED, reason, remedy=remedy)


def span(seconds: float) -> str:
    """A length of time in the largest unit that leaves a figure of at least 2.

    >>> span(0.25), span(90), span(7300), span(864000)
    ('0.2 s', '90 s', '121 min', '10 d')
    """
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size and not (unit == "h" and seconds < 3 * size):
            return f"{int(seconds // size)} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
