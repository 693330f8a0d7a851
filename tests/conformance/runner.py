"""Ask a target every call of the table and print where it differs; nothing but Python is needed.

    python -m tests.conformance.runner --target simulated
    python -m tests.conformance.runner --target metatrader5 [--terminal PATH]

`--terminal` names an installed terminal in which somebody is logged in; only reads are made there.
Exit status: 0 where nothing differs, 1 where something does, 2 where the target can't be had.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol, cast

from tests.conformance.table import (
    ROWS,
    Columns,
    Error,
    OneOf,
    Raises,
    Record,
    Records,
    Row,
    State,
    shortened,
)


class Verdict(Enum):
    AGREES = "agrees"
    DIFFERS = "DIFFERS"
    KNOWN = "known difference"
    NEEDLESS = "LISTED AS KNOWN, YET AGREES"
    UNREACHABLE = "not run"


FAILURES = frozenset({Verdict.DIFFERS, Verdict.NEEDLESS})


class UnreachableError(Exception):
    """This target can't be brought into a state here; says what it needs."""


class Target(Protocol):
    """Something with the surface of the package."""

    @property
    def name(self) -> str: ...

    def prepare(self, state: State) -> Any:
        """The package in this state, for one call. Asked for states in their order.

        Raises:
            UnreachableError: it can't be had here.
        """
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one row. `found` is empty where the call was not made."""

    row: Row
    verdict: Verdict
    found: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What a call came to; an exception is a result like any other."""

    returned: object
    last_error: Error
    changed: bool


def check(target: Target, rows: Sequence[Row] = ROWS) -> Iterator[Finding]:
    """Make every call, state by state."""
    for state in State:
        for row in rows:
            if row.state is state:
                yield check_row(target, row)


def check_row(target: Target, row: Row) -> Finding:
    try:
        package = target.prepare(row.state)
    except UnreachableError as error:
        return Finding(row, Verdict.UNREACHABLE, str(error))
    seen = make_call(package, row)
    return Finding(row, judge(row, seen, target.name), described(seen))


def make_call(package: Any, row: Row) -> Seen:
    before = package.last_error()
    function = getattr(package, row.call)
    try:
        # A package written in C tells no keywords from an empty dictionary of them.
        if row.kwargs or row.with_empty_keywords:
            returned = function(*row.args, **row.kwargs)
        else:
            returned = function(*row.args)
    except Exception as error:  # whatever it raises is what is compared
        returned = error
    after = package.last_error()
    return Seen(returned, after, changed=after != before)


def judge(row: Row, seen: Seen, target: str) -> Verdict:
    agrees = is_as_expected(row.returns, seen.returned) and (
        not seen.changed if row.last_error is None else seen.last_error == row.last_error
    )
    if target in row.known:
        return Verdict.NEEDLESS if agrees else Verdict.KNOWN
    return Verdict.AGREES if agrees else Verdict.DIFFERS


def is_as_expected(expected: object, found: object) -> bool:
    match expected:
        case Raises(kind):
            return isinstance(found, kind)
        case OneOf(kind):
            return type(found) is kind
        case Record(structure):
            return type(found).__name__ == structure
        case Records(structure):
            return type(found) is tuple and all(
                type(item).__name__ == structure for item in cast("tuple[object, ...]", found)
            )
        case Columns(names):
            return getattr(getattr(found, "dtype", None), "names", None) == names
        case _:
            return type(found) is type(expected) and found == expected


def described(seen: Seen) -> str:
    error = f"{seen.last_error}" if seen.changed else f"last error unchanged: {seen.last_error}"
    if isinstance(seen.returned, Exception):
        return f"raises {type(seen.returned).__name__}, {error}"
    return f"{shortened(seen.returned)}, {error}"


def expected(row: Row) -> str:
    error = "last error unchanged" if row.last_error is None else f"{row.last_error}"
    return f"{row.returns!r}, {error}"


# -- targets --------------------------------------------------------------------------------------


