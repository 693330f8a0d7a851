"""What happens to every request on its way to a handler, and to every answer on its way back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from mt5relay_gateway.http.call import Call, CallerGoneError, joined_headers
from mt5relay_gateway.http.freshness import requested_patience
from mt5relay_gateway.http.guard import Guard
from mt5relay_gateway.http.metrics import Measures
from mt5relay_gateway.http.problems import Refusal, problem_from, problem_response
from mt5relay_gateway.http.relay import Relay
from mt5relay_gateway.http.tokens import Scope
from mt5relay_gateway.http.tracing import plain_span, recorded_span
from mt5relay_shared.errors import MT5Error
from mt5relay_shared.logs import get_logger
from mt5relay_shared.telemetry import is_traced

Handler = Callable[[Call], Awaitable[Response]]

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the path, the query or the header, for the description."""

    name: str
    where: str  # path, query or header
    description: str
    schema: dict[str, Any]
    required: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """One method of one path: how it is answered, who may, and how it is described.

    `scope` None: anybody may. `answers`: a type for each status that is not a problem, None for an
    empty body, or a media type for what has no schema.
    """

    method: str
    path: str
    name: str
    handler: Handler
    scope: Scope | None
    summary: str
    description: str = ""
    parameters: Sequence[Parameter] = ()
    body: Any = None
    body_example: Any = None
    answers: dict[int, tuple[str, Any]] = field(default_factory=dict[int, tuple[str, Any]])


class Answering:
    """An endpoint as an ASGI application."""

    def __init__(self, endpoint: Endpoint, relay: Relay, guard: Guard, measures: Measures) -> None:
        self._endpoint = endpoint
        self._relay = relay
        self._guard = guard
        self._measures = measures
        self._begin = recorded_span if is_traced() else plain_span

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        endpoint, headers = self._endpoint, joined_headers(scope["headers"])
        with self._begin(endpoint.method, endpoint.path, headers) as span:
            extra: list[tuple[bytes, bytes]] = []
            code: str | None = None
            outcome = "ok"
            within = self._patience(headers)
            give_up_at = asyncio.get_running_loop().time() + within
            try:
                caller = await self._guard.admit(scope, headers, endpoint.scope, extra, within)
                call = Call(
                    self._relay,
                    self._measures,
                    scope,
                    receive,
                    headers,
                    caller,
                    give_up_at,
                    traceparent=span.traceparent,
                )
                response = await endpoint.handler(call)
                outcome = call.outcome
            except (MT5Error, Refusal) as error:
                code = error.code
                response = problem_response(error)
                self._log_problem(error)
            except (CallerGoneError, asyncio.CancelledError) as error:
                self._measures.answered(endpoint.name, "gone", time.perf_counter() - started)
                if isinstance(error, CallerGoneError):
                    return
                raise
            except Exception:
                code = "INTERNAL"
                logger.exception("http.defect", operation=endpoint.name)
                response = problem_response(MT5Error("a defect of the gateway; see its log"))
            response.raw_headers.extend(extra)
            span.end(response.status_code, code)
            self._measures.answered(endpoint.name, code or outcome, time.perf_counter() - started)
            await response(scope, receive, send)

    def _patience(self, headers: Mapping[str, str]) -> float:
        """How many seconds the caller waits for the answer."""
        wait = requested_patience(headers.get("prefer")).wait
        return wait or self._relay.settings.request_timeout

    def _log_problem(self, error: MT5Error | Refusal) -> None:
        status = problem_from(error).status
        said = logger.warning if status >= 500 else logger.debug
        said("http.problem", operation=self._endpoint.name, code=error.code, status=status)

    def __repr__(self) -> str:
        return f"<{self._endpoint.method} {self._endpoint.path}>"


class ByMethod:
    """The endpoints of one path; whoever tries another method is told of all there are."""

    def __init__(self, answering: Mapping[str, Answering]) -> None:
        self._answering = dict(answering)
        if "GET" in answering:
            self._answering["HEAD"] = answering["GET"]

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        found = self._answering.get(scope["method"])
        if found is None:
            headers = {"Allow": ", ".join(self._answering)}
            refusal = Refusal("METHOD_NOT_ALLOWED", "see the header Allow", headers=headers)
            await problem_response(refusal)(scope, receive, send)
            return
        await found(scope, receive, send)
