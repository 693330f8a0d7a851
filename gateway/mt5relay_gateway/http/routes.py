"""Everything that can be asked over HTTP: one table, from which routes and description are made."""

from __future__ import annotations

from typing import Any

from mt5relay_gateway.http import (
    batches,
    commands,
    credentials,
    exposition,
    health,
    lookups,
    submitting,
)
from mt5relay_gateway.http.bodies import (
    ACCOUNT_PATTERN,
    BATCH_TYPE,
    SUBMIT_TYPE,
    AnswerBody,
    CredentialBody,
    RequestState,
    SnapshotBody,
)
from mt5relay_gateway.http.endpoint import Endpoint, Parameter
from mt5relay_gateway.http.events import MOST_REPLAYED, events
from mt5relay_gateway.http.idempotency import KEY_PATTERN
from mt5relay_gateway.http.lookups import look_up_handler
from mt5relay_gateway.http.tokens import Scope
from mt5relay_shared.messages import NAME_PATTERN
from mt5relay_shared.operations import (
    MAX_BROKER_TIME_MS,
    MAX_RATES,
    OPERATIONS,
    TIMEFRAMES,
    Operation,
)

JSON = "application/json"
ACCOUNT = "25115284@MetaQuotes-Demo"

_MOMENT: dict[str, Any] = {
    "anyOf": [
        {"type": "integer", "minimum": 0, "maximum": MAX_BROKER_TIME_MS},
        {"type": "string", "format": "date-time", "pattern": "Z$"},
    ]
}
_account = Parameter(
    "account",
    "path",
    "LOGIN@SERVER",
    {"type": "string", "pattern": ACCOUNT_PATTERN, "examples": [ACCOUNT]},
    required=True,
)
_symbol = Parameter(
    "symbol",
    "path",
    "as the broker calls it",
    {"type": "string", "minLength": 1, "maxLength": 31, "examples": ["EURUSD"]},
    required=True,
)
_range = (
    Parameter(
        "from",
        "query",
        "beginning, in the broker server's clock: `2026-01-31T00:00:00`, or ms since 1970",
        _MOMENT,
        required=True,
    ),
    Parameter("to", "query", "end, likewise; included", _MOMENT, required=True),
)
_bars = (
    Parameter(
        "timeframe",
        "query",
        "the length of a bar",
        {"type": "string", "enum": list(TIMEFRAMES)},
        required=True,
    ),
    Parameter(
        "count",
        "query",
        "how many of the last bars, the running one included",
        {"type": "integer", "minimum": 1, "maximum": MAX_RATES},
        required=True,
    ),
)
_text: dict[str, Any] = {"type": "string"}
_freshness = Parameter(
    "Cache-Control",
    "header",
    "`max-age=S`: a stored read up to S seconds old will do; `stale-if-error=S`: one instead of an"
    " error that may pass; `no-cache`: ask the terminal. Default: ask the terminal",
    _text,
)
_patience = Parameter(
    "Prefer",
    "header",
    "`wait=S`: how long the answer may take; with `respond-async`: after S seconds say 202, and"
    " where to collect the answer; `integers=text`: integers above 2^53 - 1, which JavaScript would"
    " round, are strings",
    _text,
)
_poll = Parameter("Prefer", "header", "`wait=S`: wait for the answer, at most 60 s", _text)
_key = Parameter(
    "Idempotency-Key",
    "header",
    "the same key of the same token means the same request, at whichever gateway",
    {"type": "string", "minLength": 1, "maxLength": 130, "pattern": KEY_PATTERN},
)
_etag = Parameter("If-None-Match", "header", "an `ETag` of an earlier answer", _text)
_trace = Parameter("traceparent", "header", "W3C trace context", _text)
_ASKING = (_freshness, _patience, _key, _etag, _trace)

_PATHS: dict[Operation, tuple[str, str]] = {
    Operation.TICK: ("/symbols/{symbol:path}/tick", "A symbol's last prices"),
    Operation.RATES: ("/symbols/{symbol:path}/rates", "A symbol's last bars"),
    Operation.SYMBOL: ("/symbols/{symbol:path}", "A symbol's properties"),
    Operation.POSITIONS: ("/positions", "The open positions"),
    Operation.ORDERS: ("/orders", "The pending orders"),
    Operation.DEALS: ("/deals", "The deals of a time"),
    Operation.HISTORY_ORDERS: ("/history-orders", "The past orders of a time"),
    Operation.ACCOUNT_INFO: ("", "Balance, equity, margin and settings"),
}
_QUERY: dict[Operation, tuple[Parameter, ...]] = {
    Operation.DEALS: _range,
    Operation.HISTORY_ORDERS: _range,
    Operation.RATES: _bars,
}
_FROM = {"from_ms": 1_767_225_600_000, "to_ms": 1_769_904_000_000}


def _look_up(operation: Operation) -> Endpoint:
    path, summary = _PATHS[operation]
    symbol = (_symbol,) if "{symbol" in path else ()
    result: Any = OPERATIONS[operation].result
    answer: Any = AnswerBody
    return Endpoint(
        method="GET",
        path=f"/v1/accounts/{{account}}{path}",
        name=operation.value,
        handler=look_up_handler(operation),
        scope=Scope.READ,
        summary=summary,
        parameters=(_account, *symbol, *_QUERY.get(operation, ()), *_ASKING),
        answers={
            200: (JSON, answer[result]),
            202: (JSON, RequestState),
            304: ("", None),
        },
    )


