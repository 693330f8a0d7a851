"""Looks at the server: what it is, how it is configured, who may do what there."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from redis import exceptions as foreign
from redis.asyncio import ConnectionPool, Redis

from mt5relay_gateway.doctor.facts import Server
from mt5relay_gateway.doctor.looks import Look, Looks, Seen, Unseen, text, texts
from mt5relay_gateway.doctor.rights import Right, rights_to_ask
from mt5relay_shared.keys import FleetKeys, Keys
from mt5relay_shared.scripts import ALL

_NO_USER = "not found"


async def reach(redis: Redis) -> str | None:
    """Why the server can't be used, or None where it answers."""
    connection: Any = redis
    try:
        await connection.execute_command("PING")
    except foreign.NoPermissionError:
        return None  # it answers, if only with a refusal
    except foreign.AuthenticationError as error:
        return f"it refuses the user or the password ({error})"
    except foreign.RedisError as error:
        return str(error)
    return None


async def server_facts(redis: Redis, looks: Looks, keys: Keys, fleet: FleetKeys) -> Server:
    """Everything there is to see; `redis` answers already."""
    before, asked = time.time(), time.perf_counter()
    clock = await looks.at("TIME")
    took = time.perf_counter() - asked
    info: Look[Mapping[str, object]] = await looks.at("INFO")
    ahead = clock.then(_seconds).then(partial(_ahead, before + took / 2))
    link = await _link(redis)
    address = None if isinstance(link, Unseen) else link.value.address
    return Server(
        address=":".join(map(str, address)) if address else "Redis",
        round_trip=took,
        clock_ahead=ahead,
        info=info,
        config=(await looks.at("CONFIG", "GET", "*append*", "save", "maxclients")).then(texts),
        scripts=(await looks.at("SCRIPT", "EXISTS", *(one.digest for one in ALL))).then(_scripts),
        rights=await _rights(looks, keys, fleet),
        is_open=await _is_open(redis),
        certificate_ends_in=await _certificate_ends_in(link),
        cluster=await _cluster_info(looks, info),
    )


def _seconds(answer: Sequence[Any]) -> float:
    return int(answer[0]) + int(answer[1]) / 1e6


def _ahead(here: float, there: float) -> float:
    return there - here


async def _cluster_info(looks: Looks, info: Look[Mapping[str, object]]) -> Look[Mapping[str, str]]:
    if isinstance(info, Seen) and info.value.get("cluster_enabled"):
        return (await looks.at("CLUSTER", "INFO")).then(_cluster)
    return Seen({})


def _scripts(answer: Sequence[object]) -> dict[str, bool]:
    return {script.name: bool(known) for script, known in zip(ALL, answer, strict=True)}


def _cluster(answer: object) -> dict[str, str]:
    """The text that the server sends, or the hash that some versions of redis-py make of it."""
    if isinstance(answer, Mapping):
        return texts(cast("Mapping[bytes, bytes]", answer))
    lines = (line.partition(":") for line in text(answer).splitlines())
    return {name: value.strip() for name, _, value in lines}


async def _rights(looks: Looks, keys: Keys, fleet: FleetKeys) -> Look[Sequence[Right]]:
    asked = rights_to_ask(keys, fleet)
    first = await looks.at("ACL", "DRYRUN", "default", "PING")  # one refusal tells of all
    if isinstance(first, Unseen):
        return first
    answers = await looks.at_each([("ACL", "DRYRUN", user, *command) for user, command, _ in asked])
    found: list[Right] = []
    for (user, command, is_due), answer in zip(asked, answers, strict=True):
        if isinstance(answer, Seen):
            found.append(Right(user, command, is_due, text(answer.value) == "OK"))
        elif _NO_USER in answer.reason:
            found.append(Right(user, command, is_due, None))
        else:
            return answer
    return Seen(found)


async def _is_open(redis: Redis) -> Look[bool]:
    """Whether the server takes commands from a connection that gives no password."""
    pool = redis.connection_pool
    options: dict[str, Any] = {
        name: value
        for name, value in pool.connection_kwargs.items()
        if name not in ("username", "password")
    }
    stranger: Any = Redis.from_pool(
        ConnectionPool(connection_class=pool.connection_class, **options)
    )
    try:
        await stranger.ping()
    except (foreign.AuthenticationError, foreign.NoPermissionError):
        return Seen(False)
    except foreign.RedisError as error:
        return Unseen(f"Redis did not answer: {error}")
    finally:
        await stranger.aclose()
    return Seen(True)


@dataclass(frozen=True)
class _Link:
    """Where a connection leads to, whoever said so, and by which TLS."""

    address: tuple[str, int] | None
    context: ssl.SSLContext | None


async def _link(redis: Redis) -> Look[_Link]:
    pool: Any = redis.connection_pool
    try:
        connection = await pool.get_connection()
    except foreign.RedisError as error:
        return Unseen(f"Redis did not answer: {error}")
    try:
        host, port = getattr(connection, "host", None), getattr(connection, "port", None)
        context = getattr(connection, "ssl_context", None)
    finally:
        await pool.release(connection)
    address = (str(host), int(port)) if host is not None and port is not None else None
    return Seen(_Link(address, None if context is None else context.get()))


async def _certificate_ends_in(link: Look[_Link]) -> Look[float | None]:
    if isinstance(link, Unseen):
        return link
    if link.value.context is None or link.value.address is None:
        return Seen(None)
    return await _handshake(link.value.context, *link.value.address)


async def _handshake(context: ssl.SSLContext, host: str, port: int) -> Look[float | None]:
    """A connection of its own: redis-py shows no certificate of those that it keeps."""
    try:
        async with asyncio.timeout(3):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except (OSError, TimeoutError) as error:
        return Unseen(f"the server's certificate can't be seen ({type(error).__name__})")
    try:
        certificate = cast("dict[str, Any] | None", writer.get_extra_info("peercert"))
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    if not certificate:  # a context that does not verify is told nothing of it
        return Unseen("the server's certificate is not verified (ssl_cert_reqs)")
    return Seen(ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time())
