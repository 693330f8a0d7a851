"""What a caller gets back: the data, and everything that says how far to trust it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.decoding import UnreadableError, readable
from mt5relay_shared.errors import MT5DataError, MT5ValidationError
from mt5relay_shared.messages import (
    OkReply,
    Question,
    Reply,
    Source,
    Synchronized,
    decode_data,
    exception_from,
)
from mt5relay_shared.operations import Arguments, Operation, parse_operation
from mt5relay_shared.records import AccountInfo, TradeOrder, TradePosition
from mt5relay_shared.snapshots import Snapshot

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """The data of one account, checked to be that account's, with its age and origin.

    Attributes:
        as_of: when the terminal's read began, in UTC by the clock of the Redis server.
        age: seconds from `as_of` to the moment of the reply.
        source: `terminal`, or `snapshot` where a stored read answered.
        stale: the snapshot stands in for an answer that could not be had.
        reason: the error code that made a stale snapshot the best answer.
        synchronized: whether the terminal was seen to have finished loading the account.
        server_utc_offset: how far the broker server's clock is ahead of UTC; None where that is
            not known, as in a stored read.
    """

    data: T
    account: AccountId
    operation: Operation
    as_of: datetime
    age: float
    source: Source
    stale: bool
    reason: str | None
    synchronized: Synchronized
    request_id: str
    server_utc_offset: timedelta | None = None

    def utc(self, broker_seconds: float) -> datetime | None:
        """A time in `data`, which is the broker server's clock dressed as UTC, as true UTC.

        None where the server's offset is not known.
        """
        if self.server_utc_offset is None:
            return None
        return utc_from_ms(round(broker_seconds * 1000)) - self.server_utc_offset


@dataclass(frozen=True, slots=True)
class AccountSnapshot:
    """The last good full read of an account. `age` in seconds, `as_of` in UTC."""

    account: AccountId
    account_info: AccountInfo
    positions: list[TradePosition]
    orders: list[TradeOrder]
    as_of: datetime
    age: float
    synchronized: Synchronized


def answer_from(reply: Reply, question: Question) -> Answer[Any]:
    """Turn the reply to a question into its answer.

    Raises:
        MT5DataError: the reply belongs to another account or operation, or can't be read.
        MT5Error: the error that the reply carries.
    """
    _check_addressee(reply, question)
    if not isinstance(reply, OkReply):
        raise exception_from(reply)
    return Answer(
        data=_checked_data(reply, question),
        account=question.account,
        operation=question.operation,
        as_of=utc_from_ms(reply.as_of_ms),
        age=reply.age_ms / 1000,
        source=reply.source,
        stale=reply.stale,
        reason=reply.reason,
        synchronized=reply.synchronized,
        request_id=reply.id,
        server_utc_offset=(
            None if reply.server_utc_offset is None else timedelta(seconds=reply.server_utc_offset)
        ),
    )


def collected_answer(reply: Reply) -> Answer[Any]:
    """Turn a reply into an answer where only the reply itself says what was asked.

    Raises as `answer_from` does.
    """
    if not isinstance(reply, OkReply):
        raise exception_from(reply)
    try:
        question = Question(
            AccountId.parse(reply.account), parse_operation(reply.operation), Arguments()
        )
    except MT5ValidationError as error:
        raise MT5DataError(f"the reply names no question: {error}", request_id=reply.id) from None
    return answer_from(reply, question)


def _check_addressee(reply: Reply, question: Question) -> None:
    asked = (str(question.account), question.operation.value)
    if (reply.account, reply.operation) != asked:
        raise MT5DataError(
            f"the reply is {readable(reply.operation, 80)} of {readable(reply.account, 80)},"
            f" asked was {asked[1]} of {asked[0]}; it was discarded",
            request_id=reply.id,
        )


def _checked_data(reply: OkReply, question: Question) -> Any:  # noqa: ANN401 - a type for each operation
    try:
        data = decode_data(question.operation, reply.data)
    except UnreadableError as error:
        raise MT5DataError(
            f"{question.operation} of {question.account}: unreadable data: {error}",
            request_id=reply.id,
        ) from None
    if isinstance(data, AccountInfo):
        _check_owner(data, question.account, reply.id)
    return data


def _check_owner(info: AccountInfo, account: AccountId, request_id: str) -> None:
    if (info.login, info.server) != (account.login, account.server):
        raise MT5DataError(
            f"the data is of {readable(f'{info.login}@{info.server}', 80)}, asked was {account}"
            "; it was discarded",
            request_id=request_id,
        )


def account_snapshot(snapshot: Snapshot, now_ms: int) -> AccountSnapshot:
    """Read a stored snapshot as records.

    Raises:
        MT5DataError: it can't be read.
    """
    parts = snapshot.data
    try:
        return AccountSnapshot(
            account=snapshot.account,
            account_info=decode_data(Operation.ACCOUNT_INFO, parts.account_info),
            positions=decode_data(Operation.POSITIONS, parts.positions),
            orders=decode_data(Operation.ORDERS, parts.orders),
            as_of=utc_from_ms(snapshot.as_of_ms),
            age=snapshot.age_ms(now_ms) / 1000,
            synchronized=snapshot.synchronized,
        )
    except UnreadableError as error:
        raise MT5DataError(f"snapshot of {snapshot.account}: unreadable: {error}") from None


def utc_from_ms(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)
