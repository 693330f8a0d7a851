"""Look-ups: `GET /v1/accounts/{account}` and what is below it."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from mt5relay_gateway.http.answering import answer_response, asked_options
from mt5relay_gateway.http.asking import arguments_from, check_query, look_up
from mt5relay_gateway.http.bodies import encoded, snapshot_body
from mt5relay_gateway.http.call import Call
from mt5relay_gateway.http.endpoint import Handler
from mt5relay_gateway.http.freshness import (
    answer_headers,
    entity_tag,
    is_known,
    requested_patience,
)
from mt5relay_gateway.http.problems import Refusal
from mt5relay_gateway.http.submitting import collected, submitted
from mt5relay_shared.operations import Operation

_encoder = msgspec.json.Encoder()


def look_up_handler(operation: Operation) -> Handler:
    """Answers one operation from its URL, and the freshness and patience of its headers."""

    async def handle(call: Call) -> Response:
        account = call.account()
        arguments = arguments_from(operation, call.query(), call.path)
        patience = requested_patience(call.headers.get("prefer"))
        options = asked_options(call, patience)
        if patience.respond_async:
            request = await submitted(call, operation, account, arguments, options)
            return await collected(call, request, patience.wait or 0)
        with call.while_present():
            client = await call.client()
            answer = await look_up(client, operation, account, arguments, **options)
        return answer_response(call, answer)

    return handle


async def snapshot(call: Call) -> Response:
    """The last full read, however old; never troubles the worker."""
    account = call.account()
    check_query(call.query(), ())
    found = await (await call.client()).snapshot(account)
    if found is None:
        raise Refusal("NO_SNAPSHOT", f"{account} was never read, or so long ago that it is gone")
    body = snapshot_body(found)
    parts = [found.account_info, found.positions, found.orders]
    as_text = call.wants_integers_as_text
    headers = answer_headers(found.age, etag := entity_tag(_encoder.encode(parts), as_text))
    if is_known(etag, call.headers.get("if-none-match")):
        return Response(status_code=304, headers=headers)
    text = encoded(body, integers_as_text=as_text)
    return Response(text, headers=headers, media_type="application/json")
