"""Every metric of an HTTP gateway, read from an exposition in which nothing is missing."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from mt5relay_gateway.http.exposition import exposition
from mt5relay_gateway.http.metrics import Measures
from mt5relay_gateway.http.monitor import Sight
from mt5relay_shared.health import BreakerState, ConnectionState, Health, Status
from mt5relay_shared.timings import BOUNDS, Counted, Kind, Phase

OWN_LABELS = {"le"}  # of histograms


@dataclass(frozen=True)
class Described:
    """A metric; a counter's name ends in `_total`."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


def metric_families() -> list[Described]:
    text = exposition(_measures().registry, [_sight()]).decode()
    found: list[Described] = []
    for family in text_string_to_metric_families(text):
        labels = dict.fromkeys(label for sample in family.samples for label in sample.labels)
        if family.name.endswith("_created"):
            continue
        name = f"{family.name}_total" if family.type == "counter" else family.name
        named = tuple(label for label in labels if label not in OWN_LABELS)
        found.append(Described(name, family.type, named, family.documentation))
    return sorted(found, key=lambda one: one.name)


def _measures() -> Measures:
    measures = Measures()
    measures.answered("account_info", "ok", 0.1)
    measures.aged("account_info", "terminal", 0.1)
    measures.stream_opened()
    return measures


def _sight() -> Sight:
    """A terminal of which everything is known."""
    needed = Health(
        status=Status.OK,
        state=ConnectionState.CONNECTED,
        detail="idle",
        state_since_ms=1,
        breaker=BreakerState.CLOSED,
        worker_id="w",
        fence=1,
        started_at_ms=1,
        heartbeat_at_ms=1,
        version="1",
        pool_limit=1,
        connection_ok=True,
        auth_ok=True,
        data_feed_ok=True,
        latency_ms=1.0,
        last_error_at_ms=1,
        last_success_at_ms=1,
        switch_p50_ms=1,
        switch_p95_ms=1,
        read_p95_ms=1,
    )
    counted = Counted([1] * (len(BOUNDS) + 1), 1.0)
    timings = {Kind(phase, "account_info", "ok"): counted for phase in Phase}
    return Sight("main", needed, 2, 1, 1, timings)
