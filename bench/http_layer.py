"""What the HTTP gateway adds: to an answer's time, and to what a core can do.

    python3 run.py bench --http

Two questions, each asked in rounds of taking turns. How much later is a slow answer through HTTP
than through the client library, with 64 in flight? And how many answers from snapshots can one core
give, next to Starlette alone that answers as many bytes? The gateway is as it is run, with a token.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import statistics
import sys
import time
from collections.abc import Callable, Coroutine, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from bench.driving import closed_loop
from bench.http_load import http_loop
from bench.http_serve import ACCOUNTS, SlowClient
from bench.meters import cpu_seconds
from bench.processes import BenchError, child, enrol, log_end, relay_worker, workspace
from bench.redis_link import redis_at
from bench.world import Lookup, account

from mt5relay_gateway import AccountClient
from mt5relay_gateway.cli.store import running_server
from mt5relay_gateway.http.tokens import Scope, new_token
from mt5relay_shared.keys import FleetKeys

IN_FLIGHT = 64
SLOW_REQUESTS = 6_400
FAST_REQUESTS = 10_000
MAX_AGE = 3_600


@dataclass(frozen=True, slots=True)
class Layer:
    """One round. Times in milliseconds, CPU of the server process in microseconds a request."""

    library_p50_ms: float
    http_p50_ms: float
    gateway_per_second: float
    gateway_cpu_us: float
    echo_per_second: float
    echo_cpu_us: float
    answer_bytes: int


def measured(rounds: int, tell: Callable[[str], None]) -> Iterator[Layer]:
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(running_server())
        directory = stack.enter_context(workspace(ACCOUNTS))
        stack.enter_context(relay_worker(redis.url, directory))
        enrol(redis.url, ACCOUNTS)
        size = asyncio.run(_read_everything(redis.url))
        head = _head(_made_token(redis.url))
        slow, gateway, echo = (
            stack.enter_context(_server(kind, size, redis.url, directory))
            for kind in ("slow", "gateway", "echo")
        )
        for number in range(rounds):
            tell(f"round {number + 1} of {rounds}: HTTP")
            yield _run(_round(head, slow, gateway, echo, size))


def _run(main: Coroutine[Any, Any, Layer]) -> Layer:
    """On the event loop that uvicorn chooses too: their timers are not equally exact."""
    if sys.platform == "win32":
        return asyncio.run(main)
    uvloop: Any = importlib.import_module("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


@dataclass(frozen=True, slots=True)
class _Server:
    address: str
    pid: int


@contextlib.contextmanager
def _server(kind: str, size: int, url: str, directory: Path) -> Generator[_Server]:
    settings = {"REDIS_URL": url, "MT5_HTTP_PORT": "0", "MT5_HTTP_RATE": "0"}
    command = [sys.executable, "-m", "bench.http_serve", kind, str(size)]
    with child(command, directory, MT5_LOG_LEVEL="warning", **settings) as process:
        assert process.stdout is not None  # noqa: S101 - it was started with a pipe
        address = process.stdout.readline().strip()
        if not address:
            raise BenchError(f"the {kind} server did not start: {log_end(directory)}")
        yield _Server(address, process.pid)


async def _read_everything(url: str) -> int:
    """Leave a snapshot of each account; returns about how many bytes an answer has."""
    async with AccountClient(url) as client:
        found = [await client.account_info(account(number)) for number in range(ACCOUNTS)]
    return len(msgspec.json.encode(found[0].data)) + 250


def _made_token(url: str) -> str:
    kept, text = new_token("bench", [Scope.READ], 0)
    with redis_at(url) as redis:
        redis.hset(FleetKeys("mt5").tokens, kept.id, msgspec.json.encode(kept))
    return text.reveal()


def _head(token: str) -> str:
    return f"Host: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"


def _requests(head: str, count: int, cache_control: str = "") -> list[bytes]:
    fresh = f"Cache-Control: {cache_control}\r\n" if cache_control else ""
    return [
        f"GET /v1/accounts/{account(number % ACCOUNTS)} HTTP/1.1\r\n{head}{fresh}\r\n".encode()
        for number in range(count)
    ]


async def _round(head: str, slow: _Server, gateway: _Server, echo: _Server, size: int) -> Layer:
    client = SlowClient()
    lookups = [Lookup(account(number % ACCOUNTS), "", {}) for number in range(SLOW_REQUESTS)]
    library = await closed_loop(lambda one: client.account_info(one.account), lookups, IN_FLIGHT)
    through = await http_loop(slow.address, _requests(head, SLOW_REQUESTS), IN_FLIGHT)
    fast = _requests(head, FAST_REQUESTS, f"max-age={MAX_AGE}")
    answers, cpu = await _timed(gateway, fast)
    echoes, echo_cpu = await _timed(echo, fast)
    return Layer(
        library_p50_ms=statistics.median(library) * 1000,
        http_p50_ms=statistics.median(through) * 1000,
        gateway_per_second=answers,
        gateway_cpu_us=cpu,
        echo_per_second=echoes,
        echo_cpu_us=echo_cpu,
        answer_bytes=size,
    )


async def _timed(server: _Server, requests: list[bytes]) -> tuple[float, float]:
    """Answers a second, and microseconds of the server's CPU for each."""
    await http_loop(server.address, requests[: 10 * IN_FLIGHT], IN_FLIGHT)
    used, began = cpu_seconds(server.pid), time.perf_counter()
    await http_loop(server.address, requests, IN_FLIGHT)
    took = time.perf_counter() - began
    return len(requests) / took, (cpu_seconds(server.pid) - used) / len(requests) * 1e6


def markdown(rounds: list[Layer]) -> str:
    """The medians, and whether the targets are met."""

    def median(figure: Callable[[Layer], float]) -> float:
        return statistics.median(figure(one) for one in rounds)

    library, http = median(lambda one: one.library_p50_ms), median(lambda one: one.http_p50_ms)
    cpu, echo_cpu = median(lambda one: one.gateway_cpu_us), median(lambda one: one.echo_cpu_us)
    answers = median(lambda one: one.gateway_per_second)
    echoes = median(lambda one: one.echo_per_second)
    added = median(lambda one: one.http_p50_ms - one.library_p50_ms)
    a_core, share = 1e6 / cpu, answers / echoes
    return f"""# The HTTP layer

Medians of {len(rounds)} rounds, {IN_FLIGHT} in flight. The gateway, the bare echo and their caller
each have a process; answers have about {rounds[0].answer_bytes} bytes.

|  | client library | HTTP |
| --- | ---: | ---: |
| p50 of answers that take 40 to 60 ms, ms | {library:.2f} | {http:.2f} |

|  | gateway, from snapshots | Starlette alone |
| --- | ---: | ---: |
| answers a second | {answers:,.0f} | {echoes:,.0f} |
| CPU of the server, µs a request | {cpu:.0f} | {echo_cpu:.0f} |

| target | found | met |
| --- | ---: | ---: |
| HTTP adds at most 1 ms to the p50 | {added:.2f} ms | {_yes(added <= 1)} |
| 3 000 answers a second on one core, or 60 % of Starlette alone | {a_core:,.0f} by CPU, \
{share:.0%} | {_yes(a_core >= 3_000 or share >= 0.6)} |
"""


def _yes(is_met: bool) -> str:
    return "yes" if is_met else "**no**"
