"""The last 15 minutes of every terminal, so that the page's charts need not begin empty."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence

import msgspec

from mt5relay_gateway.http.monitor import Sight, look_at_all
from mt5relay_gateway.http.relay import Relay
from mt5relay_shared.errors import MT5Error
from mt5relay_shared.health import BreakerState, ConnectionState

KEPT_MS = 900_000
INTERVAL = 5.0  # seconds between two samples
MOST_KEPT = 512  # samples of a terminal; more than fit into the time


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A terminal at one moment of Redis time; counters as the worker has them since its start.

    Fields as in its health. Where no worker lived, all but `at_ms` are None.
    """

    at_ms: int
    state: ConnectionState | None = None
    breaker: BreakerState | None = None
    heartbeat_at_ms: int | None = None
    started_at_ms: int | None = None
    requests_total: int | None = None
    errors_total: int | None = None
    stale_replies: int | None = None
    logins: int | None = None
    logins_saved: int | None = None
    queue_depth: int | None = None
    oldest_request_age_ms: int | None = None
    estimated_wait_ms: int | None = None
    switch_p50_ms: int | None = None
    switch_p95_ms: int | None = None
    read_p95_ms: int | None = None


_FIELDS = [name for name in Sample.__struct_fields__ if name != "at_ms"]


def sample_of(sight: Sight) -> Sample:
    if sight.health is None:
        return Sample(at_ms=sight.now_ms)
    return Sample(at_ms=sight.now_ms, **{name: getattr(sight.health, name) for name in _FIELDS})


class Recorder:
    """Samples from the first time somebody looks at the page until the gateway stops."""

    def __init__(self, interval: float = INTERVAL) -> None:
        self._interval = interval
        self._samples: dict[str, deque[Sample]] = {}
        self._task: asyncio.Task[None] | None = None

    def ensure_running(self, relay: Relay) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(relay), name="mt5relay-page-recorder")

    async def _run(self, relay: Relay) -> None:
        while not relay.closing.is_set():
            with contextlib.suppress(MT5Error):  # a gap in the charts says it
                self.add(await look_at_all(relay))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await relay.closing.wait()

    def add(self, sights: Sequence[Sight]) -> None:
        for sight in sights:
            kept = self._samples.setdefault(sight.terminal, deque(maxlen=MOST_KEPT))
            kept.append(sample_of(sight))
            while kept[0].at_ms < sight.now_ms - KEPT_MS:
                kept.popleft()

    def kept(self) -> dict[str, list[Sample]]:
        """By terminal, oldest first."""
        return {terminal: list(samples) for terminal, samples in self._samples.items()}
