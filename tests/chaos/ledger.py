"""The books of a chaos run: what was asked, what came of it, and what must never happen."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

GRACE = 2.0
"""Seconds past its deadline by which a living client must have heard: 0.25 s that it waits longer,
up to 1 s for its last look at the durable reply, and some for a busy machine. What it stood still
itself, frozen or without a turn, is not counted."""
WITHDRAWN = "withdrawn"  # the outcome of a request whose caller went away


@dataclass
class Entry:
    """One request. Times are wall-clock seconds of this machine."""

    request_id: str
    account: str
    asked_at: float
    timeout: float
    accepted: bool = False
    outcome: str | None = None  # `ok`, an error code, or None where the gateway died first
    pushed: set[bytes] = field(default_factory=set[bytes])
    has_reply: bool = False
    checked: bool = False

    @property
    def is_owed(self) -> bool:
        """Whether there must be a reply; one that nobody waits for may be dropped."""
        return self.accepted and self.outcome != WITHDRAWN

    @property
    def deadline(self) -> float:
        return self.asked_at + self.timeout


@dataclass
class Ledger:
    """Everything that counts; `violations` is what the promises forbid."""

    entries: dict[str, Entry] = field(default_factory=dict[str, Entry])
    faults: Counter[str] = field(default_factory=Counter[str])
    wrong_identity: list[str] = field(default_factory=list[str])
    late: list[str] = field(default_factory=list[str])
    left_behind: list[str] = field(default_factory=list[str])
    last_success_at: float = 0.0
    worst_recovery: float = 0.0
    memory_growth: float = 0.0

    def asked(self, line: dict[str, object]) -> None:
        entry = Entry(str(line["id"]), str(line["account"]), _number(line["at"]),
                      _number(line["timeout"]))  # fmt: skip
        self.entries[entry.request_id] = entry

    def accepted(self, line: dict[str, object]) -> None:
        self.entries[str(line["id"])].accepted = True

    def answered(self, line: dict[str, object]) -> None:
        entry, at = self.entries[str(line["id"])], _number(line["at"])
        entry.outcome = str(line["outcome"])
        if at - _number(line["stalled"]) > entry.deadline + GRACE:
            self.late.append(f"{entry.request_id} by {at - entry.deadline:.2f} s")
        if entry.outcome == "ok":
            if line["data_of"] != entry.account:
                self.wrong_identity.append(f"{entry.request_id}: {line['data_of']}")
            if self.last_success_at:
                gap = at - self.last_success_at
                self.worst_recovery = max(self.worst_recovery, gap)
            self.last_success_at = max(self.last_success_at, at)

    def pushed(self, request_id: str, body: bytes) -> None:
        if request_id in self.entries:
            self.entries[request_id].pushed.add(body)

    @property
    def lost(self) -> list[str]:
        return [
            entry.request_id
            for entry in self.entries.values()
            if entry.is_owed and entry.checked and not entry.has_reply
        ]

    @property
    def duplicated(self) -> list[str]:
        return [name for name, entry in self.entries.items() if len(entry.pushed) > 1]

    def violations(self) -> list[str]:
        found = [
            *(f"lost: {one}" for one in self.lost),
            *(f"second distinct reply: {one}" for one in self.duplicated),
            *(f"wrong identity: {one}" for one in self.wrong_identity),
            *(f"late: {one}" for one in self.late),
            *(f"left behind: {one}" for one in self.left_behind),
        ]
        unchecked = sum(one.is_owed and not one.checked for one in self.entries.values())
        if unchecked:
            found.append(f"{unchecked} accepted requests were never checked")
        if not any(entry.outcome == "ok" for entry in self.entries.values()):
            found.append("not one request was answered: this run shows nothing")
        return found

    def report(self) -> str:
        """The ledger as Markdown rows."""
        entries = list(self.entries.values())
        outcomes = Counter(one.outcome or "gateway died" for one in entries)
        rows = [
            ("requests asked", len(entries)),
            ("accepted into the queue", sum(one.accepted for one in entries)),
            *((f"outcome: {name}", count) for name, count in sorted(outcomes.items())),
            *((f"fault: {name}", count) for name, count in sorted(self.faults.items())),
            ("replies pushed", sum(len(one.pushed) for one in entries)),
            ("**lost**", len(self.lost)),
            ("**second distinct reply**", len(self.duplicated)),
            ("**wrong identity**", len(self.wrong_identity)),
            ("**late against deadline**", len(self.late)),
            ("**left behind** (keys without expiry, entries, pending)", len(self.left_behind)),
            ("longest time without a success, s", f"{self.worst_recovery:.1f}"),
            ("server memory at the end against after warm-up", f"{self.memory_growth:+.0%}"),
        ]
        return "\n".join(f"| {name} | {value} |" for name, value in rows)


def _number(value: object) -> float:
    return float(str(value))
