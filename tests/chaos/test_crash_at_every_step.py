"""Every Redis command in the life of one request, cut before, cut after, and killed after.

A first run without faults lists what worker and gateway say to Redis from their start to the reply;
then each of these commands gets its own runs. Whatever is cut or killed: one reply, one only, and
nothing left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from redis.exceptions import RedisError
from tests.chaos.instant_terminal import InstantTerminal
from tests.chaos.resp_proxy import Cut, RespProxy, Step
from tests.limits import HANG_LIMIT
from tests.servers import GATEWAY, TESTER, WORKER, AclServer, as_user

from mt5relay_gateway import AccountClient
from mt5relay_shared.errors import MT5Error, NoWorkerError, RedisUnavailableError
from mt5relay_shared.keys import WORKER_GROUP, Keys
from mt5relay_shared.redis_client import connect
from mt5relay_worker.lease import LeaseLostError
from mt5relay_worker.settings import WorkerSettings
from mt5relay_worker.worker import Worker

pytestmark = pytest.mark.integration

LOGIN = 700_001
ACCOUNT = f"{LOGIN}@Alpha-Demo"
REQUEST_ID = "the-one-request"
LIMIT = HANG_LIMIT  # for one case; the slowest wait for leases of 3 s to expire
AT_ONCE = 32  # cases that run side by side
DECLARED_WITHOUT_EXPIRY = {
    "requests", "accounts", "sealing-key", "fence", "events", "dead", "commands",
}  # fmt: skip


@dataclass
class Scene:
    """One request's life on keys of its own, with at most one cut on one side."""

    server: AclServer
    keys: Keys
    worker_proxy: RespProxy
    gateway_proxy: RespProxy
    terminals: list[InstantTerminal] = field(default_factory=list[InstantTerminal])


def settings(url: str, keys: Keys) -> WorkerSettings:
    return WorkerSettings.model_validate(
        {
            "redis_url": as_user(url, WORKER),
            "terminal_id": keys.terminal,
            "terminal": "simulated",
            "lease_ttl": 3.0,
            "heartbeat_interval": 0.3,
            "shutdown_grace": 2.0,
        }
    )


async def supervise(scene: Scene, killed: asyncio.Event, finished: asyncio.Event) -> None:
    """Run workers as a supervisor would: a new one whenever one ends."""
    proxy = scene.worker_proxy
    while not finished.is_set():
        async with proxy.listening() as url:
            terminal = InstantTerminal()
            scene.terminals.append(terminal)
            worker = Worker(settings(url, scene.keys), terminal)
            task = asyncio.create_task(_run_to_its_end(worker))
            await _first_of(task, killed, finished)
            if finished.is_set():
                worker.stop()
            else:
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        killed.clear()
        proxy = RespProxy(scene.server.port)


async def _run_to_its_end(worker: Worker) -> None:
    """What ends a worker is its supervisor's business, not the test's."""
    with contextlib.suppress(LeaseLostError):
        try:
            await worker.run()
        except* (RedisError, OSError):
            pass


async def _first_of(task: asyncio.Task[None], *events: asyncio.Event) -> None:
    waiters = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait({task, *waiters}, return_when=asyncio.FIRST_COMPLETED)
    for waiter in waiters:
        waiter.cancel()


async def ask_until_answered(scene: Scene, killed: asyncio.Event) -> int:
    """A caller that asks again, at another gateway, when its gateway dies."""
    proxy = scene.gateway_proxy
    while True:
        killed.clear()
        async with proxy.listening() as url:
            asking = asyncio.create_task(_ask(url, scene.keys))
            await _first_of(asking, killed)  # type: ignore[arg-type]
            if not killed.is_set():
                found = await asking
                if found is not None:
                    return found
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError, MT5Error):
                await asking
        proxy = RespProxy(scene.server.port)


async def _ask(url: str, keys: Keys) -> int | None:
    """One gateway's life; None when it could not help, so that another should be asked."""
    try:
        async with AccountClient(
            as_user(url, GATEWAY), terminal=keys.terminal, timeout=LIMIT
        ) as client:
            while True:
                try:
                    answer = await client.tick(ACCOUNT, "EURUSD", request_id=REQUEST_ID)
                except NoWorkerError:
                    await anyio.sleep(0.05)
                else:
                    return answer.data.time
    except RedisUnavailableError:
        return None


