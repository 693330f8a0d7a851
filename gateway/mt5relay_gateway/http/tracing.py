"""W3C trace context: taken from the request, carried to the worker; spans where wanted.

With the extra `otel` and a configured OpenTelemetry SDK each request is a span; without it the
caller's `traceparent` is passed on as it came.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import TracebackType

from mt5relay_gateway.composing import AskOptions
from mt5relay_shared.telemetry import propagate, trace

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z")


def valid_traceparent(text: str | None) -> str | None:
    """The header, or None where it is missing or malformed: a trace begins here then."""
    return text if text and len(text) == 55 and _TRACEPARENT.match(text) else None


class Span:
    """One request in a trace; `with` it. `traceparent` is what the worker is told."""

    traceparent: str | None

    def __init__(self, traceparent: str | None) -> None:
        self.traceparent = traceparent

    def __enter__(self) -> Span:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing was begun."""

    def end(self, status: int, code: str | None) -> None:
        """Say how it was answered."""


class _RecordedSpan(Span):
    """A span of OpenTelemetry, of the kind `server`."""

    def __init__(self, method: str, route: str, headers: Mapping[str, str]) -> None:
        super().__init__(None)
        attributes = {"http.request.method": method, "http.route": route}
        self._span = trace.get_tracer("mt5relay").start_as_current_span(
            f"{method} {route}",
            context=propagate.extract(dict(headers)),
            kind=trace.SpanKind.SERVER,
            attributes=attributes,
        )

    def __enter__(self) -> Span:
        self._current = self._span.__enter__()
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        self.traceparent = valid_traceparent(carrier.get("traceparent"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._span.__exit__(kind, error, traceback)

    def end(self, status: int, code: str | None) -> None:
        self._current.set_attribute("http.response.status_code", status)
        if code is not None:
            self._current.set_attribute("error.type", code)


def plain_span(_method: str, _route: str, headers: Mapping[str, str]) -> Span:
    """The caller's context, passed on as it came."""
    return Span(valid_traceparent(headers.get("traceparent")))


def recorded_span(method: str, route: str, headers: Mapping[str, str]) -> Span:
    """A span, child of the caller's."""
    return _RecordedSpan(method, route, headers)


def trace_options(traceparent: str | None) -> AskOptions:
    """What the client is told of the trace."""
    return {} if traceparent is None else {"traceparent": traceparent}
