"""Health over HTTP: what looks different to a person looks different to a monitor."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.limits import HANG_LIMIT
from tests.servers import running_server

from mt5relay_gateway.http import HttpSettings
from mt5relay_gateway.http.exposition import exposition
from mt5relay_gateway.http.health import Situation, situation_of
from mt5relay_gateway.http.metrics import Measures
from mt5relay_gateway.http.monitor import Sight
from mt5relay_gateway.testing import a_health
from mt5relay_shared.health import BreakerState, ConnectionState, Health, Status, encode_health
from mt5relay_shared.timings import BOUNDS, Counted, Kind

PATHS = ("/health", "/health/live", "/health/ready")


def _change(health: Health, **changes: Any) -> Health:
    return msgspec.structs.replace(health, **changes)


DOWN = _change(
    a_health(), status=Status.DOWN, state=ConnectionState.ERROR, breaker=BreakerState.OPEN
)


@pytest.mark.parametrize(
    ("health", "waiting", "situation"),
    [
        (None, 0, Situation.NO_WORKER),
        (None, 9, Situation.NO_WORKER),
        (a_health(), 0, Situation.IDLE),
        (a_health(), 1, Situation.BUSY),
        (_change(a_health(), queue_depth=3, estimated_wait_ms=9_000), 3, Situation.BUSY),
        (_change(a_health(), queue_depth=3, estimated_wait_ms=90_000), 3, Situation.CATCHING_UP),
        (_change(a_health(), queue_depth=3, oldest_request_age_ms=20_000), 3,
         Situation.CATCHING_UP),
        (_change(a_health(), detail="wedged"), 2, Situation.WEDGED),
        (_change(DOWN, detail="wedged"), 2, Situation.WEDGED),
        (DOWN, 0, Situation.DOWN),
        (_change(a_health(), status=Status.DEGRADED), 0, Situation.RECONNECTING),
    ],
)  # fmt: skip
def test_a_terminal_is_judged_by_what_redis_shows(
    health: Health | None, waiting: int, situation: Situation
) -> None:
    assert situation_of(health, waiting, 10_000) is situation


@pytest.fixture
async def probe(address: str) -> AsyncIterator[httpx.AsyncClient]:
    """A monitor, which has no token."""
    async with httpx.AsyncClient(base_url=address, timeout=HANG_LIMIT) as client:
        yield client


async def test_the_situations_look_different(probe: httpx.AsyncClient, worker: Any) -> None:
    async def seen() -> tuple[int, str, int, int]:
        health, live, ready = [await probe.get(path) for path in PATHS]
        situation: str = health.json()["situation"]
        assert ready.json()["situation"] == situation
        return health.status_code, situation, live.status_code, ready.status_code

    assert await seen() == (503, "no_worker", 200, 200)
    await worker.say_health(**encode_health(a_health()))
    assert await seen() == (200, "idle", 200, 200)
    await worker.say_health(queue_depth="4", estimated_wait_ms="600000")
    assert await seen() == (200, "catching_up", 200, 200)
    await worker.say_health(detail="wedged", status="degraded", state="RECONNECTING")
    assert await seen() == (503, "wedged", 200, 200)
    await worker.say_health(detail="broker_down", status="down", state="ERROR", breaker="OPEN")
    assert await seen() == (503, "down", 200, 200)


async def test_health_says_what_a_person_asks_next(probe: httpx.AsyncClient, worker: Any) -> None:
    now_ms = time.time_ns() // 1_000_000
    health = _change(
        a_health(),
        state_since_ms=now_ms - 5_000,
        heartbeat_at_ms=now_ms - 1_000,
        last_error_code="BROKER_UNAVAILABLE",
        last_error_text="login to 25115284@MetaQuotes-Demo: no link",
        last_error_at_ms=now_ms - 7_000,
        queue_depth=2,
        current_account="25115284@MetaQuotes-Demo",
    )
    await worker.say_health(**encode_health(health))
    response = await probe.get("/health")
    (terminal,) = response.json()["terminals"]
    assert (terminal["state"], terminal["breaker"]) == ("CONNECTED", "CLOSED")
    assert 5_000 <= terminal["state_age_ms"] < 60_000
    assert 1_000 <= terminal["heartbeat_age_ms"] < 60_000
    assert terminal["last_error"]["code"] == "BROKER_UNAVAILABLE"
    assert terminal["last_error"]["age_ms"] >= 7_000
    assert terminal["queue"]["depth"] == 2
    assert response.json()["version"]
    assert "25115284" not in response.text  # a monitor has no token


async def test_the_worst_terminal_decides(
    probe: httpx.AsyncClient, worker: Any, redis: Any, settings: HttpSettings
) -> None:
    await worker.say_health(**encode_health(a_health()))
    body = b'{"state":"active","since_ms":0}'
    await redis.hset(settings.fleet_keys.terminals, mapping={"main": body, "other": body})
    response = await probe.get("/health")
    assert (response.status_code, response.json()["situation"]) == (503, "no_worker")
    assert [one["situation"] for one in response.json()["terminals"]] == ["idle", "no_worker"]


async def test_it_is_truthful_and_quick_when_redis_is_gone_or_hangs(
    at_store: Any, served: Any
) -> None:
    with running_server() as store:
        elsewhere = at_store(f"{store.url}?socket_timeout={10 * HANG_LIMIT:g}")
        async with (
            served(elsewhere) as address,
            httpx.AsyncClient(base_url=address, timeout=HANG_LIMIT) as monitor,
        ):
            assert (await monitor.get("/health/ready")).status_code == 200
            if hasattr(signal, "SIGSTOP"):
                os.kill(store.pid, signal.SIGSTOP)
                try:
                    await _is_down(monitor)
                finally:
                    os.kill(store.pid, signal.SIGCONT)
            store.kill()
            await _is_down(monitor)
            hurried = {"authorization": "Bearer x", "prefer": "wait=1"}
            look_up = await monitor.get("/v1/accounts/1@S", headers=hurried)
            assert look_up.status_code == 503
            store.start()


async def _is_down(monitor: httpx.AsyncClient) -> None:
    """Each answer comes at the monitor's own limit: those of its caller, and of its connection to
    Redis, which is far longer, are not reached."""
    health, live, ready = [await monitor.get(path) for path in PATHS]
    assert (health.status_code, live.status_code, ready.status_code) == (503, 200, 503)
    assert health.json()["situation"] == ready.json()["situation"] == "redis_down"


async def test_a_gateway_that_starts_without_redis_works_once_there_is_one(
    at_store: Any, served: Any, eventually: Any
) -> None:
    with running_server() as store:
        elsewhere = at_store(store.url)
        store.kill()
        async with (
            served(elsewhere) as address,
            httpx.AsyncClient(base_url=address, timeout=HANG_LIMIT) as monitor,
        ):
            assert (await monitor.get("/health/ready")).status_code == 503
            store.start()

            async def is_ready() -> bool:
                return (await monitor.get("/health/ready")).status_code == 200

            await eventually(is_ready)


async def test_metrics_can_be_read_by_prometheus(http: httpx.AsyncClient, worker: Any) -> None:
    health = _change(a_health(), logins=7, logins_saved=5, switch_p50_ms=1_500, fence=3)
    await worker.say_health(**encode_health(health))
    for path in ("", "/positions"):
        await http.get(f"/v1/accounts/1@S{path}")
    await http.get("/v1/accounts/nobody")
    response = await http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    figures = _figures(response.text)
    assert figures['mt5relay_worker_logins_total{terminal="main"}'] == 7
    assert figures['mt5relay_worker_logins_saved_total{terminal="main"}'] == 5
    assert figures['mt5relay_worker_lease_changes_total{terminal="main"}'] == 3
    assert figures['mt5relay_worker_switch_seconds{quantile="0.5",terminal="main"}'] == 1.5
    assert figures['mt5relay_worker_state{state="CONNECTED",terminal="main"}'] == 1
    assert figures['mt5relay_worker_state{state="ERROR",terminal="main"}'] == 0
    assert figures['mt5relay_worker_breaker{breaker="CLOSED",terminal="main"}'] == 1
    counted = "mt5relay_http_request_duration_seconds_count"
    assert figures[f'{counted}{{operation="positions",outcome="ok"}}'] == 1
    assert figures[f'{counted}{{operation="account_info",outcome="VALIDATION_FAILED"}}'] == 1
    assert figures["mt5relay_redis_up"] == 1


def _figures(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_without_redis_the_metrics_say_so_and_nothing_of_workers() -> None:
    figures = _figures(exposition(Measures().registry, None).decode())
    assert figures["mt5relay_redis_up"] == 0
    assert not any(name.startswith("mt5relay_worker_logins") for name in figures)


def test_the_workers_histograms_add_up() -> None:
    timings = {
        Kind("wait", "positions", "ok"): Counted([3, *[0] * (len(BOUNDS) - 1), 1], 90.0),
        Kind("read", "positions", "ok"): Counted([1, *[0] * len(BOUNDS)], 0.0005),
    }
    sight = Sight("main", a_health(), 1, 0, 2, timings)
    figures = _figures(exposition(Measures().registry, [sight]).decode())
    waited, labels = "mt5relay_worker_request_wait_seconds", 'operation="positions",outcome="ok"'
    terminal = 'terminal="main"'
    assert figures[f'{waited}_bucket{{le="0.001",{labels},{terminal}}}'] == 3
    assert figures[f'{waited}_bucket{{le="60.0",{labels},{terminal}}}'] == 3
    assert figures[f'{waited}_bucket{{le="+Inf",{labels},{terminal}}}'] == 4
    assert figures[f"{waited}_count{{{labels},{terminal}}}"] == 4
    assert figures[f"{waited}_sum{{{labels},{terminal}}}"] == 90
    assert figures[f"mt5relay_worker_request_read_seconds_count{{{labels},{terminal}}}"] == 1
    assert figures[f"mt5relay_worker_dead_letters{{{terminal}}}"] == 2


def test_promtool_accepts_the_metrics() -> None:
    promtool = os.environ.get("PROMTOOL") or shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not here; it is in Debian's package prometheus")
    measures = Measures()
    measures.answered("positions", "ok", 0.01)
    measures.aged("positions", "terminal", 0.2)
    health = _change(a_health(), switch_p50_ms=1, switch_p95_ms=2, read_p95_ms=3, latency_ms=4.5)
    timings = {Kind("wait", "positions", "ok"): Counted([1] * (len(BOUNDS) + 1), 2.5)}
    text = exposition(measures.registry, [Sight("main", health, 1, 0, 2, timings)])
    ended = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, b""), ended.stderr.decode()
