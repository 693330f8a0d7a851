"""When the last good read of an account may answer."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.messages import OkReply, Request
from mt5relay_shared.operations import SNAPSHOT_OPERATIONS, Operation
from mt5relay_shared.snapshots import Snapshot, decode_snapshot, fresh_reply, stale_reply

ACCOUNT = AccountId(7, "Demo")
AS_OF = 1_700_000_000_000
PARTS = {
    "account_info": {"login": 7, "server": "Demo", "balance": 10.5},
    "positions": [{"ticket": 1}],
    "orders": [],
}
ages = st.integers(0, 10**9)


def stored(**parts: object) -> dict[str, bytes | None]:
    data = msgspec.json.encode({**PARTS, **parts})
    return {"data": data, "as_of": str(AS_OF).encode(), "synchronized": b"confirmed"}


def snapshot() -> Snapshot:
    found = decode_snapshot(ACCOUNT, stored())
    assert found is not None
    return found


def asking(*, max_age_ms: int = 0, stale_if_error_ms: int = 0) -> Request:
    return Request(
        id="my-1",
        account=str(ACCOUNT),
        operation="positions",
        max_age_ms=max_age_ms,
        stale_if_error_ms=stale_if_error_ms,
    )


def fresh(request: Request, age_ms: int) -> OkReply | None:
    return fresh_reply(request, Operation.POSITIONS, snapshot(), AS_OF + age_ms)


def stale(request: Request, age_ms: int) -> OkReply | None:
    return stale_reply(request, Operation.POSITIONS, snapshot(), AS_OF + age_ms, "CIRCUIT_OPEN")


@given(ages, ages)
def test_a_snapshot_answers_only_those_who_allow_its_age(age_ms: int, max_age_ms: int) -> None:
    reply = fresh(asking(max_age_ms=max_age_ms), age_ms)
    assert (reply is not None) == (max_age_ms > 0 and age_ms <= max_age_ms)


def test_by_default_nobody_is_answered_from_a_snapshot() -> None:
    assert fresh(asking(), 0) is None
    assert stale(asking(), 1) is None


def test_a_fresh_answer_says_when_it_was_read() -> None:
    reply = fresh(asking(max_age_ms=500), 200)
    assert reply is not None
    assert (reply.source, reply.stale, reply.reason) == ("snapshot", False, None)
    assert (reply.as_of_ms, reply.age_ms, reply.synchronized) == (AS_OF, 200, "confirmed")
    assert (reply.id, reply.account, reply.operation) == ("my-1", "7@Demo", "positions")


@given(ages, ages)
def test_a_stale_answer_is_given_only_as_old_as_allowed(age_ms: int, allowed_ms: int) -> None:
    reply = stale(asking(stale_if_error_ms=allowed_ms), age_ms)
    assert (reply is not None) == (age_ms <= allowed_ms)


def test_a_stale_answer_says_that_it_is_stale_and_why() -> None:
    reply = stale(asking(stale_if_error_ms=60_000), 9_000)
    assert reply is not None
    assert (reply.stale, reply.reason, reply.age_ms) == (True, "CIRCUIT_OPEN", 9_000)
    assert reply.as_of_ms == AS_OF


@pytest.mark.parametrize("operation", SNAPSHOT_OPERATIONS)
def test_each_question_gets_its_own_part(operation: Operation) -> None:
    part = msgspec.json.decode(snapshot().part(operation))
    assert part == PARTS[operation.value]


def test_an_age_is_never_negative() -> None:
    assert snapshot().age_ms(AS_OF - 5) == 0


@pytest.mark.parametrize("missing", ["data", "as_of"])
def test_where_nothing_is_stored_there_is_no_snapshot(missing: str) -> None:
    assert decode_snapshot(ACCOUNT, {}) is None
    assert decode_snapshot(ACCOUNT, {**stored(), missing: None}) is None


@pytest.mark.parametrize("owner", [{"login": 8, "server": "Demo"}, {"login": 7, "server": "Live"}])
def test_a_read_of_another_account_is_never_returned(owner: dict[str, object]) -> None:
    assert decode_snapshot(ACCOUNT, stored(account_info=owner)) is None


@pytest.mark.parametrize("said", [None, b"assumed", b"perhaps"])
def test_synchronization_is_confirmed_only_where_it_was(said: bytes | None) -> None:
    found = decode_snapshot(ACCOUNT, {**stored(), "synchronized": said})
    assert found is not None
    assert found.synchronized == "assumed"
