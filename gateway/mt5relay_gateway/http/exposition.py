"""`GET /metrics`: this gateway's own figures, and the workers' from their health keys."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from starlette.responses import Response

from mt5relay_gateway.http.asking import check_query
from mt5relay_gateway.http.call import Call
from mt5relay_gateway.http.monitor import Sight, look_at_all
from mt5relay_shared import __version__
from mt5relay_shared.errors import MT5Error
from mt5relay_shared.health import BreakerState, ConnectionState, Health
from mt5relay_shared.timings import BOUNDS, Counted, Phase

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_GAUGES: dict[str, tuple[str, str, float]] = {
    "queue_depth": ("queue_depth", "Requests that wait, as the worker counts them.", 1),
    "oldest_request_age_seconds": (
        "oldest_request_age_ms", "How long the oldest of them has waited.", 0.001),
    "waiting_accounts": ("waiting_accounts", "Accounts that somebody waits for.", 1),
    "estimated_wait_seconds": (
        "estimated_wait_ms", "How long a request for another account would wait.", 0.001),
    "pool_sessions": ("pool_size", "Sessions whose credential is held.", 1),
    "pool_sessions_limit": ("pool_limit", "How many may be held.", 1),
    "latency_seconds": ("latency_ms", "The terminal's own ping to the broker.", 0.001),
    "late_vs_fifo_seconds": (
        "late_vs_fifo_ms", "How much later than strict FIFO anybody was served.", 0.001),
    "last_hour_logins": ("logins_last_hour", "Logins within the last hour.", 1),
    "busiest_account_logins": (
        "busiest_account_logins", "Those of the account with most of them.", 1),
}  # fmt: skip
_COUNTERS: dict[str, tuple[str, str]] = {
    "requests": ("requests_total", "Requests answered."),
    "errors": ("errors_total", "Requests answered with an error."),
    "visits": ("visits", "Visits of an account."),
    "logins": ("logins", "Logins made."),
    "logins_saved": ("logins_saved", "Logins that strict FIFO would have made beside them."),
    "logins_delayed": ("logins_delayed", "Logins that the governor put off."),
    "stale_replies": ("stale_replies", "Answers from a snapshot instead of an error."),
    "identity_mismatches": ("identity_mismatches", "Reads discarded as another account's."),
    "fenced_writes": ("fenced_writes", "Writes refused because another worker had taken over."),
    "retries": ("retries", "Tries after a failed one."),
    "reconnects": ("reconnects", "Reconnections of the terminal."),
    "idle_evictions": ("idle_evictions", "Sessions forgotten because nobody used them."),
    "lease_changes": ("fence", "Take-overs of the terminal's lease."),
}
_PHASES = {
    Phase.WAIT: "From a request's arrival to the visit that answered it.",
    Phase.SWITCH: "The login of the visit that answered a request; 0 where there was none.",
    Phase.READ: "The reads that answered a request.",
    Phase.TOTAL: "From a request's arrival to its reply.",
}
_FLAGS: dict[str, tuple[str, str]] = {
    "connection_ok": ("connection_ok", "Whether the terminal's link works."),
    "auth_ok": ("auth_ok", "Whether the last authorization worked."),
    "data_feed_ok": ("data_feed_ok", "Whether prices move."),
}
_QUANTILES = (
    ("switch_seconds", "A login's time, by quantile of the last ones.",
     (("0.5", "switch_p50_ms"), ("0.95", "switch_p95_ms"))),
    ("read_seconds", "A full read's time, by quantile of the last ones.",
     (("0.95", "read_p95_ms"),)),
)  # fmt: skip


class WorkerFigures(Collector):
    """The figures of all terminals at one moment; None: Redis can't be asked."""

    def __init__(self, sights: Sequence[Sight] | None) -> None:
        self._sights = sights

    def collect(self) -> Iterable[Metric]:
        info = GaugeMetricFamily("mt5relay_build_info", "1, with the version.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        yield GaugeMetricFamily(
            "mt5relay_redis_up", "Whether Redis answers.", value=float(self._sights is not None)
        )
        yield from self._presence(self._sights or ())
        alive = [(one, one.health) for one in self._sights or () if one.health is not None]
        yield from _figures(alive)
        yield from _histograms(self._sights or ())

    def _presence(self, sights: Sequence[Sight]) -> Iterator[Metric]:
        up = _gauge("up", "Whether a worker lives.")
        waiting = _gauge("stream_requests", "Requests in the stream.")
        dead = _gauge("dead_letters", "Requests that were put aside because they can't be served.")
        for one in sights:
            up.add_metric([one.terminal], float(one.health is not None))
            waiting.add_metric([one.terminal], one.waiting)
            dead.add_metric([one.terminal], one.dead)
        yield from (up, waiting, dead)


