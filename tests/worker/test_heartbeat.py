"""The health hash tells the truth without touching the terminal, while the lease is held."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

import anyio
import msgspec
import pytest
from redis.asyncio import Redis
from tests.limits import HANG_LIMIT
from tests.servers import AclServer

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import Outcome
from mt5relay_shared.health import (
    BreakerState,
    ConnectionState,
    Health,
    Status,
    decode_health,
)
from mt5relay_shared.timings import Kind, decode_timings
from mt5relay_worker.health import (
    HealthSources,
    Heartbeat,
    LastProbe,
    compose_health,
    current_turns,
    status_of,
)
from mt5relay_worker.lease import LeaseLostError
from mt5relay_worker.terminal.protocol import Probe, Visit

if TYPE_CHECKING:
    from tests.worker.conftest import Counter, FakeTerminal, Gate, Parts, Until

TERMINAL_PATH = r"C:\MT5\main\terminal64.exe"
INTERVAL = 20.0  # long: a beat within a test is one that something caused


@pytest.fixture
def last_probe() -> LastProbe:
    return LastProbe()


@pytest.fixture
async def sources(parts: Parts, last_probe: LastProbe) -> HealthSources:
    return sources_of(parts, last_probe)


def sources_of(parts: Parts, last_probe: LastProbe) -> HealthSources:
    return HealthSources(
        lease=parts.lease,
        status=parts.status,
        breaker=parts.breaker,
        manager=parts.manager,
        backlog=parts.backlog,
        costs=parts.costs,
        governor=parts.governor,
        logins=parts.logins,
        shadow=parts.shadow,
        visits=parts.visits,
        replies=parts.replies,
        probe=last_probe,
        clock=parts.clock,
        started_ms=parts.clock.now_ms(),
        binding="metatrader5",
        terminal_path=TERMINAL_PATH,
    )


@pytest.fixture
def heartbeat(parts: Parts, sources: HealthSources) -> Heartbeat:
    return Heartbeat(sources, parts.events, interval=INTERVAL)


async def published(parts: Parts) -> Health:
    fields: Any = await parts.redis.hgetall(parts.keys.health)
    health = decode_health({name.decode(): value.decode() for name, value in fields.items()})
    assert health is not None
    return health


async def events_of(parts: Parts, client: Redis | None = None) -> list[dict[str, Any]]:
    entries: Any = await (client or parts.redis).xrange(parts.keys.events)
    return [msgspec.json.decode(fields[b"event"]) for _, fields in entries]


# One word for a load balancer


@pytest.mark.parametrize(
    ("state", "breaker"), list(itertools.product(ConnectionState, BreakerState))
)
def test_ok_means_connected_with_a_closed_breaker_and_down_means_no_answers(
    state: ConnectionState, breaker: BreakerState
) -> None:
    expected = Status.DEGRADED
    if state is ConnectionState.ERROR or breaker is BreakerState.OPEN:
        expected = Status.DOWN
    elif (state, breaker) == (ConnectionState.CONNECTED, BreakerState.CLOSED):
        expected = Status.OK
    assert status_of(state, breaker) is expected


# What it tells


async def test_the_hash_names_worker_fence_state_and_counters(
    parts: Parts, heartbeat: Heartbeat
) -> None:
    alice = await parts.enrol(AccountId(1, "Broker"))
    async with parts.visiting():
        await parts.answer(await parts.ask(alice))
    await heartbeat.beat()
    health = await published(parts)
    assert (health.worker_id, health.fence) == ("worker-of-the-test", parts.lease.fence)
    assert (health.status, health.state) == (Status.OK, ConnectionState.CONNECTED)
    assert (health.breaker, health.breaker_retry_at_ms) == (BreakerState.CLOSED, None)
    assert health.current_account == "1@Broker"
    assert (health.logins, health.visits, health.requests_total) == (1, 1, 1)
    assert (health.pool_size, health.pool_limit) == (1, 20)
    assert (health.terminal_build, health.package_version) == (5200, "5.0.6231")
    assert (health.binding, health.terminal_path) == ("metatrader5", TERMINAL_PATH)
    assert health.last_success_at_ms is not None


async def test_how_long_requests_took_is_told_part_by_part(
    parts: Parts, heartbeat: Heartbeat
) -> None:
    alice = await parts.enrol(AccountId(1, "Broker"))
    parts.terminal.switch_seconds = 0.02
    async with parts.visiting():
        await parts.answer(await parts.ask(alice))
        await parts.error(await parts.ask(AccountId(2, "Nobody")))
    await heartbeat.beat()
    told = decode_timings(cast("Any", await parts.redis.hgetall(parts.keys.timings)))
    assert {kind: sum(counted.counts) for kind, counted in told.items()} == {
        Kind(phase, "account_info", outcome): 1
        for phase, outcome in (
            ("wait", "ok"),
            ("switch", "ok"),
            ("read", "ok"),
            ("total", "ok"),
            ("total", "ACCOUNT_UNKNOWN"),
        )
    }
    assert told[Kind("switch", "account_info", "ok")].sum >= 0.02


async def test_the_queue_is_told_with_its_oldest_request(
    parts: Parts, sources: HealthSources
) -> None:
    sources.costs.observe_switch(AccountId(1, "Broker"), 500.0)
    for login in (1, 2, 2):
        await parts.ask(AccountId(login, "Broker"))
    await anyio.sleep(0.01)
    health = await compose_health(sources, current_turns(sources))
    assert (health.queue_depth, health.waiting_accounts) == (3, 2)
    assert health.oldest_request_age_ms > 0
    assert health.estimated_wait_ms > 0


async def test_nobody_is_refused_by_the_guesses_of_a_worker_that_has_just_taken_over(
    parts: Parts, sources: HealthSources
) -> None:
    """`submit` refuses by what is published here, and the line left by the last worker is long."""
    for login in range(1, 50):
        await parts.ask(AccountId(login, "Broker"))
    turns = current_turns(sources)
    assert (await compose_health(sources, turns)).estimated_wait_ms == 0
    assert max(turn.by_ms for turn in turns.values()) <= sources.clock.now_ms()


async def test_logins_saved_are_those_that_strict_fifo_would_have_made(
    parts: Parts, sources: HealthSources
) -> None:
    alice = await parts.enrol(AccountId(1, "Broker"))
    bob = await parts.enrol(AccountId(2, "Broker"))
    ids = [await parts.ask(account) for account in (alice, bob, alice, bob)]
    parts.backlog.newest_account = None  # nobody to follow
    async with parts.visiting():
        for one in ids:
            await parts.answer(one)
    health = await compose_health(sources, current_turns(sources))
    assert (health.logins, health.logins_saved) == (2, 2)


async def test_the_last_error_stays_visible_with_the_packages_own_code(
    parts: Parts, terminal: FakeTerminal, sources: HealthSources
) -> None:
    alice = await parts.enrol(AccountId(1, "Broker"))
    terminal.accounts[alice].password = b"changed at the broker"
    async with parts.visiting():
        await parts.error(await parts.ask(alice))
    health = await compose_health(sources, current_turns(sources))
    assert health.last_error_code == "MT5_AUTH_FAILED"
    assert "-6" in (health.last_error_text or "")
    assert health.last_error_at_ms is not None
    assert health.errors_total == 1


async def test_the_last_look_at_the_terminal_is_told(
    parts: Parts, sources: HealthSources, last_probe: LastProbe
) -> None:
    await parts.manager.initialize()
    assert (await compose_health(sources, current_turns(sources))).auth_ok is None
    last_probe.report = await parts.manager.probe()
    health = await compose_health(sources, current_turns(sources))
    assert (health.connection_ok, health.auth_ok, health.data_feed_ok) == (True, False, True)
    assert health.latency_ms is not None


async def test_busy_idle_wedged_and_open_look_different_without_a_question_to_the_terminal(
    parts: Parts, terminal: FakeTerminal, sources: HealthSources, gate: Callable[[], Gate]
) -> None:
    alice = await parts.enrol(AccountId(1, "Broker"))
    seen: list[tuple[str, str, str]] = []

    async def look() -> None:
        asked = len(terminal.commands)
        health = await compose_health(sources, current_turns(sources))
        seen.append((health.status, health.state, health.detail))
        assert len(terminal.commands) == asked

    await look()
    terminal.at_switch = gate()
    async with parts.visiting():
        first = await parts.ask(alice)
        await terminal.at_switch.reached.wait()
        await look()
        terminal.at_switch.opened.set()
        await parts.answer(first)
        await look()
        terminal.fails_at(Visit, "MT5_TIMEOUT", times=2)
        terminal.fails_at(Probe, "MT5_TIMEOUT", times=2)
        await parts.error(await parts.ask(alice))
        await look()
    assert seen == [
        ("degraded", "DISCONNECTED", "stopped"),
        ("degraded", "DISCONNECTED", "switching"),
        ("ok", "CONNECTED", "idle"),
        ("down", "ERROR", "wedged"),
    ]


# When it beats


async def test_a_beat_prolongs_the_lease_and_the_hash_outlives_two_missed_beats(
    parts: Parts, heartbeat: Heartbeat
) -> None:
    await parts.redis.pexpire(parts.keys.lease, 5_000)
    await heartbeat.beat()
    assert await parts.redis.pttl(parts.keys.lease) > 50_000
    left: Any = await parts.redis.pttl(parts.keys.health)
    assert 2 * INTERVAL * 1000 < left <= 3 * INTERVAL * 1000


async def test_changes_are_published_at_once_and_once(
    parts: Parts, heartbeat: Heartbeat, until: Until
) -> None:
    async def is_down() -> bool:
        fields: Any = await parts.redis.hget(parts.keys.health, "status")
        return bool(fields == b"down")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(heartbeat.run)
        await until(lambda: parts.redis.exists(parts.keys.health))
        parts.breaker.record(Outcome.FAILURE, "the test broke it", anyio.current_time())
        await until(is_down)
        parts.breaker.reset("an operator said so", anyio.current_time())
        await until(lambda: _has(parts, 2))
        tasks.cancel_scope.cancel()
    events = await events_of(parts)
    assert [(event["kind"], event["from"], event["to"]) for event in events] == [
        ("breaker", "CLOSED", "OPEN"),
        ("breaker", "OPEN", "CLOSED"),
    ]
    assert events[0]["cause"] == "the test broke it"


async def _has(parts: Parts, events: int) -> bool:
    return len(await events_of(parts)) >= events


async def test_without_news_it_beats_once_an_interval(
    parts: Parts, sources: HealthSources, until: Until
) -> None:
    beats: set[int] = set()

    async def has_beaten_thrice() -> bool:
        found: Any = await parts.redis.hget(parts.keys.health, "heartbeat_at_ms")
        beats.add(int(found or 0))
        return len(beats - {0}) >= 3

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Heartbeat(sources, parts.events, interval=0.03).run)
        await until(has_beaten_thrice)
        tasks.cancel_scope.cancel()


async def test_each_beat_is_a_sign_of_life(
    parts: Parts, sources: HealthSources, counter: Counter, until: Until
) -> None:
    heartbeat = Heartbeat(sources, parts.events, interval=0.03, on_attempt=counter)

    async def has_beaten_thrice() -> bool:
        return counter.times >= 3

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(heartbeat.run)
        await until(has_beaten_thrice)
        tasks.cancel_scope.cancel()


async def test_who_lost_the_lease_publishes_nothing_and_stops(
    parts: Parts, heartbeat: Heartbeat
) -> None:
    await parts.redis.set(parts.keys.lease, "another:nonce:99")
    with anyio.fail_after(HANG_LIMIT), pytest.raises(LeaseLostError):
        await heartbeat.run()
    assert not await parts.redis.exists(parts.keys.health)
    assert not await parts.redis.exists(parts.keys.events)


# When Redis is away


async def test_a_broken_connection_loses_no_event(
    own_parts: Parts,
    onlooker: Redis,
    until: Until,
    break_connections: Callable[[], Awaitable[object]],
) -> None:
    heartbeat = Heartbeat(sources_of(own_parts, LastProbe()), own_parts.events, interval=0.05)
    own_parts.breaker.record(Outcome.FAILURE, "the test broke it", anyio.current_time())
    await break_connections()

    async def is_published() -> bool:
        return bool(await events_of(own_parts, onlooker))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(heartbeat.run)
        await until(is_published)
        tasks.cancel_scope.cancel()


async def test_a_beat_that_fails_is_a_sign_of_life_too(
    own_server: AclServer, brief_parts: Parts, counter: Counter
) -> None:
    heartbeat = Heartbeat(
        sources_of(brief_parts, LastProbe()), brief_parts.events, interval=0.05, on_attempt=counter
    )
    own_server.kill()
    with anyio.fail_after(HANG_LIMIT), pytest.raises(LeaseLostError):
        await heartbeat.run()
    assert counter.times > 4


async def test_a_lease_that_could_not_be_renewed_in_time_is_given_up(
    own_server: AclServer, brief_parts: Parts
) -> None:
    heartbeat = Heartbeat(sources_of(brief_parts, LastProbe()), brief_parts.events, interval=0.05)
    own_server.kill()
    with anyio.fail_after(HANG_LIMIT), pytest.raises(LeaseLostError):
        await heartbeat.run()
    assert brief_parts.lease.trust_left <= 0
