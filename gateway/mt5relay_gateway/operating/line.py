"""Reads who waits, in the order of their turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mt5relay_gateway.batch import CommandBatch
from mt5relay_shared.decoding import LATEST_MS, complaint, read_json
from mt5relay_shared.errors import MT5DataError
from mt5relay_shared.keys import Keys
from mt5relay_shared.messages import MalformedRequestError, Request, decode_request
from mt5relay_shared.operator import Turn


class AccountInLine(msgspec.Struct, frozen=True):
    """An account that somebody waits for; times in ms of Redis server time."""

    account: str
    waiting: int
    since_ms: int
    by_ms: int


class RequestInLine(msgspec.Struct, frozen=True):
    """A request that waits. `by_ms` is when it will be answered at the latest: at its account's
    turn, or at its deadline; None where the worker has not read it yet."""

    request_id: str
    account: str
    operation: str
    gateway: str | None
    since_ms: int
    by_ms: int | None
    deadline_ms: int


async def read_line(redis: CommandBatch, keys: Keys) -> list[AccountInLine]:
    """The accounts that somebody waits for, as the worker last said, next turn first.

    Raises:
        MT5DataError: a worker of another version wrote what can't be read here.
    """
    fields: Mapping[bytes, bytes] = await redis.call("HGETALL", keys.queue)
    try:
        turns = {account.decode(): read_json(turn, Turn) for account, turn in fields.items()}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MT5DataError(f"queue of {keys.terminal}: unreadable: {complaint(error)}") from None
    line = [
        AccountInLine(account, turn.waiting, turn.since_ms, turn.by_ms)
        for account, turn in turns.items()
    ]
    return sorted(line, key=lambda one: one.by_ms)


def requests_in_line(
    entries: Sequence[Any], accounts: Sequence[AccountInLine]
) -> list[RequestInLine]:
    """The readable ones among the stream's entries, oldest first."""
    turns = {one.account: one.by_ms for one in accounts}
    return [
        _request_in_line(int(entry.partition(b"-")[0]), request, turns)
        for entry, fields in entries
        if (request := _readable(fields)) is not None
    ]


def _readable(fields: Mapping[bytes, bytes]) -> Request | None:
    try:
        return decode_request(fields.get(b"request", b""))
    except MalformedRequestError:  # the worker will say so to whoever asked
        return None


def _request_in_line(since_ms: int, request: Request, turns: Mapping[str, int]) -> RequestInLine:
    since_ms = min(since_ms, LATEST_MS - request.timeout_ms)  # who adds an entry may choose its id
    deadline_ms = since_ms + request.timeout_ms
    turn_ms = turns.get(request.account)
    return RequestInLine(
        request_id=request.id,
        account=request.account,
        operation=request.operation,
        gateway=request.reply_to,
        since_ms=since_ms,
        by_ms=None if turn_ms is None else min(turn_ms, deadline_ms),
        deadline_ms=deadline_ms,
    )
