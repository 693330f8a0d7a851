"""What this gateway measures of itself."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, Histogram

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5, 10, 30, 60)  # s


class Measures:
    """Histograms of this process, in a registry of its own: the host application has another."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._durations = Histogram(
            "mt5relay_http_request_duration_seconds",
            "From the request's arrival to the beginning of its answer.",
            ("operation", "outcome"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._ages = Histogram(
            "mt5relay_answer_age_seconds",
            "How old the data of answers were.",
            ("operation", "source"),
            buckets=(0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600),
            registry=self.registry,
        )
        self.open_streams = 0
        self._streams = Gauge(
            "mt5relay_http_event_streams",
            "Event streams that are open.",
            registry=self.registry,
        )
        self._children: dict[tuple[str, str], Histogram] = {}
        self._age_children: dict[tuple[str, str], Histogram] = {}

    def answered(self, operation: str, outcome: str, seconds: float) -> None:
        """Count an answer; `outcome` is `ok`, `stale`, `gone` or the code of a problem."""
        key = (operation, outcome)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._durations.labels(*key)
        child.observe(seconds)

    def aged(self, operation: str, source: str, seconds: float) -> None:
        key = (operation, source)
        child = self._age_children.get(key)
        if child is None:
            child = self._age_children[key] = self._ages.labels(*key)
        child.observe(seconds)

    def stream_opened(self) -> None:
        self.open_streams += 1
        self._streams.set(self.open_streams)

    def stream_closed(self) -> None:
        self.open_streams -= 1
        self._streams.set(self.open_streams)
