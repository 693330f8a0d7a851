"""What the scripts mean, in plain Python: one terminal's keys, without Redis and without time.

The model names stream entries by their number of arrival, since every server makes up its own ids.
`picture()` renders it like the keys of a store, see `store_picture`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ACCOUNT = "1@Demo"
BURIED_REPLY = '{"status":"error"}'  # as `Relay.bury` writes it
ANOTHER_QUESTION = "refused: the id was used for another question"

Answer = tuple[Any, ...]
Pushed = list[tuple[str, str]]  # request id and reply


@dataclass(frozen=True)
class Settlement:
    """A reply to one entry, as a worker hands it in."""

    entry: int
    id: str
    reply: str
    gateway: str

    def second_answer(self, stored: str) -> str:
        """What an entry is told whose id was answered before, perhaps as another question."""
        return stored if _question(stored) == _question(self.reply) else ANOTHER_QUESTION


@dataclass(frozen=True)
class Start:
    """A request that a worker is about to serve."""

    entry: int
    id: str
    gateway: str


@dataclass(frozen=True)
class FullRead:
    """A snapshot as a worker hands it in."""

    data: str
    sequence: int


@dataclass
class Marker:
    """What is known about a request id beside its reply."""

    entry: int | None = None
    fingerprint: str | None = None
    listeners: set[str] = field(default_factory=set[str])
    is_kept: bool = False  # for somebody who collects the reply
    dropped: int | None = None
    crashes: int = 0

    def picture(self) -> dict[str, Any]:
        known = {"entry": self.entry, "fingerprint": self.fingerprint, "dropped": self.dropped}
        return {
            **({"kept": "1"} if self.is_kept else {}),
            **{name: value for name, value in known.items() if value is not None},
            **{f"to:{gateway}": "1" for gateway in self.listeners},
            **({"crashes": str(self.crashes)} if self.crashes else {}),
        }


@dataclass
class Model:
    """One terminal, as everybody who uses it may rely on it."""

    queued: list[int] = field(default_factory=list[int])
    undelivered: list[int] = field(default_factory=list[int])
    markers: dict[str, Marker] = field(default_factory=dict[str, Marker])
    replies: dict[str, str] = field(default_factory=dict[str, str])
    pushed: dict[str, list[Pushed]] = field(default_factory=dict[str, Any])
    dead: list[int] = field(default_factory=list[int])
    shares: dict[str, int] = field(default_factory=dict[str, int])  # places in the queue
    lease: str | None = None
    fence: int = 0
    running: str | None = None
    health: Mapping[str, str] | None = None
    snapshot: dict[str, str] | None = None
    sealing_key: str | None = None
    entries: int = 0  # ever added

    # The gateways' side.

    def submit(self, request_id: str, fingerprint: str, gateway: str, limit: int) -> Answer:
        marker = self.markers.get(request_id, Marker())
        if marker.fingerprint not in (None, fingerprint):
            return ("conflict",)
        if request_id in self.replies:
            return ("stored", self.replies[request_id])
        if marker.entry is None:
            if (code := self._refusal(gateway, limit)) is not None:
                return ("refused", code)
            if not self.queued:
                self.shares.clear()
            marker.entry, marker.fingerprint = self.add(), fingerprint
            marker.dropped = None
            self.markers[request_id] = marker
            self.shares[gateway] = self.shares.get(gateway, 0) + 1
            word = "accepted"
        else:
            word = "attached"
        marker.listeners |= {gateway} - {""}
        marker.is_kept |= not gateway
        return (word, marker.entry)

    def withdraw(self, request_id: str, gateway: str) -> None:
        if request_id in self.markers:
            self.markers[request_id].listeners.discard(gateway)

    def _refusal(self, gateway: str, limit: int) -> str | None:
        health = self.health or {}
        if self.lease is None:
            return "NO_WORKER"
        if health.get("breaker") == "OPEN":
            return "CIRCUIT_OPEN"
        own = self.shares.get(gateway, 0) if self.queued else 0
        if limit and own >= 8 * (limit - len(self.queued)):
            return "QUEUE_FULL"
        if self.queued and int(health.get("estimated_wait_ms", 0)) > 10_000:
            return "TOO_LATE"
        return None

    def add(self) -> int:
        """A new entry, by whomever; entries are numbered without gaps."""
        self.entries += 1
        entry = self.entries
        self.queued.append(entry)
        self.undelivered.append(entry)
        return entry

    # The workers' side. Each step of a worker whose lease is not the lease changes nothing.

    def acquire(self, worker: str, nonce: str) -> Answer:
        if self.lease is not None:
            is_resent = self.lease.startswith(f"{worker}:{nonce}:")
            return ("acquired", self.lease, "") if is_resent else ("held", self.lease)
        self.fence += 1
        self.lease = f"{worker}:{nonce}:{self.fence}"
        charged, self.running = self.running or "", None
        for request_id in charged.split():
            self.markers.setdefault(request_id, Marker()).crashes += 1
        return ("acquired", self.lease, charged)

    def deliver(self) -> list[int]:
        delivered, self.undelivered = self.undelivered, []
        return delivered

    def begin(self, lease: str, starts: Sequence[Start]) -> Answer:
        if lease != self.lease:
            return ("FENCED",)
        dropped = [one.entry for one in starts if not self._is_waited_for(one)]
        for one in starts:
            if one.entry in dropped:
                self._drop(one)
        if not dropped:
            self.running = " ".join(one.id for one in starts)
        return ("ok", None, dropped)

    def _is_waited_for(self, one: Start) -> bool:
        marker = self.markers.get(one.id, Marker())
        if marker.entry != one.entry:
            return marker.dropped != one.entry
        return marker.is_kept or bool(marker.listeners & self.pushed.keys())

    def _drop(self, one: Start) -> None:
        self._acknowledge(one.entry, one.gateway)
        marker = self.markers[one.id]
        marker.entry, marker.dropped = None, one.entry

    def complete(
        self,
        lease: str,
        settlements: Sequence[Settlement],
        read: FullRead | None,
        *,
        visit_is_over: bool,
    ) -> Answer:
        if lease != self.lease:
            return ("FENCED",)
        pushes: dict[str, Pushed] = {}
        first = sum(self._settle(one, pushes) for one in settlements)
        self._push(pushes)
        if read is not None:
            self._keep_if_newer(read)
        if visit_is_over:
            self.running = None
        return ("ok", first)

    def _settle(self, one: Settlement, pushes: dict[str, Pushed]) -> bool:
        """Answer and acknowledge one; True if nobody had answered this id before."""
        was_pending = self._acknowledge(one.entry, one.gateway)
        is_first = one.id not in self.replies
        if is_first:
            for gateway in {one.gateway, *self._answer(one.id, one.reply)}:
                pushes.setdefault(gateway, []).append((one.id, one.reply))
        elif was_pending:
            told = one.second_answer(self.replies[one.id])
            pushes.setdefault(one.gateway, []).append((one.id, told))
        return is_first

    def _answer(self, request_id: str, reply: str) -> set[str]:
        """Store the reply for good; the id keeps meaning the same question."""
        self.replies[request_id] = reply
        marker = self.markers.pop(request_id, Marker())
        if marker.fingerprint is not None:
            self.markers[request_id] = Marker(fingerprint=marker.fingerprint)
        return marker.listeners

    def _acknowledge(self, entry: int, gateway: str) -> bool:
        was_pending = entry in self.pending
        if was_pending:
            self.queued.remove(entry)
            left = self.shares.pop(gateway, 0) - 1
            if left > 0:
                self.shares[gateway] = left
        return was_pending

    def _push(self, pushes: Mapping[str, Pushed]) -> None:
        for gateway, replies in pushes.items():
            if gateway in self.pushed:  # who is gone is not brought back
                self.pushed[gateway].append(sorted(replies))

    def _keep_if_newer(self, read: FullRead) -> None:
        kept = self.snapshot or {"fence": "-1", "sequence": "-1"}
        if (self.fence, read.sequence) > (int(kept["fence"]), int(kept["sequence"])):
            self.snapshot = {
                "data": read.data,
                "fence": str(self.fence),
                "sequence": str(read.sequence),
            }

    def bury(self, lease: str, entry: int, request_id: str, gateway: str) -> Answer:
        if lease != self.lease:
            return ("FENCED",)
        if not self._acknowledge(entry, gateway):
            return ("gone",)
        self.dead.append(entry)
        if request_id and request_id not in self.replies:
            listeners = {gateway, *self._answer(request_id, BURIED_REPLY)}
            self._push({one: [(request_id, BURIED_REPLY)] for one in listeners})
        return ("ok",)

    def renew(self, lease: str, health: Mapping[str, str]) -> Answer:
        if lease != self.lease:
            return ("FENCED",)
        self.health = {**(self.health or {}), **health}
        return ("ok",)

    def announce(self, lease: str, key: str) -> Answer:
        if lease != self.lease:
            return ("FENCED",)
        self.sealing_key = key
        return ("ok",)

    def release(self, lease: str) -> Answer:
        if lease != self.lease:
            return (0,)
        self.lease = self.health = None
        return (1,)

    @property
    def pending(self) -> list[int]:
        return [entry for entry in self.queued if entry not in self.undelivered]

    def picture(self) -> dict[str, Any]:
        """What the keys should hold; what is empty is left out."""
        whole = {
            "requests": self.queued,
            "pending": self.pending,
            "dead": self.dead,
            "shares": {gateway: str(count) for gateway, count in self.shares.items()},
            "lease": self.lease,
            "fence": str(self.fence) if self.fence else None,
            "running": self.running,
            "health": self.health,
            f"snapshot:{ACCOUNT}": self.snapshot,
            "sealing-key": self.sealing_key,
            **_named("request", {name: one.picture() for name, one in self.markers.items()}),
            **_named("reply", self.replies),
            **_named("replies", self.pushed),
        }
        return {name: value for name, value in whole.items() if value or "replies" in name}


def _named(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{kind}:{name}": value for name, value in values.items()}


def _question(reply: str) -> tuple[Any, Any]:
    decoded = json.loads(reply)
    return decoded.get("account"), decoded.get("operation")
