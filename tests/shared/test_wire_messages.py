"""Requests and replies as they cross the wire."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import (
    ERROR_CODES,
    MT5AuthError,
    MT5Error,
    MT5ValidationError,
    error_for,
)
from mt5relay_shared.messages import (
    DEFAULT_TIMEOUT_MS,
    MAX_AGE_MS,
    MAX_REQUEST_BYTES,
    MAX_TIMEOUT_MS,
    ErrorReply,
    MalformedRequestError,
    OkReply,
    Question,
    Request,
    decode_data,
    decode_reply,
    decode_request,
    encode,
    error_reply,
    exception_from,
)
from mt5relay_shared.operations import Operation, RatesArguments

ACCOUNT = "25115284@MetaQuotes-Demo"
REQUEST: dict[str, Any] = {"v": 1, "id": "my-1", "account": ACCOUNT, "operation": "account_info"}
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)


def body(**changes: Any) -> bytes:
    """A request as any client may write it; a field set to ... is left out."""
    fields = {**REQUEST, **changes}
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


def request(**changes: Any) -> Request:
    return decode_request(body(**changes))


def test_the_shortest_legal_request_gets_the_documented_defaults() -> None:
    shortest = request(v=...)
    assert (shortest.timeout_ms, shortest.max_age_ms) == (DEFAULT_TIMEOUT_MS, 0)
    assert (shortest.stale_if_error_ms, shortest.reply_to, shortest.arguments) == (0, None, {})


@given(names, st.integers(1, MAX_TIMEOUT_MS), st.integers(0, MAX_AGE_MS), names | st.none())
def test_a_request_reads_back_as_it_was_written(
    request_id: str, timeout_ms: int, age_ms: int, reply_to: str | None
) -> None:
    sent = Request(
        id=request_id,
        account=ACCOUNT,
        operation="tick",
        arguments={"symbol": "EURUSD"},
        timeout_ms=timeout_ms,
        max_age_ms=age_ms,
        stale_if_error_ms=age_ms,
        reply_to=reply_to,
    )
    assert decode_request(encode(sent)) == sent


def test_unknown_fields_are_ignored_so_that_older_workers_understand_newer_gateways() -> None:
    assert request(priority=7) == request()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("v", 2),
        ("account", ...),
        ("account", 25115284),
        ("operation", ...),
        ("operation", None),
        ("arguments", []),
        ("max_age_ms", -1),
        ("max_age_ms", MAX_AGE_MS + 1),
        ("timeout_ms", 0),
        ("timeout_ms", MAX_TIMEOUT_MS + 1),
        ("timeout_ms", "10000"),
        ("timeout_ms", 1.5),
        ("stale_if_error_ms", -1),
        ("traceparent", "x" * 129),
    ],
)
def test_a_malformed_field_is_named_and_there_is_somebody_to_tell(name: str, wrong: object) -> None:
    with pytest.raises(MalformedRequestError, match=f"^request: .*{name}") as refused:
        decode_request(body(reply_to="gw-1", **{name: wrong}))
    addressee = refused.value.addressee
    assert addressee is not None
    assert (addressee.id, addressee.reply_to) == ("my-1", "gw-1")
    assert refused.value.request_id == "my-1"
    assert refused.value.code == "VALIDATION_FAILED"


@pytest.mark.parametrize(
    "unreadable",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"null",
        body(id=...),
        body(id=""),
        body(id=7),
        body(id="x" * 65),
        body(id="a b"),
        body(id="a:b"),  # it becomes the end of a key
        body(id="my-1\n"),
        body(reply_to="somebody:else", v=2),
        body(arguments={"symbol": "x" * MAX_REQUEST_BYTES}),
    ],
)
def test_where_no_id_can_be_trusted_there_is_nobody_to_tell(unreadable: bytes) -> None:
    with pytest.raises(MalformedRequestError) as refused:
        decode_request(unreadable)
    assert refused.value.addressee is None
    assert refused.value.request_id is None


@given(
    st.binary(max_size=200) | st.from_type(dict[str, int]).map(lambda it: json.dumps(it).encode())
)
def test_whatever_stands_in_the_stream_is_a_request_or_malformed(anything: bytes) -> None:
    with pytest.raises(MalformedRequestError):
        decode_request(anything)


def test_a_question_is_the_same_whoever_asks() -> None:
    rates = {"symbol": "EURUSD", "timeframe": "M5", "count": 10}
    one = request(id="a", operation="rates", arguments=rates, reply_to="gw-1", timeout_ms=1)
    other = request(id="b", operation="rates", arguments=rates, max_age_ms=5)
    expected = Question(
        AccountId(25115284, "MetaQuotes-Demo"), Operation.RATES, RatesArguments("EURUSD", "M5", 10)
    )
    assert one.question() == other.question() == expected


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"account": "nobody"}, "account"),
        ({"operation": "order_send"}, "operation"),
        ({"operation": "tick"}, "arguments of tick"),
    ],
)
def test_a_question_that_makes_no_sense_names_its_field(
    changes: dict[str, str], field: str
) -> None:
    with pytest.raises(MT5ValidationError, match=f"^{field}: "):
        request(**changes).question()


def test_a_retry_through_another_gateway_means_the_same_request() -> None:
    retried = request(reply_to="gw-2", timeout_ms=50, max_age_ms=9, stale_if_error_ms=9)
    assert retried.fingerprint() == request(reply_to="gw-1").fingerprint()


def test_the_order_of_arguments_means_nothing() -> None:
    one = request(operation="deals", arguments={"from_ms": 1, "to_ms": 2})
    other = request(operation="deals", arguments={"to_ms": 2, "from_ms": 1})
    assert one.fingerprint() == other.fingerprint()


@pytest.mark.parametrize(
    "changes",
    [
        {"account": "25115284@Other"},
        {"operation": "positions"},
        {"arguments": {"symbol": "EURUSD"}},
    ],
)
def test_another_question_under_the_same_id_is_another_request(changes: dict[str, Any]) -> None:
    assert request(**changes).fingerprint() != request().fingerprint()


def test_an_answer_reads_back_with_its_data_untouched() -> None:
    sent = OkReply(
        id="my-1",
        account=ACCOUNT,
        operation="positions",
        data=msgspec.Raw(b'[{"ticket":1,"new_field":0.10}]'),
        as_of_ms=5,
        age_ms=7,
        source="snapshot",
        stale=True,
        reason="CIRCUIT_OPEN",
        synchronized="assumed",
    )
    received = decode_reply(encode(sent))
    assert isinstance(received, OkReply)
    assert bytes(received.data) == bytes(sent.data)
    assert msgspec.structs.replace(received, data=sent.data) == sent


def test_a_reply_on_the_wire_has_the_documented_fields() -> None:
    sent = json.loads(encode(error_reply(request(), MT5AuthError("no", mt5_error=(-6, "x")), 5)))
    assert list(sent) == ["status", "v", "id", "account", "operation", "error"]
    assert sent["error"] == {
        "code": "MT5_AUTH_FAILED",
        "message": "no",
        "retryable": False,
        "retry_after_ms": None,
        "mt5": [-6, "x"],
        "request_id": "my-1",
        "occurred_at_ms": 5,
    }


@pytest.mark.parametrize("code", ERROR_CODES)
def test_an_error_means_in_the_client_what_it_meant_in_the_worker(code: str) -> None:
    raised = error_for(code, "why", retry_after=1.25, mt5_error=(-10005, "IPC timeout"))
    reply = decode_reply(encode(error_reply(request(), raised, 0)))
    assert isinstance(reply, ErrorReply)
    received = exception_from(reply)
    assert type(received) is type(raised)
    assert (received.code, received.message) == (code, "why")
    assert (received.retry_after, received.mt5_error) == (1.25, (-10005, "IPC timeout"))
    assert received.request_id == "my-1"


def test_a_pause_that_is_over_is_not_negative_on_the_wire() -> None:
    error = error_for("CIRCUIT_OPEN", "down", retry_after=-3.0)
    assert error_reply(request(), error, 0).error.retry_after_ms == 0


@pytest.mark.parametrize("unreadable", [b"", b"{}", b"\xff", b'{"status":"maybe","id":"x"}'])
def test_a_reply_that_cannot_be_read_is_an_error_not_an_answer(unreadable: bytes) -> None:
    with pytest.raises(MT5Error, match=r"^unreadable reply: "):
        decode_reply(unreadable)


def test_no_positions_is_an_empty_list_of_positions() -> None:
    assert decode_data(Operation.POSITIONS, msgspec.Raw(b"[]")) == []


@pytest.mark.parametrize("field", ["arguments", "somebody_elses_field", "id"])
def test_deeply_nested_json_is_malformed_and_stops_nobody(field: str) -> None:
    body = b'{"id":"r","account":"1@D","operation":"orders","%s":%s%s}' % (
        field.encode(),
        b"[" * 3000,
        b"]" * 3000,
    )
    with pytest.raises(MalformedRequestError):
        decode_request(body)
