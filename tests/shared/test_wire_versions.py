"""What two sides of different releases understand of each other."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt5relay_shared.errors import MT5Error, MT5StateError, error_for
from mt5relay_shared.health import (
    BreakerState,
    ConnectionState,
    Health,
    Status,
    decode_health,
    encode_health,
)
from mt5relay_shared.messages import (
    ErrorReply,
    MalformedRequestError,
    decode_reply,
    decode_request,
    exception_from,
)
from mt5relay_shared.operator import Event
from mt5relay_shared.wire_versions import (
    READS,
    common_version,
    parse_versions,
    speak_with,
    spelled,
)

versions = st.frozensets(st.integers(1, 20), min_size=1, max_size=5)

HEALTH = {
    "status": "ok",
    "state": "CONNECTED",
    "breaker": "CLOSED",
    "worker_id": "w",
    "version": "9",
    **dict.fromkeys(
        ("state_since_ms", "fence", "started_at_ms", "heartbeat_at_ms", "pool_limit"), "1"
    ),
}


@given(versions, versions)
def test_two_sides_speak_the_highest_version_that_both_know(
    mine: frozenset[int], theirs: frozenset[int]
) -> None:
    spoken = common_version(mine, theirs)
    assert spoken == common_version(theirs, mine)
    if spoken is None:
        assert not mine & theirs
    else:
        assert spoken == max(mine & theirs)


@given(versions)
def test_what_a_worker_publishes_a_client_reads(published: frozenset[int]) -> None:
    assert parse_versions(spelled(published)) == published


@pytest.mark.parametrize("text", [None, "", "  ", "one", "0", "-1", "1.5", "9" * 300])
def test_a_worker_that_says_nothing_readable_reads_version_1(text: str | None) -> None:
    assert parse_versions(text) == {1}


def test_words_of_a_later_spelling_are_passed_over() -> None:
    assert parse_versions("1 2 3-draft x") == {1, 2}


@pytest.mark.parametrize(
    ("theirs", "mine", "remedy"),
    [
        ("1", (2, 3), "the worker reads 1, this client speaks 2 3: upgrade the worker first"),
        ("", (2,), "the worker reads 1, this client speaks 2: upgrade the worker first"),
        ("2 3", (1,), "the worker reads 2 3, this client speaks 1: upgrade this client first"),
    ],
)
def test_where_none_is_common_it_is_said_who_must_be_upgraded(
    theirs: str, mine: tuple[int, ...], remedy: str
) -> None:
    with pytest.raises(MT5StateError, match=remedy):
        speak_with({"worker_id": "w", "wire_versions": theirs}, mine)


def test_without_a_worker_there_is_no_version_to_complain_of() -> None:
    assert speak_with({"worker_id": None, "wire_versions": None}, (2, 3)) == 3


@pytest.mark.parametrize(
    ("version", "who"), [(max(READS) + 1, "this worker"), (999_999, "this worker"), (0, "client")]
)
def test_a_request_of_another_version_says_so_and_who_is_to_be_upgraded(
    version: int, who: str
) -> None:
    body = {"v": version, "id": "r1", "account": {"login": 1}, "what": "new", "reply_to": "gw-1"}
    with pytest.raises(MalformedRequestError, match=f"v: {version} .*reads 1; upgrade .*{who}"):
        decode_request(json.dumps(body).encode())


def test_a_request_of_another_version_is_answered_where_version_1_has_its_id() -> None:
    body = {"v": 2, "id": "r1", "account": {"login": 1}, "reply_to": "gw-1"}
    with pytest.raises(MalformedRequestError) as refused:
        decode_request(json.dumps(body).encode())
    addressee = refused.value.addressee
    assert addressee is not None
    assert (addressee.v, addressee.id, addressee.reply_to) == (1, "r1", "gw-1")
    assert refused.value.code == "VALIDATION_FAILED"


@pytest.mark.parametrize("version", ["7" * 5000, "-5", '"2"', "2.0", "true", "null", "[2]"])
def test_what_is_no_version_is_malformed_like_any_field(version: str) -> None:
    with pytest.raises(MalformedRequestError) as refused:
        decode_request(b'{"v":%s,"id":"r1","account":"1@X"}' % version.encode())
    assert len(str(refused.value)) < 200


REPLY: dict[str, Any] = {
    "status": "error",
    "v": 2,
    "id": "r1",
    "account": "1@X",
    "operation": "tick",
    "new": [1],
    "error": {
        "code": "MARKET_CLOSED",
        "message": "not now",
        "retryable": True,
        "new": {},
        "request_id": "r1",
        "occurred_at_ms": 5,
    },
}


def test_an_error_code_of_a_newer_worker_is_an_error_that_names_it() -> None:
    reply = decode_reply(json.dumps(REPLY).encode())
    assert isinstance(reply, ErrorReply)
    error = exception_from(reply)
    assert type(error) is MT5Error
    assert (error.code, error.retryable, error.request_id) == ("INTERNAL", False, "r1")
    assert error.message == "not now (MARKET_CLOSED, which this version does not know)"


def test_a_code_that_is_no_code_is_not_quoted_at_length() -> None:
    assert len(error_for("X" * 10_000, "why").message) < 200


def test_words_and_fields_of_a_newer_worker_do_not_hide_its_health() -> None:
    newer = {"state": "DRAINING", "breaker": "FORCED_OPEN", "mood": "good", "wire_versions": "1 2"}
    health = decode_health({**HEALTH, **newer})
    assert health is not None
    assert (health.state, health.breaker) == ("DRAINING", "FORCED_OPEN")
    assert health.state not in list(ConnectionState)
    assert health.breaker not in list(BreakerState)
    assert encode_health(health)["state"] == "DRAINING"
    assert json.loads(msgspec.json.encode(health))["breaker"] == "FORCED_OPEN"


def test_a_status_of_a_newer_worker_is_neither_good_nor_down() -> None:
    health = decode_health({**HEALTH, "status": "upgrading"})
    assert health is not None
    assert health.status is Status.DEGRADED


@pytest.mark.parametrize("word", ["", "two words", "x" * 33, "line\n", "é", "1", "<b>"])
def test_what_is_no_word_is_no_state(word: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        ConnectionState(word)
    with pytest.raises(msgspec.ValidationError):
        decode_health({**HEALTH, "breaker": word or " "})


def test_the_health_of_the_first_release_is_read() -> None:
    health = decode_health(HEALTH)
    assert isinstance(health, Health)
    assert health.wire_versions is None


def test_fields_of_a_newer_event_are_ignored_and_its_kind_is_a_text() -> None:
    body = b'{"at_ms":1,"kind":"fleet","from":"a","to":"b","new":{"x":1}}'
    event = msgspec.json.decode(body, type=Event)
    assert (event.kind, event.source, event.target) == ("fleet", "a", "b")
