"""Requests, replies and snapshots: what a worker and its clients read of each other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from random import Random
from typing import Any

import msgspec
from tests.fuzz.mutating import hostile_json, hostile_text
from tests.fuzz.target import ALICE, BOB, NOW_MS, Target, check_said

from mt5relay_gateway.answers import account_snapshot, answer_from, collected_answer
from mt5relay_gateway.testing import a_position, an_account_info
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5DataError, MT5Error, MT5ValidationError
from mt5relay_shared.keys import Keys
from mt5relay_shared.messages import (
    MAX_REQUEST_BYTES,
    MAX_WORD,
    ErrorReply,
    MalformedRequestError,
    OkReply,
    Question,
    Reply,
    ReplyError,
    Request,
    decode_reply,
    decode_request,
    encode,
    error_reply,
)
from mt5relay_shared.operations import Arguments, Operation
from mt5relay_shared.snapshots import decode_snapshot, snapshot_reply

# Requests


def _request(**fields: Any) -> bytes:
    return encode(Request(id="my-1", account=str(ALICE), **fields))


REQUESTS = (
    _request(operation="account_info"),
    _request(operation="tick", arguments={"symbol": "EURUSD"}, reply_to="gw-1", max_age_ms=5),
    _request(operation="rates", arguments={"symbol": "EURUSD", "timeframe": "M5", "count": 10}),
    _request(operation="deals", arguments={"from_ms": 1, "to_ms": 2}, traceparent="00-ab-cd-01"),
)
_SAYS_WHERE = re.compile(
    r"`\$\.|field `|`object`|\(byte \d+\)|truncated|nested too deeply|UTF-8|bytes; at most"
    r"|^request: v: "
)
_COMPLAINTS = ("account: ", "login: ", "server: ", "operation: ", "arguments of ")


def check_request(body: bytes) -> None:
    """A request, or an error that names what is wrong and whom to tell."""
    try:
        request = decode_request(body)
    except MalformedRequestError as error:
        _check_malformed(error)
        return
    assert len(body) <= MAX_REQUEST_BYTES
    assert decode_request(encode(request)) == request
    assert len(request.fingerprint()) == 32
    assert max(len(request.account), len(request.operation)) <= MAX_WORD
    try:
        question = request.question()
    except MT5ValidationError as error:
        check_said(error, *_COMPLAINTS)
        check_reply(encode(error_reply(request, error, NOW_MS)))
        return
    assert AccountId.parse(str(question.account)) == question.account
    assert hash(question) == hash(decode_request(encode(request)).question())


def _check_malformed(error: MalformedRequestError) -> None:
    check_said(error, "request: ")
    assert error.code == "VALIDATION_FAILED"
    assert _SAYS_WHERE.search(error.message), error.message
    if error.addressee is not None:
        reply = encode(error_reply(error.addressee, error, NOW_MS))
        assert decode_reply(reply).id == error.addressee.id == error.request_id
        keys = Keys("main")
        assert keys.reply(error.addressee.id).isprintable()
        assert keys.replies(error.addressee.reply_to or "").count(":") == 3


# Replies and snapshots


def _ok(account: AccountId, operation: str, data: object) -> bytes:
    return encode(
        OkReply(
            id="my-1",
            account=str(account),
            operation=operation,
            data=msgspec.Raw(msgspec.json.encode(data)),
            as_of_ms=NOW_MS,
            age_ms=12,
            source="terminal",
            synchronized="confirmed",
            server_utc_offset=10_800,
        )
    )


ALICES_INFO = an_account_info(login=ALICE.login, server=ALICE.server)
FAILED = ReplyError(
    code="MT5_AUTH_FAILED",
    message="no",
    retryable=False,
    retry_after_ms=4_000,
    mt5=None,
    occurred_at_ms=NOW_MS,
)
REPLIES = (
    _ok(ALICE, "account_info", ALICES_INFO),
    _ok(ALICE, "positions", [a_position()]),
    _ok(BOB, "account_info", an_account_info(login=BOB.login, server=BOB.server)),
    encode(ErrorReply(id="my-1", account=str(ALICE), operation="tick", error=FAILED)),
)


def check_reply(body: bytes) -> None:
    """An answer to what was asked, or an error of the one family; never another account's data."""
    try:
        reply = decode_reply(body)
    except MT5Error as error:
        check_said(error, "unreadable reply: ")
        return
    try:
        answer = collected_answer(reply)
    except MT5Error as error:
        check_said(error)
    else:
        assert answer.as_of.tzinfo is UTC
        assert answer.age >= 0
        assert answer.utc(answer.as_of.timestamp()) is None or answer.server_utc_offset is not None
    for operation in (Operation.ACCOUNT_INFO, Operation.POSITIONS):
        _check_asked(reply, Question(ALICE, operation, Arguments()))


def _check_asked(reply: Reply, question: Question) -> None:
    try:
        answer = answer_from(reply, question)
    except MT5Error as error:
        check_said(error)
        return
    assert (reply.account, reply.operation) == (str(ALICE), question.operation)
    if question.operation is Operation.ACCOUNT_INFO:
        assert (answer.data.login, answer.data.server) == (ALICE.login, ALICE.server)


SNAPSHOTS = (
    msgspec.json.encode(
        {"account_info": ALICES_INFO, "positions": [a_position()], "orders": []},
    ),
    msgspec.json.encode({"account_info": ALICES_INFO, "positions": [], "orders": []}),
)


def make_snapshot(random: Random) -> Mapping[str, bytes | None]:
    as_of = hostile_text(random, (str(NOW_MS), "0", "-1", "9" * 400)).encode()
    return {"data": hostile_json(random, SNAPSHOTS), "as_of": as_of, "synchronized": b"confirmed"}


def check_snapshot(fields: Mapping[str, bytes | None]) -> None:
    """None, or the account's own, which can be read, replied with, and told the age of."""
    snapshot = decode_snapshot(ALICE, fields)
    if snapshot is None:
        return
    assert snapshot.account == ALICE
    assert decode_snapshot(BOB, fields) is None
    for operation in (Operation.ACCOUNT_INFO, Operation.POSITIONS, Operation.ORDERS):
        request = decode_request(_request(operation=operation.value))
        check_reply(encode(snapshot_reply(request, operation, snapshot, NOW_MS)))
    try:
        read = account_snapshot(snapshot, NOW_MS)
    except MT5DataError as error:
        check_said(error)
    else:
        assert (read.account_info.login, read.account_info.server) == (ALICE.login, ALICE.server)


TARGETS = (
    Target("request", lambda random: hostile_json(random, REQUESTS), check_request),
    Target("reply", lambda random: hostile_json(random, REPLIES), check_reply),
    Target("snapshot", make_snapshot, check_snapshot),
)
