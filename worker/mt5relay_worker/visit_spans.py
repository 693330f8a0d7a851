"""Each request's part of a visit as a span in its caller's trace, where OpenTelemetry is set up.

The worker sets up nothing: start it with `opentelemetry-instrument mt5relay-worker run`, or
configure a tracer provider in `sitecustomize`. Without one, this does nothing.
"""

from __future__ import annotations

import time

from mt5relay_shared.messages import Request
from mt5relay_shared.telemetry import is_traced, propagate, trace


class VisitSpans:
    """Tells of visits after they were made. Accounts are left out: traces go to other systems."""

    def __init__(self) -> None:
        self._is_on = is_traced()

    def record(self, request: Request, outcome: str, visit_ms: float, switch_ms: float) -> None:
        """A visit ended now, after so many milliseconds, of which its login took `switch_ms`."""
        if not self._is_on or request.traceparent is None:
            return
        ended = time.time_ns()
        context = propagate.extract({"traceparent": request.traceparent})
        span = trace.get_tracer("mt5relay").start_span(
            f"visit {request.operation}",
            context=context,
            kind=trace.SpanKind.CONSUMER,
            start_time=ended - round(visit_ms * 1e6),
            attributes={
                "messaging.message.id": request.id,
                "mt5relay.switch_ms": switch_ms,
            },
        )
        if outcome != "ok":
            span.set_attribute("error.type", outcome)
        span.end(ended)