async def live(scene: Scene) -> int:
    """Play the scene; returns the login that the answer's data names."""
    killed, finished = asyncio.Event(), asyncio.Event()
    gateway_killed = asyncio.Event()
    scene.worker_proxy.on_kill = killed.set
    scene.gateway_proxy.on_kill = gateway_killed.set
    supervisor = asyncio.create_task(supervise(scene, killed, finished))
    try:
        async with asyncio.timeout(LIMIT):
            return await ask_until_answered(scene, gateway_killed)
    finally:
        finished.set()
        await supervisor


async def what_is_left(redis: Any, keys: Keys) -> list[str]:
    """Everything that a finished request must not leave behind, in words."""
    left: list[str] = []
    if await redis.xlen(keys.requests):
        left.append("an entry in the request stream")
    pending = await redis.xpending(keys.requests, WORKER_GROUP)
    if pending["pending"]:
        left.append("a pending entry")
    async for key in redis.scan_iter(f"{keys.tag}*"):
        name = key.decode().removeprefix(f"{keys.tag}:")
        if name not in DECLARED_WITHOUT_EXPIRY and await redis.pttl(key) == -1:
            left.append(f"{name} without expiry")
    return left


async def enrol(redis: Any, keys: Keys) -> None:
    await redis.hset(keys.accounts, ACCOUNT, b"sealed")


async def recorded_steps(server: AclServer, redis: Any) -> tuple[list[Step], list[Step]]:
    """What worker and gateway say to Redis when nothing goes wrong."""
    keys = Keys("crash-record")
    await enrol(redis, keys)
    scene = Scene(server, keys, RespProxy(server.port), RespProxy(server.port))
    assert await live(scene) == LOGIN
    return scene.worker_proxy.steps, scene.gateway_proxy.steps


@dataclass(frozen=True)
class Case:
    side: str
    step: Step
    cut: Cut

    def __str__(self) -> str:
        return f"{self.side}: {self.cut.name} {self.step}"


def cases(worker: list[Step], gateway: list[Step]) -> Iterator[Case]:
    for side, steps in (("worker", worker), ("gateway", gateway)):
        for step in steps:
            for cut in Cut:
                yield Case(side, step, cut)


async def play(case: Case, number: int, server: AclServer, redis: Any) -> str | None:
    """Play one case; returns what went wrong, if anything did."""
    keys = Keys(f"crash-{number}")
    await enrol(redis, keys)
    cutting = RespProxy(server.port, cut_at=case.step, cut=case.cut)
    plain = RespProxy(server.port)
    on_worker = case.side == "worker"
    scene = Scene(server, keys, cutting if on_worker else plain, plain if on_worker else cutting)
    try:
        login = await live(scene)
    except TimeoutError:
        return f"{case}: no reply within {LIMIT} s; it said {[str(s) for s in cutting.steps]}"
    reads = sum(len(visit.reads) for terminal in scene.terminals for visit in terminal.visits)
    left = await what_is_left(redis, keys)
    if login != LOGIN:
        return f"{case}: data of {login}"
    if left:
        return f"{case}: left {left}"
    if reads > 2:
        return f"{case}: the terminal was read {reads} times for one request"
    return None


# A killed worker or gateway is a cancelled task here, and leaves its sockets to the collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_whatever_is_cut_or_killed_a_request_gets_its_one_reply(
    server: AclServer,
) -> None:
    redis = connect(as_user(server.url, TESTER), client_name="judge")
    worker, gateway = await recorded_steps(server, redis)
    await redis.script_flush()
    every = list(enumerate(cases(worker, gateway)))
    complaints: list[str] = []

    async def in_turn(case: Case, number: int, limiter: anyio.CapacityLimiter) -> None:
        async with limiter:
            complaint = await play(case, number, server, redis)
            if complaint:
                complaints.append(complaint)

    limiter = anyio.CapacityLimiter(AT_ONCE)
    async with anyio.create_task_group() as tasks:
        for number, case in every:
            tasks.start_soon(in_turn, case, number, limiter)
    await redis.aclose()
    gc.collect()
    assert len(every) > 100
    if complaints:
        pytest.fail("\n".join(sorted(complaints)))
