"""A gateway process of one contestant: asks what its parent's lines say, answers with figures.

    python -m bench.client NAME URL

One JSON object a line; the first line out says that the client is connected, with versions.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from dataclasses import asdict
from importlib import metadata
from typing import Any, cast

from bench.driving import Client, Contestant
from bench.orders import Order, Outcome
from bench.world import lookup


async def run(name: str, url: str) -> None:
    contestant = cast(Contestant, importlib.import_module(f"bench.contestants.{name}"))
    async with contestant.client(url) as client:
        _say({"versions": versions()})
        while line := await asyncio.to_thread(sys.stdin.readline):
            _say(asdict(await _carry_out(client, Order(**json.loads(line)))))


async def _carry_out(client: Client, order: Order) -> Outcome:
    lookups = [lookup(order.scenario, number) for number in order.numbers()]
    began, used = time.monotonic(), time.process_time()
    async with asyncio.timeout(order.limit):
        took = await client.drive(lookups, order.in_flight)
    ended, used = time.monotonic(), time.process_time() - used
    if len(took) != order.count:
        raise RuntimeError(f"{len(took)} answers to {order.count} questions")
    return Outcome(began, ended, used, [round(seconds * 1e6) for seconds in took])


def versions() -> dict[str, str]:
    """Of what is installed here, as far as it matters."""
    found: dict[str, str] = {"python": sys.version.partition(" ")[0]}
    for name in ("redis", "hiredis", "arq", "taskiq", "taskiq-redis", "faststream", "dramatiq",
                 "celery", "kombu"):  # fmt: skip
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    asyncio.run(run(*sys.argv[1:]))
