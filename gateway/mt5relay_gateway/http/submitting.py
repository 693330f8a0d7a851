"""Ask now, collect later: requests that outlive the HTTP call that made them."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from mt5relay_gateway.answers import Answer
from mt5relay_gateway.composing import AskOptions, check_request_id
from mt5relay_gateway.http.answering import answer_response, asked_options
from mt5relay_gateway.http.bodies import (
    SUBMIT_TYPE,
    RequestState,
    SubmitBody,
    arguments_of,
    operation_of,
)
from mt5relay_gateway.http.call import Call
from mt5relay_gateway.http.freshness import MAX_POLL, Patience, requested_patience
from mt5relay_gateway.http.ledger import Ledger, SubmittedRequest
from mt5relay_gateway.http.problems import Refusal
from mt5relay_gateway.http.webhooks import Agenda, check_target
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import DeadlineExceededError, MT5Error
from mt5relay_shared.ids import new_request_id
from mt5relay_shared.operations import Arguments, Operation

POLL_AGAIN = 1  # seconds


async def submit(call: Call) -> Response:
    """`POST /v1/requests`."""
    body: SubmitBody = await call.json(SUBMIT_TYPE)
    account = call.permitted(body.account)
    webhook = None if body.webhook is None else check_target(body.webhook.url, call.relay.settings)
    patience = requested_patience(call.headers.get("prefer"))
    options = asked_options(call, Patience(patience.wait, respond_async=True))
    if body.timeout_ms is not None:
        options["timeout"] = body.timeout_ms / 1000
    request = await submitted(
        call, operation_of(body), account, arguments_of(body), options, webhook=webhook
    )
    return _pending(call, request)


async def submitted(
    call: Call,
    operation: Operation,
    account: AccountId,
    arguments: Arguments,
    options: AskOptions,
    *,
    webhook: str | None = None,
) -> SubmittedRequest:
    """Queue a request, and note for every gateway who may collect what.

    Raises as the client's `submit` does.
    """
    relay = call.relay
    request_id = options.get("request_id") or new_request_id()
    timeout = options.get("timeout") or relay.settings.request_timeout
    request = SubmittedRequest(request_id, str(account), operation, webhook)
    ledger = Ledger(relay.commands(relay.fleet_keys), relay.fleet_keys)
    asked: AskOptions = {**options, "request_id": request_id, "timeout": timeout}
    client = await call.client()
    await client.submit(operation, account, msgspec.to_builtins(arguments), **asked)
    await ledger.note(request, timeout)
    if webhook is not None:
        await Agenda(relay.commands(relay.fleet_keys), relay.fleet_keys).add(request_id)
    return request


async def collect(call: Call) -> Response:
    """`GET /v1/requests/{id}`."""
    request_id = check_request_id(call.path["request_id"])
    ledger = Ledger(call.relay.commands(call.relay.fleet_keys), call.relay.fleet_keys)
    request = await ledger.find(request_id)
    if request is None or not call.caller.may_see(request.account):
        raise Refusal("NO_SUCH_REQUEST", f"request {request_id} is not known, or not any more")
    patience = requested_patience(call.headers.get("prefer"))
    return await collected(call, request, patience.wait or 0)


async def collected(call: Call, request: SubmittedRequest, wait: float) -> Response:
    """Its answer, its problem, or that it is pending still after `wait` seconds."""
    with call.while_present():
        client = await call.client()
        answer = await client.fetch_reply(request.request_id, wait=min(wait, MAX_POLL))
    if answer is None:
        if request.is_overdue:
            raise DeadlineExceededError("no answer in time", request_id=request.request_id)
        return _pending(call, request)
    _check_account(answer, request)
    return answer_response(call, answer)


def _check_account(answer: Answer[Any], request: SubmittedRequest) -> None:
    if str(answer.account) != request.account:
        raise MT5Error(f"the reply to {request.request_id} is of another account; it was discarded")


def _pending(call: Call, request: SubmittedRequest) -> Response:
    call.outcome = "pending"
    location = call.location(f"/v1/requests/{request.request_id}")
    headers = {
        "location": location,
        "retry-after": str(POLL_AGAIN),
        "cache-control": "no-store",
    }
    if requested_patience(call.headers.get("prefer")).respond_async:
        headers["preference-applied"] = "respond-async"
    state = RequestState(request_id=request.request_id, status="pending", location=location)
    return Response(msgspec.json.encode(state), 202, headers=headers, media_type="application/json")