class Simulated:
    """The simulator; a new one for every call."""

    name = "simulated"

    def prepare(self, state: State) -> Any:
        from mt5relay_worker.simulator import Faults, SimulatedMetaTrader5, generate_book

        book = generate_book(accounts=2)
        is_missing = state is State.MISSING
        package = SimulatedMetaTrader5(book, faults=Faults(terminal_missing=is_missing), speed=0)
        if state in (State.LOGGED_IN, State.AFTER):
            account = book.accounts[0]
            package.initialize()
            package.login(account.login, password=account.password, server=account.server)
        if state in (State.NEVER_ATTACHED, State.AFTER):
            package.shutdown()
        return package


class RealPackage:
    """The package that is installed here. One process has one of it, so states come in order."""

    name = "metatrader5"

    def __init__(self, package: Any, terminal: str | None, *, is_terminal_here: bool) -> None:
        self._package = package
        self._terminal = terminal
        self._is_terminal_here = is_terminal_here or terminal is not None
        self._is_attached = False

    def prepare(self, state: State) -> Any:
        match state:
            case State.BEFORE:
                pass
            case State.MISSING:
                self._refuse_to_start_a_terminal()
            case State.NEVER_ATTACHED:
                self._package.shutdown()
            case State.LOGGED_IN:
                self._attach()
            case State.AFTER:
                self._attach()
                self._package.shutdown()
        return self._package

    def _refuse_to_start_a_terminal(self) -> None:
        if self._is_terminal_here:
            raise UnreachableError("needs a machine without a terminal")

    def _attach(self) -> None:
        if self._terminal is None:
            raise UnreachableError("needs a terminal")
        if self._is_attached:
            return
        if not self._package.initialize(self._terminal):
            raise UnreachableError(f"needs a terminal; {self._package.last_error()}")
        account = self._package.account_info()
        if account is None or account.login == 0:
            raise UnreachableError("needs a terminal in which somebody is logged in")
        self._is_attached = True


def load_real_package(terminal: str | None) -> RealPackage:
    """Import the package.

    Raises:
        ImportError: it is not installed; it exists for Windows x64 only.
    """
    import MetaTrader5  # pyright: ignore[reportMissingImports] - Windows alone has it

    return RealPackage(MetaTrader5, terminal, is_terminal_here=has_terminal())


def has_terminal() -> bool:
    """Whether `initialize()` without a path could find a terminal, and start it."""
    folder = Path(os.environ.get("APPDATA", "")) / "MetaQuotes" / "Terminal"
    return any(folder.glob("*/origin.txt"))


# -- the report -----------------------------------------------------------------------------------


def report(findings: Iterable[Finding], name: str) -> tuple[str, int]:
    """The differences as a table, what was not run, and an exit status."""
    kept = list(findings)
    counts = Counter(finding.verdict for finding in kept)
    lines = [line for verdict in Verdict for line in section(verdict, kept)]
    summary = ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict)
    status = 1 if any(counts[verdict] for verdict in FAILURES) else 0
    return "\n".join([*lines, f"{name}: {len(kept)} calls: {summary}", ""]), status


def section(verdict: Verdict, findings: Sequence[Finding]) -> Iterator[str]:
    chosen = [finding for finding in findings if finding.verdict is verdict]
    if verdict is Verdict.AGREES or not chosen:
        return
    yield f"{verdict.value}:"
    for finding in chosen:
        yield f"  {finding.row}  [{finding.row.state.value}]"
        if verdict is Verdict.UNREACHABLE:
            yield f"      {finding.found}"
            continue
        yield f"      expected {expected(finding.row)}"
        yield f"      found    {finding.found}"
        if verdict is Verdict.KNOWN:
            yield f"      because  {', '.join(finding.row.known.values())}"
    yield ""


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="conformance", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--target", choices=("simulated", "metatrader5"), default="simulated")
    parser.add_argument("--terminal", metavar="PATH", help="a terminal64.exe with a login")
    chosen = parser.parse_args(words)
    target: Target = Simulated()
    if chosen.target == "metatrader5":
        try:
            target = load_real_package(chosen.terminal)
        except ImportError as error:
            sys.stderr.write(
                f"conformance: {error}; install MetaTrader5 into this Python, on Windows x64\n"
            )
            return 2
    text, status = report(check(target), target.name)
    sys.stdout.write(text)
    return status


if __name__ == "__main__":
    sys.exit(main())
