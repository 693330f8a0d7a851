"""Errors as `application/problem+json` (RFC 9457): the one place that knows status codes."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.responses import Response

from mt5relay_shared.errors import ERROR_CODES, MT5Error

MEDIA_TYPE = "application/problem+json"

OWN_CODES: dict[str, tuple[int, bool, str]] = {
    "MALFORMED": (400, False, "the request can't be read"),
    "UNAUTHORIZED": (401, False, "no token, or none that is known"),
    "FORBIDDEN": (403, False, "the token does not allow it"),
    "NO_SUCH_PATH": (404, False, "nothing is here"),
    "NO_SUCH_REQUEST": (404, False, "no such request, or its reply has expired"),
    "NO_SNAPSHOT": (404, True, "no read of the account is stored"),
    "METHOD_NOT_ALLOWED": (405, False, "the path has no such method"),
    "BODY_TIMEOUT": (408, True, "the body did not arrive in time"),
    "BODY_TOO_LARGE": (413, False, "the body is too large"),
    "PATH_TOO_LONG": (414, False, "the path is too long"),
    "UNSUPPORTED_MEDIA_TYPE": (415, False, "the body is not application/json"),
    "RATE_LIMITED": (429, True, "the token asks too often"),
    "HEADERS_TOO_LARGE": (431, False, "the headers are too large"),
    "TOO_MANY_STREAMS": (503, True, "too many event streams are open"),
}
"""Code -> status, retryable, meaning: what the gateway itself refuses."""

STATUS: dict[str, int] = {
    "MT5_INIT_FAILED": 503,
    "MT5_AUTH_FAILED": 424,
    "MT5_CONNECTION_LOST": 502,
    "BROKER_UNAVAILABLE": 503,
    "MT5_TIMEOUT": 504,
    "MT5_DATA_INVALID": 502,
    "CIRCUIT_OPEN": 503,
    "VALIDATION_FAILED": 422,
    "INVALID_STATE": 409,
    "ACCOUNT_UNKNOWN": 404,
    "NOT_FOUND": 404,
    "DEADLINE_EXCEEDED": 504,
    "TOO_LATE": 503,
    "QUEUE_FULL": 503,
    "NO_WORKER": 503,
    "POISONED": 500,
    "INTERNAL": 500,
    "REDIS_UNAVAILABLE": 503,
    **{code: status for code, (status, _, _) in OWN_CODES.items()},
}
"""Every code that a problem can carry, and its status."""


class Mt5LastError(msgspec.Struct, frozen=True):
    """What `last_error()` of the MetaTrader5 package said."""

    code: int
    text: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error. `code` is stable, for programs; `detail` is for people."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    retry_after_ms: int | None = None
    mt5: Mt5LastError | None = None
    request_id: str | None = None


class Refusal(Exception):  # noqa: N818 - what the gateway itself says, not a defect
    """The gateway refuses a request before anybody else has seen it. `retry_after` in seconds."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        retry_after: float | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.retry_after = retry_after
        self.headers = headers or {}


def problem_from(error: MT5Error | Refusal) -> Problem:
    if isinstance(error, Refusal):
        _, retryable, meaning = OWN_CODES[error.code]
        return _problem(error.code, meaning, error.detail, retryable, error.retry_after)
    spec = ERROR_CODES[error.code]
    return _problem(
        error.code,
        spec.meaning,
        error.message,
        error.retryable,
        error.retry_after,
        mt5=error.mt5_error and Mt5LastError(*error.mt5_error),
        request_id=error.request_id,
    )


def _problem(
    code: str,
    meaning: str,
    detail: str,
    retryable: bool,
    retry_after: float | None,
    **more: Any,  # noqa: ANN401 - the remaining fields
) -> Problem:
    return Problem(
        type=f"urn:mt5relay:problem:{code.lower().replace('_', '-')}",
        title=meaning[0].upper() + meaning[1:],
        status=STATUS[code],
        detail=detail,
        code=code,
        retryable=retryable,
        retry_after_ms=None if retry_after is None else max(0, round(retry_after * 1000)),
        **more,
    )


def problem_body(error: MT5Error | Refusal) -> bytes:
    return msgspec.json.encode(problem_from(error))


def problem_response(error: MT5Error | Refusal) -> Response:
    problem = problem_from(error)
    headers = dict(error.headers) if isinstance(error, Refusal) else {}
    headers["cache-control"] = "no-store"
    if problem.retry_after_ms is not None:
        headers["retry-after"] = str(math.ceil(problem.retry_after_ms / 1000))
    return Response(
        msgspec.json.encode(problem), problem.status, headers=headers, media_type=MEDIA_TYPE
    )


def refusal_for_status(status: int, headers: dict[str, str]) -> Refusal:
    """What the router refuses, in these words."""
    match status:
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return Refusal("METHOD_NOT_ALLOWED", "see the header Allow", headers=headers)
        case HTTPStatus.NOT_FOUND:
            return Refusal("NO_SUCH_PATH", "see /docs for what there is")
        case _:
            return Refusal("MALFORMED", "the request can't be read")
