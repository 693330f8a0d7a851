"""Transitions wait for the next heartbeat, in order, and leave when they are published."""

from __future__ import annotations

from typing import Any

import anyio
import msgspec
import pytest
from structlog.testing import capture_logs

from mt5relay_shared.health import BreakerState, ConnectionState
from mt5relay_worker.breaker import BreakerChange
from mt5relay_worker.event_log import EventLog
from mt5relay_worker.server_clock import ServerClock
from mt5relay_worker.state import Detail, Transition

LOST = Transition(
    ConnectionState.CONNECTED, ConnectionState.RECONNECTING, Detail.STARTING, "it died", 2.5
)
OPENED = BreakerChange(BreakerState.CLOSED, BreakerState.OPEN, "it stays dead", 9.0)


@pytest.fixture
def anyio_backend(virtual_time: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return virtual_time


@pytest.fixture
def events() -> EventLog:
    clock = ServerClock()
    clock.observe(1_000_000, 0.0, 0.0)
    return EventLog(clock)


def said(events: EventLog) -> list[dict[str, Any]]:
    """The events as they stand in the stream."""
    return [msgspec.json.decode(msgspec.json.encode(event)) for event in events.pending()]


async def test_an_event_says_what_changed_and_why_in_the_servers_time(events: EventLog) -> None:
    events.state_changed(LOST)
    events.breaker_changed(OPENED)
    assert said(events) == [
        {
            "at_ms": 1_002_500,
            "kind": "state",
            "from": "CONNECTED",
            "to": "RECONNECTING",
            "detail": "starting",
            "cause": "it died",
        },
        {
            "at_ms": 1_009_000,
            "kind": "breaker",
            "from": "CLOSED",
            "to": "OPEN",
            "cause": "it stays dead",
        },
    ]


async def test_what_is_not_known_is_left_out(events: EventLog) -> None:
    events.lease_changed("held", "taken by worker-1")
    assert said(events) == [
        {"at_ms": 1_000_000, "kind": "lease", "to": "held", "cause": "taken by worker-1"}
    ]


async def test_each_event_is_logged_once_where_it_happens(events: EventLog) -> None:
    with capture_logs() as lines:
        events.breaker_changed(OPENED)
    (line,) = lines
    assert (line["event"], line["from"], line["to"]) == ("breaker.changed", "CLOSED", "OPEN")


async def test_what_is_published_leaves_and_what_came_meanwhile_stays(events: EventLog) -> None:
    events.state_changed(LOST)
    taken = events.pending()
    events.breaker_changed(OPENED)
    events.published(taken)
    assert [event["kind"] for event in said(events)] == ["breaker"]


async def test_news_wake_whoever_publishes_them(events: EventLog) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(events.wait)
        await anyio.sleep(60.0)
        events.state_changed(LOST)
    assert anyio.current_time() == 60.0


async def test_news_that_came_meanwhile_are_not_waited_for(events: EventLog) -> None:
    events.state_changed(LOST)
    await events.wait()
    assert anyio.current_time() == 0.0


async def test_during_a_long_outage_the_latest_events_are_kept(events: EventLog) -> None:
    for number in range(5_000):
        events.lease_changed("held", f"number {number}")
    pending = events.pending()
    assert len(pending) <= 1_001
    assert pending[-1].cause == "number 4999"
