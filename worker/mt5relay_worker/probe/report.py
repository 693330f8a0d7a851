"""What a probe measured, collected event by event, and the report that it makes. Pure.

The report names no account in full, and holds no password, name, balance or path.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from mt5relay_shared.accounts import AccountId
from mt5relay_worker.probe.accounts import masked_apart
from mt5relay_worker.probe.distribution import Distribution, distribution
from mt5relay_worker.probe.messages import (
    Attached,
    Event,
    Failure,
    Finished,
    LoggedIn,
    ReadAll,
    Watched,
)
from mt5relay_worker.probe.planning import Kind
from mt5relay_worker.simulator.profile import Measured, profile_of
from mt5relay_worker.terminal.metatrader5 import AUTH_FAILED

FORMAT = "mt5relay-probe"
VERSION = 1
MOST_FAILURES = 500
_LONG = 0.2  # seconds: calls that are long enough to tell who had the interpreter
_HELD, _RELEASED = 0.9, 0.5  # the share of a call in which no other thread ran


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """Where it was measured."""

    binding: str
    system: str
    python: str
    mt5relay: str
    package: str | None = None
    terminal_build: int | None = None
    journal: bool = False


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """What was to be measured; seconds."""

    logins: int
    pause: float
    watch: float
    time_limit: float
    poll: float


class Initialize(msgspec.Struct, frozen=True):
    """`first` may have started the terminal; `again` attaches to one that runs."""

    first: float | None
    again: Distribution | None


class AfterLogin(msgspec.Struct, frozen=True):
    """From the login's return until it was seen, at the resolution of the looks."""

    identity: Distribution | None
    margin: Distribution | None
    lists: Distribution | None
    journal: Distribution | None


class Sightings(msgspec.Struct, frozen=True):
    """After how many logins that returned True it was seen, or not seen while it was looked for."""

    logins: int
    account_info_none: int
    old_account_shown: int
    margin_late: int
    lists_late: int
    account_lost: int
    no_identity: int
    no_margin: int
    no_journal_line: int


class InterpreterLock(msgspec.Struct, frozen=True):
    """Whether other threads ran during calls of 0.2 s and more. `longest` is the longest of these
    calls, `silence` the time in which no other thread ran during it."""

    verdict: Literal["held", "released", "unclear", "not measured"]
    calls: int
    longest: float | None
    silence: float | None


class SeenFailure(msgspec.Struct, frozen=True, kw_only=True):
    """When a call failed, or for a read that returned None with code 1: had no answer yet."""

    at: float
    call: str
    code: int
    text: str
    during: str
    account: str | None
    took: float | None
    times: int
    reason: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """`profile` is what the simulator takes from it: fields of `Faults`."""

    report: str
    version: int
    made_at: str
    complete: bool
    ended: str
    took: float
    host: Host
    planned: Planned
    accounts: list[str]
    initialize: Initialize
    login: dict[Kind, Distribution]
    refused: Distribution | None
    after_login: AfterLogin
    sightings: Sightings
    reads: dict[str, Distribution]
    interpreter_lock: InterpreterLock
    failures: list[SeenFailure]
    failures_left_out: int
    profile: dict[str, object]


