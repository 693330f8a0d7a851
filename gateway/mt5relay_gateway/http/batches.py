"""`POST /v1/accounts:batch`: one look-up for many accounts, answered as the answers come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

import msgspec
from starlette.responses import Response, StreamingResponse

from mt5relay_gateway.composing import AskOptions
from mt5relay_gateway.http.answering import asked_options
from mt5relay_gateway.http.asking import look_up
from mt5relay_gateway.http.bodies import (
    BATCH_TYPE,
    BatchBody,
    BatchLine,
    answer_json,
    arguments_of,
    encoded,
    operation_of,
)
from mt5relay_gateway.http.call import Call
from mt5relay_gateway.http.freshness import Patience, requested_patience
from mt5relay_gateway.http.idempotency import request_id_of
from mt5relay_gateway.http.problems import Refusal, problem_from
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5Error
from mt5relay_shared.logs import get_logger
from mt5relay_shared.operations import Arguments, Operation

MEDIA_TYPE = "application/x-ndjson"

logger = get_logger(__name__)


async def batch(call: Call) -> Response:
    """Raises:
    MT5ValidationError: an account is not LOGIN@SERVER; nothing is asked then.
    """
    body: BatchBody = await call.json(BATCH_TYPE)
    patience = requested_patience(call.headers.get("prefer"))
    options = asked_options(call, Patience(patience.wait))
    accounts = list(dict.fromkeys(body.accounts))
    for account in accounts:
        AccountId.parse(account)
    return StreamingResponse(
        _lines(call, operation_of(body), arguments_of(body), accounts, options),
        headers={"cache-control": "no-store"},
        media_type=MEDIA_TYPE,
    )


async def _lines(
    call: Call,
    operation: Operation,
    arguments: Arguments,
    accounts: Sequence[str],
    options: AskOptions,
) -> AsyncGenerator[bytes]:
    tasks = [
        asyncio.ensure_future(_line(call, operation, arguments, account, options))
        for account in accounts
    ]
    try:
        for done in asyncio.as_completed(tasks):
            yield msgspec.json.encode(await done) + b"\n"
    finally:  # who hangs up waits no more: what is not answered is withdrawn
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _line(
    call: Call, operation: Operation, arguments: Arguments, account: str, options: AskOptions
) -> BatchLine:
    one: AskOptions = {**options}
    if "request_id" in options:
        one["request_id"] = request_id_of(call, account)
    try:
        identity = call.permitted(account)
        answer = await look_up(await call.client(), operation, identity, arguments, **one)
    except (MT5Error, Refusal) as error:
        return BatchLine(account=account, status="error", problem=problem_from(error))
    except Exception:  # the unit of work: its neighbours are answered all the same
        logger.exception("http.defect", operation="batch")
        defect = MT5Error("a defect of the gateway; see its log")
        return BatchLine(account=account, status="error", problem=problem_from(defect))
    call.measures.aged(operation, answer.source, answer.age)
    data = encoded(answer.data, integers_as_text=call.wants_integers_as_text)
    return BatchLine(account=account, status="ok", answer=msgspec.Raw(answer_json(answer, data)))
