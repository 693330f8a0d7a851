"""What goes over HTTP as JSON, in types; the OpenAPI description is made from them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, cast

import msgspec

from mt5relay_gateway.answers import AccountSnapshot, Answer
from mt5relay_gateway.http.problems import Problem
from mt5relay_shared.messages import MAX_TIMEOUT_MS, Source, Synchronized
from mt5relay_shared.operations import OPERATIONS, Arguments, Operation
from mt5relay_shared.records import AccountInfo, TradeOrder, TradePosition
from mt5relay_shared.secret import Secret

MAX_SAFE_INTEGER = 2**53 - 1  # JavaScript's; its JSON.parse rounds larger ones without a word
MAX_BATCH = 1_000  # accounts in one call

# As broker servers are called; the few with other letters are taken too.
ACCOUNT_PATTERN = r"^[1-9][0-9]{0,17}@[!-?A-~]([ -?A-~]{0,61}[!-?A-~])?$"

T = TypeVar("T")

AccountText = Annotated[
    str,
    msgspec.Meta(
        description="LOGIN@SERVER, e.g. 25115284@MetaQuotes-Demo",
        extra_json_schema={"pattern": ACCOUNT_PATTERN, "examples": ["25115284@MetaQuotes-Demo"]},
    ),
]
TimeoutMs = Annotated[
    int,
    msgspec.Meta(ge=1_000, le=MAX_TIMEOUT_MS, description="how long the answer may take"),
]


class AnswerBody(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """The data of one account, with its age and origin.

    `as_of` is when the terminal's read began. `source` is `snapshot` where a stored read answered,
    and `stale` where it stands in for an answer that could not be had, for the `reason` given.
    `server_utc_offset` is how many seconds the broker server's clock is ahead of UTC, null where
    that is not known: times inside `data` are that clock's, dressed as UTC.
    """

    account: str
    operation: Operation
    as_of: datetime
    age_ms: int
    source: Source
    stale: bool
    reason: str | None
    synchronized: Synchronized
    server_utc_offset: int | None
    request_id: str
    data: T


class SnapshotBody(msgspec.Struct, frozen=True, kw_only=True):
    """The last good full read of an account, however old."""

    account: str
    as_of: datetime
    age_ms: int
    synchronized: Synchronized
    account_info: AccountInfo
    positions: list[TradePosition]
    orders: list[TradeOrder]


class BatchBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same look-up for many accounts. Each is asked once, however often it is named."""

    accounts: Annotated[list[AccountText], msgspec.Meta(min_length=1, max_length=MAX_BATCH)]


class BatchLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the answer to a batch: `answer` or `problem`."""

    account: str
    status: Literal["ok", "error"]
    answer: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    problem: Problem | msgspec.UnsetType = msgspec.UNSET


class Webhook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the answer is sent to; see MT5_WEBHOOK_ORIGINS."""

    url: Annotated[str, msgspec.Meta(min_length=1, max_length=2_000, pattern="^https?://")]


class SubmitBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A look-up whose answer is collected later."""

    account: AccountText
    timeout_ms: TimeoutMs | None = None
    webhook: Webhook | None = None


class RequestState(msgspec.Struct, frozen=True, kw_only=True):
    """A request that was accepted and is not answered yet."""

    request_id: str
    status: Literal["pending"]
    location: str


class CredentialBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A password of the account: the investor's is enough. Sealed at once; never shown again."""

    password: Secret


def _for_operations(base: type[msgspec.Struct], suffix: str) -> tuple[Any, ...]:
    """A struct for each operation, told apart by the field `operation`."""
    return tuple(
        msgspec.defstruct(
            f"{''.join(word.title() for word in operation.split('_'))}{suffix}",
            [_arguments_field(spec.arguments)],
            bases=(base,),
            tag_field="operation",
            tag=operation.value,
            frozen=True,
            kw_only=True,
            forbid_unknown_fields=True,
        )
        for operation, spec in OPERATIONS.items()
    )


def _arguments_field(arguments: type[Arguments]) -> Any:  # noqa: ANN401 - as defstruct takes it
    if arguments is Arguments:
        return ("arguments", arguments, msgspec.field(default=Arguments()))
    return ("arguments", arguments)


SUBMIT_BODIES = _for_operations(SubmitBody, "Request")
BATCH_BODIES = _for_operations(BatchBody, "Batch")
SUBMIT_TYPE: Any = Union[SUBMIT_BODIES]  # noqa: UP007 - made at run time
BATCH_TYPE: Any = Union[BATCH_BODIES]  # noqa: UP007


def operation_of(body: msgspec.Struct) -> Operation:
    """Which operation a body made above asks for."""
    return Operation(str(body.__struct_config__.tag))


def arguments_of(body: msgspec.Struct) -> Arguments:
    found: Arguments = getattr(body, "arguments")  # noqa: B009 - made at run time
    return found


def secret_from(kind: type, value: object) -> Secret:
    """Let msgspec read a `Secret`, the only type of its own here."""
    if not isinstance(value, str):
        raise TypeError("Expected `str`")
    return Secret(value)


def encoded(value: object, *, integers_as_text: bool) -> bytes:
    """As JSON; integers that JavaScript would round become texts where that is asked for."""
    if integers_as_text:
        value = _safe_integers(msgspec.to_builtins(value))
    return msgspec.json.encode(value)


def _safe_integers(node: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(node, dict):
        return {name: _safe_integers(one) for name, one in cast(dict[str, Any], node).items()}
    if isinstance(node, list):
        return [_safe_integers(one) for one in cast(Any, node)]
    if isinstance(node, int) and abs(node) > MAX_SAFE_INTEGER:
        return str(node)
    return node


def answer_json(answer: Answer[Any], data: bytes) -> bytes:
    """An answer whose data is JSON already."""
    offset = answer.server_utc_offset
    return msgspec.json.encode(
        AnswerBody(
            account=str(answer.account),
            operation=answer.operation,
            as_of=answer.as_of,
            age_ms=round(answer.age * 1000),
            source=answer.source,
            stale=answer.stale,
            reason=answer.reason,
            synchronized=answer.synchronized,
            server_utc_offset=None if offset is None else round(offset.total_seconds()),
            request_id=answer.request_id,
            data=msgspec.Raw(data),
        )
    )


def snapshot_body(snapshot: AccountSnapshot) -> SnapshotBody:
    return SnapshotBody(
        account=str(snapshot.account),
        as_of=snapshot.as_of,
        age_ms=round(snapshot.age * 1000),
        synchronized=snapshot.synchronized,
        account_info=snapshot.account_info,
        positions=snapshot.positions,
        orders=snapshot.orders,
    )
