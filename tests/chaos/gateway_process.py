"""One gateway of a chaos run: asks at random and writes a journal of what became of it.

Started by `chaos.py` with REDIS_URL, and with terminal, name, journal, accounts file and seed as
arguments; ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from mt5relay_gateway import AccountClient
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5Error
from mt5relay_shared.ids import new_request_id
from mt5relay_worker.signals import stop_on_end_of_input

PAUSE = 0.02  # seconds between two requests, on average
IN_FLIGHT = 64
WITHDRAWN = 0.03  # of all requests: their caller goes away
LOOK_INTERVAL = 0.05  # seconds


class Journal:
    """Lines that survive the process: each is written in one piece."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, kind: str, **fields: object) -> None:
        line = json.dumps({"kind": kind, "at": time.time(), **fields}) + "\n"
        os.write(self._file, line.encode())

    def note_acceptance(
        self, _logger: object, _method: str, event: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """A structlog processor: the client says itself when a request is in the queue."""
        if event["event"] == "request.queued":
            self.write("accepted", id=event["request_id"])
        raise structlog.DropEvent


class Stall:
    """For how long, in all, this process got no turn: frozen, or on a machine that was too busy.

    An answer that came late while it could not run was not late for any fault of the system's.
    """

    def __init__(self) -> None:
        self._total = 0.0
        self._looked_at = time.monotonic()

    async def watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            self._total, self._looked_at = self.seconds, time.monotonic()

    @property
    def seconds(self) -> float:
        return self._total + max(0.0, time.monotonic() - self._looked_at - LOOK_INTERVAL)


async def ask(
    client: AccountClient, journal: Journal, stall: Stall, account: str, rng: random.Random
) -> None:
    request_id, timeout, stalled = new_request_id(), rng.uniform(3.0, 8.0), stall.seconds
    patience = rng.uniform(0.0, timeout) if rng.random() < WITHDRAWN else None
    journal.write("asked", id=request_id, account=account, timeout=timeout)
    try:
        async with asyncio.timeout(patience):
            data_of = await _look_up(client, account, rng, timeout=timeout, request_id=request_id)
        outcome = {"outcome": "ok", "data_of": data_of}
    except TimeoutError:
        outcome = {"outcome": "withdrawn"}
    except MT5Error as error:
        outcome = {"outcome": error.code}
    journal.write("answered", id=request_id, stalled=stall.seconds - stalled, **outcome)


async def _look_up(client: AccountClient, account: str, rng: random.Random, **options: Any) -> str:
    """Ask for something whose data tells whose it is."""
    if rng.random() < 0.5:
        info = (await client.account_info(account, **options)).data
        return f"{info.login}@{info.server}"
    (position,) = (await client.positions(account, **options)).data
    # The book gives every account one position of its own volume: index / 100 lots.
    return str(ACCOUNTS[round(position.volume * 100) - 1])


ACCOUNTS: list[AccountId] = []


async def main(url: str, terminal: str, name: str, journal: Path, seed: int) -> None:
    book, rng = Journal(journal), random.Random(seed)
    structlog.configure(processors=[book.note_acceptance])
    stopping = asyncio.Event()
    stop_on_end_of_input(stopping.set)
    free = asyncio.Semaphore(IN_FLIGHT)
    stall = Stall()
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(stall.watch())
        client = await _connected(url, terminal, name)
        while not stopping.is_set():
            await asyncio.sleep(rng.expovariate(1 / PAUSE))
            await free.acquire()
            account = str(rng.choice(ACCOUNTS))
            asking = tasks.create_task(ask(client, book, stall, account, rng))
            asking.add_done_callback(lambda _: free.release())
        watching.cancel()
    await client.aclose()


async def _connected(url: str, terminal: str, name: str) -> AccountClient:
    """Keep trying: the server may be down right now."""
    while True:
        client = AccountClient(url, terminal=terminal, name=name)
        try:
            await client.open()
        except MT5Error:
            await asyncio.sleep(0.2)
        else:
            return client


if __name__ == "__main__":
    terminal, name, journal, accounts, seed = sys.argv[1:]
    ACCOUNTS.extend(map(AccountId.parse, Path(accounts).read_text().split()))
    asyncio.run(main(os.environ["REDIS_URL"], terminal, name, Path(journal), int(seed)))