class Collection:
    """Takes in events and makes the report of what has come so far."""

    def __init__(self, accounts: Sequence[AccountId], host: Host, planned: Planned) -> None:
        self._accounts = masked_apart(accounts)
        self._host = host
        self._planned = planned
        self._attached: list[Attached] = []
        self._logins: list[LoggedIn] = []
        self._watched: list[Watched] = []
        self._reads: defaultdict[str, list[float]] = defaultdict(list)
        self._failures: list[SeenFailure] = []
        self._failures_left_out = 0
        self._took = 0.0
        self._end = Finished(complete=False, why="interrupted")

    def __repr__(self) -> str:
        return f"<Collection {len(self._logins)} logins>"

    @property
    def logins(self) -> int:
        return len(self._logins)

    def add(self, event: Event) -> None:
        match event:
            case Attached():
                self._attached.append(event)
                during = "attaching again" if event.again else "attaching"
                self._keep(event.at, event.failures, during, None, event.took)
            case LoggedIn():
                self._logins.append(event)
                account, took = self._accounts[event.account], event.took
                self._keep(event.at, event.failures, event.kind, account, took, reason=event.reason)
            case Watched():
                self._watched.append(event)
                self._keep(event.at, event.failures, "after a login", self._latest_account, None)
            case ReadAll():
                for call, seconds in event.took.items():
                    self._reads[call].extend(seconds)
                self._keep(event.at, event.failures, "reading", self._latest_account, None)
            case Finished():
                self._end = event
                self._keep(event.at, event.failures, "at the end", self._latest_account, None)
            case _:
                return
        self._took = max(self._took, event.at)

    @property
    def _latest_account(self) -> str | None:
        return self._accounts[self._logins[-1].account] if self._logins else None

    def _keep(
        self,
        at: float,
        failures: Sequence[Failure],
        during: str,
        account: str | None,
        took: float | None,
        *,
        reason: str = "",
    ) -> None:
        room = max(0, MOST_FAILURES - len(self._failures))
        self._failures_left_out += sum(failure.times for failure in failures[room:])
        self._failures += [
            SeenFailure(
                at=round(at, 3),
                call=failure.call,
                code=failure.code,
                text=failure.text,
                during=during,
                account=account,
                took=None if took is None else round(took, 5),
                times=failure.times,
                reason=reason,
            )
            for failure in failures[:room]
        ]

    def report(self, made_at: str) -> Report:
        again = [event.took for event in self._attached if event.again and event.is_done]
        first = next((one for one in self._attached if one.is_done and not one.again), None)
        return Report(
            report=FORMAT,
            version=VERSION,
            made_at=made_at,
            complete=self._end.complete,
            ended=self._end.why,
            took=round(self._took, 1),
            host=msgspec.structs.replace(
                self._host,
                package=first.package if first else None,
                terminal_build=first.build if first else None,
                journal=first is not None and first.has_journal,
            ),
            planned=self._planned,
            accounts=self._accounts,
            initialize=Initialize(round(first.took, 5) if first else None, distribution(again)),
            login={
                kind: found
                for kind in Kind
                if (found := distribution(self._login_seconds(kind))) is not None
            },
            refused=distribution(self._refused()),
            after_login=self._after_login(),
            sightings=self._sightings(),
            reads={
                call: found
                for call, took in sorted(self._reads.items())
                if (found := distribution(took)) is not None
            },
            interpreter_lock=judge_lock(self._silences()),
            failures=self._failures,
            failures_left_out=self._failures_left_out,
            profile=profile_of(self._measured(again)),
        )

    def _silences(self) -> list[tuple[float, float]]:
        calls: list[Attached | LoggedIn] = [*self._attached, *self._logins]
        return [(call.took, call.silence) for call in calls if call.silence is not None]

    def _login_seconds(self, kind: Kind) -> list[float]:
        return [event.took for event in self._logins if event.is_done and event.kind is kind]

    def _refused(self) -> list[float]:
        return [
            event.took
            for event in self._logins
            if any(failure.code == AUTH_FAILED for failure in event.failures)
        ]

    def _after_login(self) -> AfterLogin:
        return AfterLogin(
            identity=distribution(_known(one.identity for one in self._watched)),
            margin=distribution(_known(one.margin for one in self._watched)),
            lists=distribution(_known(one.lists for one in self._watched)),
            journal=distribution(_known(one.journal for one in self._watched)),
        )

    def _sightings(self) -> Sightings:
        seen = self._watched
        return Sightings(
            logins=len(seen),
            account_info_none=sum(one.nobody_until is not None for one in seen),
            old_account_shown=sum(one.old_until is not None for one in seen),
            margin_late=sum(_waited(one, one.margin) > 0 for one in seen),
            lists_late=sum(_waited(one, one.lists) > 0 for one in seen),
            account_lost=sum(one.lost_account for one in seen),
            no_identity=sum(one.identity is None for one in seen),
            no_margin=sum(one.identity is not None and one.margin is None for one in seen),
            no_journal_line=sum(one.journal is None for one in seen),
        )

    def _measured(self, again: Sequence[float]) -> Measured:
        came = [one for one in self._watched if one.identity is not None]
        return Measured(
            attach=again,
            login_same_account=self._login_seconds(Kind.SAME_ACCOUNT),
            login_same_server=self._login_seconds(Kind.SAME_SERVER),
            login_other_server=self._login_seconds(Kind.OTHER_SERVER),
            refused=self._refused(),
            nobody_shown=[one.nobody_until or 0.0 for one in came],
            old_account_shown=_known(one.old_until for one in self._watched),
            margin=[_waited(one, one.margin) for one in came if one.margin is not None],
            lists=[_waited(one, one.lists) for one in came if one.has_lists],
            logins=len(self._watched),
        )


def _known(seconds: Iterable[float | None]) -> list[float]:
    return [one for one in seconds if one is not None]


def _waited(seen: Watched, until: float | None) -> float:
    """0 for what was there together with the account."""
    if until is None or seen.identity is None or until <= seen.identity:
        return 0.0
    return until


def judge_lock(calls: Sequence[tuple[float, float]]) -> InterpreterLock:
    """From calls as (how long it took, how long no other thread ran meanwhile)."""
    long = sorted(call for call in calls if call[0] >= _LONG)
    if not long:
        return InterpreterLock("not measured", 0, None, None)
    shares = sorted(silence / took for took, silence in long)
    middle = shares[len(shares) // 2]
    verdict: Literal["held", "released", "unclear"] = "unclear"
    if middle >= _HELD:
        verdict = "held"
    elif middle <= _RELEASED:
        verdict = "released"
    took, silence = long[-1]
    return InterpreterLock(verdict, len(long), round(took, 3), round(silence, 3))
