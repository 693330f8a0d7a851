"""One gateway of a chaos run: asks at random and writes a journal of what became of it.

Started by `chaos.py` with URL, terminal, name, journal, accounts file and seed; ends when its
standard input does.
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


async def ask(client: AccountClient, journal: Journal, account: str, rng: random.Random) -> None:
    request_id, timeout = new_request_id(), rng.uniform(3.0, 8.0)
    journal.write("asked", id=request_id, account=account, timeout=timeout)
    try:
        data_of = await _look_up(client, account, rng, timeout=timeout, request_id=request_id)
    except MT5Error as error:
        journal.write("answered", id=request_id, outcome=error.code)
    else:
        journal.write("answered", id=request_id, outcome="ok", data_of=data_of)


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
    async with asyncio.TaskGroup() as tasks:
        client = await _connected(url, terminal, name)
        while not stopping.is_set():
            await asyncio.sleep(rng.expovariate(1 / PAUSE))
            await free.acquire()
            account = str(rng.choice(ACCOUNTS))
            asking = tasks.create_task(ask(client, book, account, rng))
            asking.add_done_callback(lambda _: free.release())
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
    url, terminal, name, journal, accounts, seed = sys.argv[1:]
    ACCOUNTS.extend(map(AccountId.parse, Path(accounts).read_text().split()))
    asyncio.run(main(url, terminal, name, Path(journal), int(seed)))
