"""One trace from the HTTP request on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from mt5relay_gateway.http.tracing import plain_span, valid_traceparent

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture(scope="module")
def exporter() -> Iterator[InMemorySpanExporter]:
    """OpenTelemetry has one provider in a process, for good: later tests' spans are not kept."""
    found = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(found))
    trace.set_tracer_provider(provider)
    yield found
    found.shutdown()


@pytest.mark.parametrize(
    ("header", "is_valid"),
    [
        (PARENT, True),
        (None, False),
        ("", False),
        (PARENT.upper(), False),
        (f"{PARENT}x", False),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
    ],
)
def test_only_a_trace_context_is_carried(header: str | None, is_valid: bool) -> None:
    assert (valid_traceparent(header) == header and header is not None) is is_valid


def test_without_a_configured_sdk_the_callers_context_is_passed_on() -> None:
    with plain_span("GET", "/x", {"traceparent": PARENT}) as span:
        assert span.traceparent == PARENT


async def test_a_request_is_a_span_of_its_callers_trace(
    exporter: InMemorySpanExporter, http: httpx.AsyncClient, worker: Any
) -> None:
    exporter.clear()
    await http.get("/v1/accounts/1@S", headers={"traceparent": PARENT})
    await http.get("/v1/accounts/nobody", headers={"traceparent": PARENT})
    good, bad = exporter.get_finished_spans()
    assert good.context is not None
    assert f"{good.context.trace_id:032x}" == TRACE
    assert good.attributes is not None
    assert good.attributes["http.response.status_code"] == 200
    assert good.attributes["http.route"] == "/v1/accounts/{account}"
    assert bad.attributes is not None
    assert bad.attributes["error.type"] == "VALIDATION_FAILED"


async def test_the_worker_is_told_of_the_trace(http: httpx.AsyncClient, worker: Any) -> None:
    await http.get("/v1/accounts/1@S", headers={"traceparent": PARENT})
    assert worker.requests[0].traceparent[3:35] == TRACE
