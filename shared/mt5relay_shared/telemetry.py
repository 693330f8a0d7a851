"""OpenTelemetry where the extra `otel` is installed; both modules are None where it is not."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def _optional(module: str) -> Any:  # noqa: ANN401 - a module, or None where the extra is missing
    try:
        return import_module(module)
    except ImportError:
        return None


propagate, trace = _optional("opentelemetry.propagate"), _optional("opentelemetry.trace")


def is_traced() -> bool:
    """Whether an SDK of OpenTelemetry is configured; to be asked once, when the process starts."""
    return trace is not None and not isinstance(
        trace.get_tracer_provider(), trace.ProxyTracerProvider
    )
