"""`mt5relay-worker probe`: asks, has it measured, prints and writes the report."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from mt5relay_shared import __version__
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_worker.probe.accounts import (
    ListedAccount,
    check_accounts,
    masked_apart,
    named,
    read_file,
    with_passwords,
)
from mt5relay_worker.probe.messages import Credential, Doing, Event, LoggedIn, Plan, Watched
from mt5relay_worker.probe.planning import Kind, possible_kinds
from mt5relay_worker.probe.prober import REST_BEFORE_ATTACHING
from mt5relay_worker.probe.process import ProbeProcess, ProbeRefusedError
from mt5relay_worker.probe.report import Collection, Host, Planned, Report
from mt5relay_worker.probe.view import console, report_view
from mt5relay_worker.settings import WorkerSettings

OK, FAILURE, INTERRUPTED = 0, 1, 130
MOST_LOGINS = 1_000
MOST_ATTACHES = 50
LONGEST_TIME = 14_400.0  # seconds
_KINDS = {
    Kind.SAME_ACCOUNT: "same account",
    Kind.SAME_SERVER: "same server",
    Kind.OTHER_SERVER: "other server",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The command's options."""

    accounts: Sequence[str]
    accounts_file: Path | None
    logins: int
    pause: float
    watch: float
    time_limit: float
    attaches: int
    out: Path
    is_agreed: bool
    from_stdin: bool


def run_probe(settings: WorkerSettings, wanted: Wanted) -> int:
    """Measure, and return the exit status: 0 where everything that was planned was measured.

    Raises:
        MT5ValidationError: an option or an account can't be used; nothing was done.
    """
    _check(wanted)
    listed = _listed(settings, wanted)
    accounts = check_accounts(listed)
    asks = sys.stdin.isatty() and not wanted.from_stdin
    if not asks and not wanted.is_agreed:
        raise MT5ValidationError("--yes: nobody can be asked here whether to go on; give it")
    try:
        with ProbeProcess() as process:
            process.wait_until_ready()
            _say(*_announcement(settings, accounts, wanted))
            if not wanted.is_agreed and not _agrees():
                _say("nothing was done")
                return FAILURE
            plan = _plan(with_passwords(listed, asks=asks), wanted)
            return _measure(process, plan, _collection(settings, accounts, plan), wanted.out)
    except ProbeRefusedError as refusal:
        _say(f"no probe: {refusal}")
        return FAILURE
    except KeyboardInterrupt:
        _say("nothing was done")
        return INTERRUPTED


def _check(wanted: Wanted) -> None:
    for name, given, lowest, highest in (
        ("--logins", wanted.logins, 1, MOST_LOGINS),
        ("--pause", wanted.pause, 0, 3_600),
        ("--watch", wanted.watch, 0, 120),
        ("--time-limit", wanted.time_limit, 1, LONGEST_TIME),
        ("--attaches", wanted.attaches, 0, MOST_ATTACHES),
    ):
        if not lowest <= given <= highest:
            raise MT5ValidationError(f"{name}: {given:g} is not between {lowest} and {highest:g}")
    if wanted.out.exists():
        raise MT5ValidationError(f"--out: {wanted.out} exists; choose another name")
    if not wanted.out.absolute().parent.is_dir():
        raise MT5ValidationError(f"--out: there is no folder {wanted.out.absolute().parent}")


def _listed(settings: WorkerSettings, wanted: Wanted) -> tuple[ListedAccount, ...]:
    """From the options; in front of a simulated terminal its own accounts are good enough."""
    listed = named(wanted.accounts)
    if wanted.accounts_file is not None:
        return listed + read_file(wanted.accounts_file)
    if not listed and settings.terminal == "simulated" and settings.simulator_book is not None:
        return read_file(settings.simulator_book, is_invented=True)
    return listed


def _announcement(
    settings: WorkerSettings, accounts: Sequence[AccountId], wanted: Wanted
) -> list[str]:
    kinds = possible_kinds(accounts)
    told = ", ".join(text for kind, text in _KINDS.items() if kind in kinds)
    missing = ", ".join(text for kind, text in _KINDS.items() if kind not in kinds)
    shortest = wanted.logins * wanted.pause + wanted.attaches * REST_BEFORE_ATTACHING
    terminal = settings.terminal_path or settings.terminal
    servers = len({account.server for account in accounts})
    return [
        f"This logs in {wanted.logins} times on {terminal}, to {len(accounts)} accounts on"
        f" {servers} servers, {wanted.pause:g} s apart: {told}.",
        *([f"Not measured for want of accounts: {missing}."] if missing else []),
        f"It takes more than {shortest:.0f} s; no login begins after {wanted.time_limit:.0f} s."
        " It reads, and trades nothing.",
        "Brokers may flag frequent logins. Afterwards the terminal stays logged in to the last"
        " account.",
    ]


def _agrees() -> bool:
    try:
        return input("Go on? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _plan(credentials: list[Credential], wanted: Wanted) -> Plan:
    return Plan(
        credentials=credentials,
        logins=wanted.logins,
        pause=wanted.pause,
        watch=wanted.watch,
        time_limit=wanted.time_limit,
        attaches=wanted.attaches,
    )


def _collection(settings: WorkerSettings, accounts: Sequence[AccountId], plan: Plan) -> Collection:
    host = Host(
        binding=settings.terminal,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        mt5relay=__version__,
    )
    planned = Planned(
        logins=plan.logins,
        pause=plan.pause,
        watch=plan.watch,
        time_limit=plan.time_limit,
        poll=plan.poll,
    )
    return Collection(accounts, host, planned)


def _measure(process: ProbeProcess, plan: Plan, collection: Collection, out: Path) -> int:
    status = OK
    accounts = masked_apart([credential.account for credential in plan.credentials])
    try:
        for event in process.measure(plan):
            collection.add(event)
            _say(*_progress(event, plan.logins, accounts))
    except KeyboardInterrupt:
        status = INTERRUPTED
    report = collection.report(datetime.now(UTC).isoformat(timespec="seconds"))
    console().print(report_view(report))
    _write(report, out)
    return status or (OK if report.complete else FAILURE)


def _progress(event: Event, logins: int, accounts: Sequence[str]) -> Iterable[str]:
    match event:
        case Doing(what="login", login=number, account=int(account), kind=Kind() as kind):
            how = _KINDS.get(kind, "from nobody")
            yield f"login {number} of {logins}: {accounts[account]}, {how}"
        case LoggedIn(is_done=True):
            yield f"  True after {event.took:.2f} s"
        case LoggedIn():
            codes = ", ".join(f"{one.code} {one.text}" for one in event.failures)
            reason = f" ({event.reason})" if event.reason else ""
            yield f"  failed after {event.took:.2f} s: {codes}{reason}"
        case Watched(identity=None):
            yield "  the account was not shown"
        case _:
            return


def _write(report: Report, out: Path) -> None:
    text = msgspec.json.format(msgspec.json.encode(report), indent=1)
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:  # the measurements must not be lost
        _say(f"{out} can't be written: {error.strerror}; the report follows")
        sys.stdout.flush()
        sys.stdout.buffer.write(text + b"\n")  # as bytes: it stays JSON in any code page
        return
    with os.fdopen(descriptor, "wb") as file:
        file.write(text + b"\n")
    _say(f"report: {out}; to simulate such a terminal: mt5relay demo --speed 1 --profile {out}")


def _say(*lines: str) -> None:
    for line in lines:
        sys.stderr.write(line + "\n")
    sys.stderr.flush()
