"""From headers to what the client is asked, and from its answer to a response."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from mt5relay_gateway.answers import Answer
from mt5relay_gateway.composing import AskOptions
from mt5relay_gateway.http.bodies import answer_json, encoded
from mt5relay_gateway.http.call import Call
from mt5relay_gateway.http.freshness import (
    Patience,
    answer_headers,
    entity_tag,
    is_known,
    requested_freshness,
)
from mt5relay_gateway.http.idempotency import request_id_of
from mt5relay_gateway.http.tracing import trace_options


def asked_options(call: Call, patience: Patience) -> AskOptions:
    """What the headers say, in the client's words."""
    freshness = requested_freshness(call.headers.get("cache-control"))
    options: AskOptions = {**freshness.options(), **trace_options(call.traceparent)}
    if patience.wait and not patience.respond_async:
        options["timeout"] = call.seconds_left()
    if (request_id := request_id_of(call)) is not None:
        options["request_id"] = request_id
    return options


def answer_response(call: Call, answer: Answer[Any]) -> Response:
    """An answer with its age, or 304 where the caller has these data already."""
    call.outcome = "stale" if answer.stale else "ok"
    call.measures.aged(answer.operation, answer.source, answer.age)
    data = encoded(answer.data, integers_as_text=call.wants_integers_as_text)
    etag = entity_tag(data, answer.stale)
    headers = answer_headers(answer.age, etag)
    if is_known(etag, call.headers.get("if-none-match")):
        return Response(status_code=304, headers=headers)
    return Response(answer_json(answer, data), headers=headers, media_type="application/json")
