"""A gateway with a worker that knows every account, in a thread of its own.

What tests an HTTP API from outside blocks; so the server has another event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Generator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import msgspec
from pydantic import SecretStr
from redis.asyncio import Redis
from tests.ending import end
from tests.gateway.conftest import EchoWorker
from tests.servers import COMMANDING, TESTER, as_user

from mt5relay_gateway.batch import CommandBatch
from mt5relay_gateway.http import HttpSettings, http_app
from mt5relay_gateway.http.server import serving
from mt5relay_gateway.http.token_store import TokenStore
from mt5relay_gateway.http.tokens import Scope, new_token
from mt5relay_gateway.testing import a_health
from mt5relay_shared.health import encode_health
from mt5relay_shared.keys import Keys
from mt5relay_shared.redis_client import connect
from mt5relay_shared.sealing import generate_private_key, load_private_key, public_part


@dataclass(frozen=True)
class Running:
    """Where it is, and a token that may do everything as often as it likes."""

    address: str
    token: str


async def obey(redis: Redis, keys: Keys) -> None:
    """Say of every command that it was carried out, as a worker does."""
    read: Any = redis.xread
    cursor: bytes | str = "0"
    while True:
        streams: dict[bytes, Any] = await read({keys.commands: cursor}, block=100) or {}
        for entry, fields in streams.get(keys.commands.encode(), ()):
            cursor = entry
            said = msgspec.json.decode(fields[b"command"])
            done = {"at_ms": 1, "kind": "command", "result": "ok", "message": "done"}
            event = msgspec.json.encode({**done, "id": said["id"], "command": said["command"]})
            await redis.xadd(keys.events, {"event": event})


@contextlib.contextmanager
def running_gateway(settings: HttpSettings, keys: Keys) -> Generator[Running]:
    key = public_part(load_private_key(generate_private_key()))
    url = settings.redis_url.get_secret_value()
    commanding = SecretStr(as_user(url, COMMANDING))
    pinned = settings.model_copy(update={"sealing_key_id": key.key_id, "redis_url": commanding})
    started: Future[Running] = Future()
    stop = threading.Event()

    async def serve() -> None:
        redis = connect(as_user(url, TESTER), client_name="described")
        batch = CommandBatch(redis)
        kept, secret = new_token("described", list(Scope), 0, rate=0)
        await TokenStore(batch, settings.fleet_keys).add(kept)
        await batch.call("SET", keys.sealing_key, msgspec.json.encode(key))
        fields = [part for pair in encode_health(a_health()).items() for part in pair]
        await batch.call("HSET", keys.health, *fields)
        worker = EchoWorker(redis, keys)
        await worker.take_over()
        await worker.store_snapshot("25115284@MetaQuotes-Demo", age=1)
        draining = asyncio.create_task(worker.run())
        obeying = asyncio.create_task(obey(redis, keys))

        async with serving(http_app(pinned), pinned) as address:
            started.set_result(Running(address, secret.reveal()))
            while not stop.is_set():
                await asyncio.sleep(0.05)
                if len(worker.requests) > 1_000:  # what it remembers must not look like a leak
                    worker.requests.clear()
                await redis.pexpire(keys.lease, 60_000)
        await end(obeying)
        worker.stop()
        await draining
        await batch.aclose()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    try:
        yield started.result(20)
    finally:
        stop.set()
        thread.join(20)