def _figures(alive: Sequence[tuple[Sight, Health]]) -> Iterator[Metric]:
    for name, (field, help_text, factor) in _GAUGES.items():
        gauge = _gauge(name, help_text)
        for sight, health in alive:
            _add(gauge, sight, getattr(health, field), factor)
        yield gauge
    for name, (field, help_text) in _FLAGS.items():
        gauge = _gauge(name, help_text)
        for sight, health in alive:
            _add(gauge, sight, getattr(health, field), 1)
        yield gauge
    for name, (field, help_text) in _COUNTERS.items():
        counter = CounterMetricFamily(f"mt5relay_worker_{name}", help_text, labels=["terminal"])
        for sight, health in alive:
            counter.add_metric([sight.terminal], getattr(health, field))
        yield counter
    for name, help_text, quantiles in _QUANTILES:
        summary = Metric(f"mt5relay_worker_{name}", help_text, "summary")
        for sight, health in alive:
            for quantile, field in quantiles:
                if (value := getattr(health, field)) is not None:
                    labels = {"terminal": sight.terminal, "quantile": quantile}
                    summary.add_sample(summary.name, labels, value / 1000)
        yield summary
    yield _enumeration(
        "state", "The terminal's connection: 1 at what it is.", ConnectionState, alive
    )
    yield _enumeration("breaker", "The circuit breaker: 1 at what it is.", BreakerState, alive)
    yield from _moments(alive)


def _histograms(sights: Sequence[Sight]) -> Iterator[Metric]:
    """How long requests took at the worker, part by part."""
    for phase, help_text in _PHASES.items():
        histogram = HistogramMetricFamily(
            f"mt5relay_worker_request_{phase}_seconds",
            help_text,
            labels=["terminal", "operation", "outcome"],
        )
        for sight in sights:
            for kind, counted in sight.timings.items():
                if kind.phase == phase:
                    labels = [sight.terminal, kind.operation, kind.outcome]
                    histogram.add_metric(labels, _buckets(counted), counted.sum)
        yield histogram


def _buckets(counted: Counted) -> list[tuple[str, float]]:
    bounds = (*(str(bound) for bound in BOUNDS), "+Inf")
    return list(zip(bounds, itertools.accumulate(counted.counts), strict=True))


def _moments(alive: Sequence[tuple[Sight, Health]]) -> Iterator[Metric]:
    """Ages by the clock of Redis, so that no host's clock matters."""
    ages = {
        "heartbeat_age_seconds": ("heartbeat_at_ms", "Since the worker last spoke."),
        "state_age_seconds": ("state_since_ms", "Since the state last changed."),
        "last_success_age_seconds": ("last_success_at_ms", "Since the last good answer."),
        "last_error_age_seconds": ("last_error_at_ms", "Since the terminal's last failure."),
        "uptime_seconds": ("started_at_ms", "Since the worker started."),
    }
    for name, (field, help_text) in ages.items():
        gauge = _gauge(name, help_text)
        for sight, health in alive:
            at_ms = getattr(health, field)
            _add(gauge, sight, None if at_ms is None else max(0, sight.now_ms - at_ms), 0.001)
        yield gauge


def _enumeration(
    name: str,
    help_text: str,
    kind: type[ConnectionState] | type[BreakerState],
    alive: Sequence[tuple[Sight, Health]],
) -> Metric:
    gauge = _gauge(name, help_text, name)
    for sight, health in alive:
        for value in kind:
            gauge.add_metric([sight.terminal, value.value], float(getattr(health, name) is value))
    return gauge


def _gauge(name: str, help_text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"mt5relay_worker_{name}", help_text, labels=["terminal", *labels])


def _add(
    gauge: GaugeMetricFamily, sight: Sight, value: float | None, factor: float, *labels: str
) -> None:
    """What is not known has no sample."""
    if value is not None:
        gauge.add_metric([sight.terminal, *labels], float(value) * factor)


async def metrics(call: Call) -> Response:
    check_query(call.query(), ())
    try:
        sights = await look_at_all(call.relay)
    except MT5Error:  # that is a figure too
        sights = None
    return Response(
        exposition(call.measures.registry, sights), headers={"content-type": MEDIA_TYPE}
    )


def exposition(own: CollectorRegistry, sights: Sequence[Sight] | None) -> bytes:
    registry = CollectorRegistry()
    registry.register(WorkerFigures(sights))
    return generate_latest(registry) + generate_latest(own)
