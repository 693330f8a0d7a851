"""What crosses the wire: requests and replies, as JSON.

Decoding is strict about types and bounds and deaf to unknown fields, so that an older worker
understands a newer gateway.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

import msgspec

from mt5relay_shared import WIRE_VERSION
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import Mt5Code, MT5Error, MT5ValidationError, error_for
from mt5relay_shared.operations import (
    OPERATIONS,
    Arguments,
    Operation,
    parse_arguments,
    parse_operation,
)

DEFAULT_TIMEOUT_MS = 10_000
MAX_TIMEOUT_MS = 3_600_000
MAX_AGE_MS = 7 * 24 * 3_600_000
MAX_REQUEST_BYTES = 16_384

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]*\Z"  # the end of a key; `$` would let a line end in

RequestId = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN, max_length=64)]
GatewayName = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN, max_length=64)]
AgeMs = Annotated[int, msgspec.Meta(ge=0, le=MAX_AGE_MS)]

Source = Literal["terminal", "snapshot"]
Synchronized = Literal["confirmed", "assumed"]


class Question(msgspec.Struct, frozen=True, cache_hash=True):
    """What is asked, whoever asks: the key by which requests share one read."""

    account: AccountId
    operation: Operation
    arguments: Arguments


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the request stream. All `…_ms` are milliseconds.

    `stale_if_error_ms`: how old a snapshot may be that answers instead of a retryable error.
    """

    v: Literal[1] = 1
    id: RequestId
    account: str
    operation: str
    arguments: dict[str, Any] = {}
    max_age_ms: AgeMs = 0
    timeout_ms: Annotated[int, msgspec.Meta(ge=1, le=MAX_TIMEOUT_MS)] = DEFAULT_TIMEOUT_MS
    stale_if_error_ms: AgeMs = 0
    reply_to: GatewayName | None = None
    traceparent: Annotated[str, msgspec.Meta(max_length=128)] | None = None

    def question(self) -> Question:
        """Check account, operation and arguments.

        Raises:
            MT5ValidationError: naming the field and what it should hold.
        """
        operation = parse_operation(self.operation)
        return Question(
            AccountId.parse(self.account), operation, parse_arguments(operation, self.arguments)
        )

    def fingerprint(self) -> str:
        """Tell whether two requests with one id ask the same: 16 bytes of SHA-256, as hex.

        Deadline, freshness and `reply_to` are left out: a gateway that retries for another, with
        less time left, still means the same request.
        """
        body = [self.account, self.operation, self.arguments]
        return hashlib.sha256(msgspec.json.encode(body, order="sorted")).hexdigest()[:32]


class ReplyError(msgspec.Struct, frozen=True, kw_only=True):
    """A failure on the wire; see `errors.ERROR_CODES`."""

    code: str
    message: str
    retryable: bool
    retry_after_ms: int | None = None
    mt5: Mt5Code | None = None
    request_id: str | None = None
    occurred_at_ms: int


class _Reply(msgspec.Struct, frozen=True, kw_only=True, tag_field="status"):
    v: int = WIRE_VERSION
    id: str
    account: str
    operation: str


class OkReply(_Reply, frozen=True, kw_only=True, tag="ok"):
    """An answer. `data` stays JSON until somebody needs it as a record.

    `reason` is the error code that made a stale snapshot the best answer, else null.
    `server_utc_offset`: seconds that the broker server's clock is ahead of UTC, null where it is
    not known; subtract it from the times inside `data`.
    """

    data: msgspec.Raw
    as_of_ms: int
    age_ms: int
    source: Source
    stale: bool = False
    reason: str | None = None
    synchronized: Synchronized
    server_utc_offset: int | None = None


class ErrorReply(_Reply, frozen=True, kw_only=True, tag="error"):
    """A failure, final for this request."""

    error: ReplyError


Reply = OkReply | ErrorReply

_request_decoder = msgspec.json.Decoder(Request)
_reply_decoder: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)
_encoder = msgspec.json.Encoder()


class _Addressee(msgspec.Struct, frozen=True):
    """As much of a malformed request as is needed to answer it."""

    id: RequestId
    account: Any = None
    operation: Any = None
    reply_to: Any = None


_addressee_decoder = msgspec.json.Decoder(_Addressee)


class MalformedRequestError(MT5ValidationError):
    """A request that can't be read. `addressee` is set when there is an id to answer to."""

    def __init__(self, message: str, addressee: Request | None) -> None:
        super().__init__(message, request_id=addressee.id if addressee else None)
        self.addressee = addressee


def encode(message: Request | Reply) -> bytes:
    return _encoder.encode(message)


def decode_request(body: bytes) -> Request:
    """Read an entry of the request stream.

    Raises:
        MalformedRequestError: naming the field and the expected form.
    """
    if len(body) > MAX_REQUEST_BYTES:
        raise MalformedRequestError(
            f"request: {len(body)} bytes; at most {MAX_REQUEST_BYTES} are read", None
        )
    try:
        return _request_decoder.decode(body)
    except RecursionError:  # deeply nested JSON, in whatever field
        raise MalformedRequestError("request: it is nested too deeply", None) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedRequestError(f"request: {error}", _addressee(body)) from None


def _addressee(body: bytes) -> Request | None:
    try:
        found = _addressee_decoder.decode(body)
        reply_to = msgspec.convert(found.reply_to, GatewayName | None)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return Request(
        id=found.id,
        account=_text_or_empty(found.account),
        operation=_text_or_empty(found.operation),
        reply_to=reply_to,
    )


def _text_or_empty(value: object) -> str:
    return value[:128] if isinstance(value, str) else ""


def decode_reply(body: bytes | str) -> Reply:
    """Read a reply.

    Raises:
        MT5Error: the reply can't be read, which is a defect or a future wire version.
    """
    try:
        return _reply_decoder.decode(body)
    except msgspec.DecodeError as error:
        raise MT5Error(f"unreadable reply: {error}") from None


def decode_data(operation: Operation, data: msgspec.Raw) -> Any:  # noqa: ANN401 - a type for each operation
    """Read the records of an answer as the operation's own type."""
    return msgspec.json.decode(data, type=OPERATIONS[operation].result)


def error_reply(request: Request, error: MT5Error, now_ms: int) -> ErrorReply:
    """Say on the wire what an exception says in Python."""
    retry_after_ms = None if error.retry_after is None else max(0, round(error.retry_after * 1000))
    return ErrorReply(
        id=request.id,
        account=request.account,
        operation=request.operation,
        error=ReplyError(
            code=error.code,
            message=error.message,
            retryable=error.retryable,
            retry_after_ms=retry_after_ms,
            mt5=error.mt5_error,
            request_id=request.id,
            occurred_at_ms=now_ms,
        ),
    )


def exception_from(reply: ErrorReply) -> MT5Error:
    """Say in Python what an error reply says on the wire."""
    error = reply.error
    return error_for(
        error.code,
        error.message,
        retry_after=None if error.retry_after_ms is None else error.retry_after_ms / 1000,
        mt5_error=error.mt5,
        request_id=reply.id,
    )
