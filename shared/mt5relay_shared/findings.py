"""What an examination found: levels, findings, and how they are told to people and programs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from enum import StrEnum

import msgspec

WIDTH = 80  # columns of the text; commands alone may be longer, so that they can be copied


class Level(StrEnum):
    """How much a finding matters; the worst first."""

    PROBLEM = "problem"  # something fails, or will without a warning
    WARNING = "warning"  # it works, and is not as it should be
    INFO = "info"
    NOT_CHECKED = "not checked"  # it may not, or could not, be looked at
    OK = "ok"


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one check found.

    `check` is a stable name for programs. `why` says what it matters for, `remedy` what to do, and
    `command` is what mends it, to be copied: each of its lines is one command.
    """

    check: str
    level: Level
    found: str
    why: str = ""
    remedy: str = ""
    command: str = ""
    terminal: str | None = None


def worst(findings: Sequence[Finding]) -> Level:
    """The worst level that counts: `OK` where there is neither a problem nor a warning."""
    levels = {finding.level for finding in findings}
    return next((one for one in (Level.PROBLEM, Level.WARNING) if one in levels), Level.OK)


def has_failed(findings: Sequence[Finding], *, strict: bool) -> bool:
    """Whether a script should take it for a failure: a problem, or with `strict` a warning too."""
    return worst(findings) in ((Level.PROBLEM, Level.WARNING) if strict else (Level.PROBLEM,))


def in_words(findings: Sequence[Finding]) -> Iterator[tuple[Level | None, str]]:
    """The report line by line, each with the level of what it speaks of; the worst comes first."""
    if len({finding.terminal for finding in findings} - {None}) == 1:  # no need to repeat it
        findings = [msgspec.structs.replace(finding, terminal=None) for finding in findings]
    for level in (Level.PROBLEM, Level.WARNING, Level.INFO):
        for finding in findings:
            if finding.level is level:
                yield from ((level, line) for line in _told(finding))
    for level in (Level.NOT_CHECKED, Level.OK):
        yield from ((level, line) for line in _listed(level, findings))
    yield None, _summary(findings)


def _told(finding: Finding) -> Iterator[str]:
    yield from _wrapped(f"{finding.level.upper()}  {_name(finding)}: {finding.found}", "")
    for text in (finding.why, finding.remedy):
        yield from _wrapped(text, "    ")
    yield from (f"      $ {line}" for line in finding.command.splitlines())


def _listed(level: Level, findings: Sequence[Finding]) -> Iterator[str]:
    chosen = [finding for finding in findings if finding.level is level]
    reasons: dict[str, list[str]] = {}
    for finding in chosen:  # what is not checked for one reason is told in one go
        key = finding.found if level is Level.NOT_CHECKED else ""
        name = _name(finding)
        reasons.setdefault(key, []).append(name if key else f"{name} ({finding.found})")
    for reason, names in reasons.items():
        head = f"{level.upper()}  {reason}: " if reason else f"{level.upper()}  "
        yield from _wrapped(head + ", ".join(names), "")
    for remedy in dict.fromkeys(finding.remedy for finding in chosen if finding.remedy):
        yield from _wrapped(remedy, "    ")


def _summary(findings: Sequence[Finding]) -> str:
    counts = {level: sum(one.level is level for one in findings) for level in Level}
    plural = {Level.PROBLEM: "problems", Level.WARNING: "warnings"}
    return ", ".join(
        f"{count} {plural.get(level, level) if count != 1 else level}"
        for level, count in counts.items()
        if count or level in plural
    )


def _name(finding: Finding) -> str:
    return finding.check if finding.terminal is None else f"{finding.check} [{finding.terminal}]"


def _wrapped(text: str, indent: str) -> Iterator[str]:
    yield from textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent or "    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
