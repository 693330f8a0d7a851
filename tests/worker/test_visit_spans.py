"""One trace from the caller to the terminal visit, where OpenTelemetry is set up."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mt5relay_shared.messages import Request
from mt5relay_worker.visit_spans import VisitSpans

if TYPE_CHECKING:
    from collections.abc import Sequence

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

# In a process of its own: a tracer provider is set once for a whole process.
PROGRAM = f"""
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from mt5relay_shared.messages import Request
from mt5relay_worker.visit_spans import VisitSpans

kept = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)
spans = VisitSpans()
asked = Request(id="r1", account="1@Broker", operation="positions", traceparent={PARENT!r})
spans.record(asked, "ok", 1500.0, 1200.0)
spans.record(asked, "MT5_DATA_INVALID", 20.0, 0.0)
spans.record(Request(id="r2", account="1@Broker", operation="positions"), "ok", 1.0, 0.0)
for one in kept.get_finished_spans():
    took = round((one.end_time - one.start_time) / 1e6)
    print(one.name, f"{{one.context.trace_id:032x}}", f"{{one.parent.span_id:016x}}", took,
          one.attributes.get("error.type", "-"), "1@Broker" in repr(dict(one.attributes)))
"""


def said() -> Sequence[str]:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    return ran.stdout.splitlines()


def test_a_visit_is_a_child_of_the_callers_span_and_names_no_account() -> None:
    pytest.importorskip("opentelemetry.sdk")
    _, trace_id, parent, _ = PARENT.split("-")
    assert said() == [
        f"visit positions {trace_id} {parent} 1500 - False",
        f"visit positions {trace_id} {parent} 20 MT5_DATA_INVALID False",
    ]


def test_without_a_tracer_nothing_happens() -> None:
    asked = Request(id="r1", account="1@Broker", operation="positions", traceparent=PARENT)
    VisitSpans().record(asked, "ok", 1.0, 0.0)