LOOK_UPS = tuple(_look_up(operation) for operation in _PATHS)

ENDPOINTS: tuple[Endpoint, ...] = (
    *LOOK_UPS,
    Endpoint(
        method="GET",
        path="/v1/accounts/{account}/snapshot",
        name="snapshot",
        handler=lookups.snapshot,
        scope=Scope.READ,
        summary="The last good full read, however old",
        description="Never troubles the worker.",
        parameters=(_account, _etag, _trace),
        answers={200: (JSON, SnapshotBody), 304: ("", None)},
    ),
    Endpoint(
        method="POST",
        path="/v1/accounts:batch",
        name="batch",
        handler=batches.batch,
        scope=Scope.READ,
        summary="One look-up for many accounts",
        description="Answers a line of JSON for each account, as its answer comes:"
        " `account`, `status` and either `answer` or `problem`.",
        parameters=(_freshness, _patience, _key, _trace),
        body=BATCH_TYPE,
        body_example={"accounts": [ACCOUNT, "50100002@Contoso-Live"], "operation": "positions"},
        answers={200: (batches.MEDIA_TYPE, None)},
    ),
    Endpoint(
        method="POST",
        path="/v1/requests",
        name="submit",
        handler=submitting.submit,
        scope=Scope.READ,
        summary="Ask now, collect later",
        description="The answer is kept for 60 seconds past the request's timeout.",
        parameters=(_freshness, _key, _trace),
        body=SUBMIT_TYPE,
        body_example={"account": ACCOUNT, "operation": "deals", "arguments": _FROM},
        answers={202: (JSON, RequestState)},
    ),
    Endpoint(
        method="GET",
        path="/v1/requests/{request_id}",
        name="collect",
        handler=submitting.collect,
        scope=Scope.READ,
        summary="The answer to a request, its problem, or 202 while it is pending",
        parameters=(
            Parameter(
                "request_id",
                "path",
                "as the request's `Location` has it",
                {
                    "type": "string",
                    "pattern": NAME_PATTERN.replace(r"\Z", "$"),
                    "minLength": 1,
                    "maxLength": 64,
                },
                required=True,
            ),
            _poll,
            _etag,
            _trace,
        ),
        answers={200: (JSON, AnswerBody[Any]), 202: (JSON, RequestState), 304: ("", None)},
    ),
    Endpoint(
        method="PUT",
        path="/v1/accounts/{account}/credential",
        name="enrol",
        handler=credentials.enrol,
        scope=Scope.ENROLL,
        summary="Enrol the account, or change its password",
        description="Sealed at once for the terminal's key; it can't be read again.",
        parameters=(_account, _trace),
        body=CredentialBody,
        body_example={"password": "invented-1"},
        answers={204: ("", None)},
    ),
    Endpoint(
        method="DELETE",
        path="/v1/accounts/{account}/credential",
        name="remove",
        handler=credentials.remove,
        scope=Scope.ENROLL,
        summary="Forget the account's credential",
        parameters=(_account, _trace),
        answers={204: ("", None)},
    ),
    Endpoint(
        method="POST",
        path="/v1/commands",
        name="command",
        handler=commands.command,
        scope=Scope.OPERATE,
        summary="Tell a running worker something",
        description="`breaker.reset` closes the breaker, `breaker.probe` lets it try the terminal"
        " now, `account.unlock` lets an account whose authorization was refused be tried again.",
        parameters=(_trace,),
        body=commands.CommandBody,
        body_example={"command": "account.unlock", "account": ACCOUNT},
        answers={200: (JSON, commands.Obeyed)},
    ),
    Endpoint(
        method="GET",
        path="/v1/events",
        name="events",
        handler=events,
        scope=Scope.READ,
        summary="What happens: state, breaker, lease, command, health, queue",
        description="Server-sent events. `health` and `queue` have no id: they are told anew to"
        " whoever comes; `gap` says that events were trimmed, `problem` that Redis is away.",
        parameters=(
            Parameter(
                "last",
                "query",
                "how many past events to begin with",
                {"type": "integer", "minimum": 0, "maximum": MOST_REPLAYED, "default": 0},
            ),
            Parameter("Last-Event-ID", "header", "go on after this one", _text),
        ),
        answers={200: ("text/event-stream", None)},
    ),
    Endpoint(
        method="GET",
        path="/health",
        name="health",
        handler=health.health,
        scope=None,
        summary="How things are: 200 while the terminals work, else 503",
        answers={200: (JSON, health.HealthBody), 503: (JSON, health.HealthBody)},
    ),
    Endpoint(
        method="GET",
        path="/health/live",
        name="live",
        handler=health.live,
        scope=None,
        summary="This process answers",
        answers={200: (JSON, health.LiveBody)},
    ),
    Endpoint(
        method="GET",
        path="/health/ready",
        name="ready",
        handler=health.ready,
        scope=None,
        summary="This gateway reaches Redis",
        answers={200: (JSON, health.HealthBody), 503: (JSON, health.HealthBody)},
    ),
    Endpoint(
        method="GET",
        path="/metrics",
        name="metrics",
        handler=exposition.metrics,
        scope=Scope.READ,
        summary="Figures for Prometheus",
        answers={200: ("text/plain", None)},
    ),
)
