"""The connection state: which changes there are, and who hears of them."""

from __future__ import annotations

import pytest

from mt5relay_shared.health import ConnectionState
from mt5relay_worker.state import (
    TRANSITIONS,
    ConnectionStatus,
    Detail,
    ImpossibleTransitionError,
    Transition,
)

S = ConnectionState

# The shortest way from the start to each state.
WAYS = {
    S.DISCONNECTED: [],
    S.CONNECTED: [S.CONNECTED],
    S.RECONNECTING: [S.RECONNECTING],
    S.ERROR: [S.RECONNECTING, S.ERROR],
}
ALLOWED = {
    (S.DISCONNECTED, S.CONNECTED),
    (S.DISCONNECTED, S.RECONNECTING),
    (S.CONNECTED, S.DISCONNECTED),
    (S.CONNECTED, S.RECONNECTING),
    (S.RECONNECTING, S.CONNECTED),
    (S.RECONNECTING, S.ERROR),
    (S.RECONNECTING, S.DISCONNECTED),
    (S.ERROR, S.RECONNECTING),
    (S.ERROR, S.DISCONNECTED),
}
MOVES = [(source, target) for source in S for target in S if source is not target]


def status_in(state: ConnectionState) -> tuple[ConnectionStatus, list[Transition]]:
    heard: list[Transition] = []
    status = ConnectionStatus(0.0, heard.append)
    for step in WAYS[state]:
        status.move(step, Detail.IDLE, "on the way", 0.0)
    heard.clear()
    return status, heard


def test_the_table_is_the_documented_one() -> None:
    table = {(source, target) for source, targets in TRANSITIONS.items() for target in targets}
    assert table == ALLOWED


def test_a_worker_starts_disconnected() -> None:
    status, _ = status_in(S.DISCONNECTED)
    assert (status.state, status.detail, status.since) == (S.DISCONNECTED, Detail.STOPPED, 0.0)
    assert status.current_account is None


@pytest.mark.parametrize(("source", "target"), [move for move in MOVES if move in ALLOWED])
def test_an_allowed_change_is_heard_once_with_its_cause(
    source: ConnectionState, target: ConnectionState
) -> None:
    status, heard = status_in(source)
    status.move(target, Detail.READING, "because", 5.0)
    assert heard == [Transition(source, target, Detail.READING, "because", 5.0)]
    assert (status.state, status.detail) == (target, Detail.READING)
    assert (status.cause, status.since) == ("because", 5.0)


@pytest.mark.parametrize(("source", "target"), [move for move in MOVES if move not in ALLOWED])
def test_any_other_change_is_a_defect_and_changes_nothing(
    source: ConnectionState, target: ConnectionState
) -> None:
    status, heard = status_in(source)
    before = repr(status)
    with pytest.raises(ImpossibleTransitionError, match=f"{source} -> {target}: because"):
        status.move(target, Detail.WEDGED, "because", 5.0)
    assert heard == []
    assert repr(status) == before


@pytest.mark.parametrize("state", S)
def test_staying_changes_only_the_detail_and_nobody_hears_of_it(state: ConnectionState) -> None:
    status, heard = status_in(state)
    cause, since = status.cause, status.since
    status.move(state, Detail.PROBING, "again", 9.0)
    assert heard == []
    assert (status.detail, status.cause, status.since) == (Detail.PROBING, cause, since)


def test_being_busy_is_no_change_of_state() -> None:
    status, heard = status_in(S.CONNECTED)
    status.busy_with(Detail.SWITCHING)
    assert (status.state, status.detail, heard) == (S.CONNECTED, Detail.SWITCHING, [])


def test_its_repr_tells_state_detail_and_cause() -> None:
    status, _ = status_in(S.ERROR)
    assert repr(status) == "<ConnectionStatus ERROR (idle): on the way>"
