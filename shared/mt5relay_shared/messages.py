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
from mt5relay_shared.decoding import (
    TimeMs,
    UnreadableError,
    complaint,
    read_json,
    read_with,
    readable,
)
from mt5relay_shared.errors import Mt5Code, MT5Error, MT5ValidationError, error_for
from mt5relay_shared.operations import (
    OPERATIONS,
    Arguments,
    Operation,
    parse_arguments,
    parse_operation,
)
from mt5relay_shared.wire_versions import READS, spelled

DEFAULT_TIMEOUT_MS = 10_000
MAX_TIMEOUT_MS = 3_600_000
MAX_AGE_MS = 7 * 24 * 3_600_000
MAX_REQUEST_BYTES = 16_384
MAX_REPLY_BYTES = 64 * 1024 * 1024  # above what a terminal process may send for a whole visit
MAX_WORD = 128  # characters of account or operation; the longest of either has 83
MAX_TRACEPARENT = 128
MAX_MESSAGE = 900  # characters of an error's message; what is longer is cut off
MAX_UTC_OFFSET = 86_400  # seconds

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]*\Z"  # the end of a key; `$` would let a line end in

RequestId = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN, max_length=64)]
GatewayName = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN, max_length=64)]
AgeMs = Annotated[int, msgspec.Meta(ge=0, le=MAX_AGE_MS)]
Word = Annotated[str, msgspec.Meta(max_length=MAX_WORD)]
UtcOffset = Annotated[int, msgspec.Meta(ge=-MAX_UTC_OFFSET, le=MAX_UTC_OFFSET)]

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
    account: Word
    operation: Word
    arguments: dict[str, Any] = {}
    max_age_ms: AgeMs = 0
    timeout_ms: Annotated[int, msgspec.Meta(ge=1, le=MAX_TIMEOUT_MS)] = DEFAULT_TIMEOUT_MS
    stale_if_error_ms: AgeMs = 0
    reply_to: GatewayName | None = None
    traceparent: Annotated[str, msgspec.Meta(max_length=MAX_TRACEPARENT)] | None = None

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
    retry_after_ms: TimeMs | None = None
    mt5: Mt5Code | None = None
    request_id: str | None = None
    occurred_at_ms: TimeMs


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
    as_of_ms: TimeMs
    age_ms: TimeMs
    source: Source
    stale: bool = False
    reason: str | None = None
    synchronized: Synchronized
    server_utc_offset: UtcOffset | None = None


class ErrorReply(_Reply, frozen=True, kw_only=True, tag="error"):
    """A failure, final for this request."""

    error: ReplyError


Reply = OkReply | ErrorReply

_request_decoder = msgspec.json.Decoder(Request)
_reply_decoder: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)
_encoder = msgspec.json.Encoder()


class _Outline(msgspec.Struct, frozen=True):
    """As much of a malformed request as is needed to answer it: in every version of the contract it
    stands where it stands in version 1."""

    v: Any = None
    id: Any = None
    account: Any = None
    operation: Any = None
    reply_to: Any = None


_outline_decoder = msgspec.json.Decoder(_Outline)


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
        outline = _outline(body)
        why = _version_complaint(outline.v) or complaint(error)
        raise MalformedRequestError(f"request: {why}", _addressee(outline)) from None


def _outline(body: bytes) -> _Outline:
    try:
        return _outline_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Outline()


def _version_complaint(version: object) -> str | None:
    """Why a request of another version is not read; None where the version is not the reason."""
    if type(version) is not int or version in READS or not 0 <= version < 1_000_000:
        return None
    older = "this worker" if version > max(READS) else "the client"
    return f"v: {version} is not read by this worker, which reads {spelled(READS)}; upgrade {older}"


def _addressee(found: _Outline) -> Request | None:
    try:
        request_id = msgspec.convert(found.id, RequestId)
        reply_to = msgspec.convert(found.reply_to, GatewayName | None)
    except msgspec.ValidationError:
        return None
    return Request(
        id=request_id,
        account=_text_or_empty(found.account),
        operation=_text_or_empty(found.operation),
        reply_to=reply_to,
    )


def _text_or_empty(value: object) -> str:
    return value[:MAX_WORD] if isinstance(value, str) else ""


def decode_reply(body: bytes | str) -> Reply:
    """Read a reply.

    Raises:
        MT5Error: the reply can't be read, which is a defect or a future wire version.
    """
    if len(body) > MAX_REPLY_BYTES:
        raise MT5Error(f"unreadable reply: {len(body)} bytes; at most {MAX_REPLY_BYTES} are read")
    try:
        return read_with(_reply_decoder, body)
    except UnreadableError as error:
        raise MT5Error(f"unreadable reply: {error}") from None


def decode_data(operation: Operation, data: msgspec.Raw) -> Any:  # noqa: ANN401 - a type for each operation
    """Read the records of an answer as the operation's own type.

    Raises:
        UnreadableError: they are not of that type.
    """
    return read_json(data, OPERATIONS[operation].result)


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
        readable(error.code, MAX_WORD),
        readable(error.message, MAX_MESSAGE) or "the worker gave no reason",
        retry_after=None if error.retry_after_ms is None else error.retry_after_ms / 1000,
        mt5_error=None if error.mt5 is None else (error.mt5.code, readable(error.mt5.text, 80)),
        request_id=reply.id,
    )
