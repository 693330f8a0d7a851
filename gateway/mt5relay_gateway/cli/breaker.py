"""`mt5relay breaker`: tell the running worker to close its breaker, or to try the terminal now."""

from __future__ import annotations

import asyncio

import msgspec
from cyclopts import App

from mt5relay_gateway.batch import CommandBatch
from mt5relay_gateway.cli.connection import redis_commands
from mt5relay_gateway.cli.event_stream import EventStream
from mt5relay_gateway.cli.exits import CommandError
from mt5relay_gateway.composing import timeout_as_ms
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_shared.errors import DeadlineExceededError, NoWorkerError
from mt5relay_shared.ids import new_request_id
from mt5relay_shared.keys import Keys
from mt5relay_shared.operator import CommandName, Event, OperatorCommand
from mt5relay_shared.settings import load_settings

KEPT_COMMANDS = 100  # about

app = App(name="breaker", help="Close the worker's circuit breaker, or let it try the terminal.")


@app.command
async def reset(*, timeout: float = 10.0) -> None:
    """Close the breaker: the next request goes to the terminal.

    Args:
        timeout: Seconds to wait until the worker has obeyed.
    """
    await _command("breaker.reset", timeout)


@app.command
async def probe(*, timeout: float = 10.0) -> None:
    """Let the open breaker try the terminal now instead of later.

    Args:
        timeout: Seconds to wait until the worker has obeyed.
    """
    await _command("breaker.probe", timeout)


async def _command(name: CommandName, timeout: float) -> None:
    timeout_as_ms(timeout)
    settings = load_settings(GatewaySettings)
    async with redis_commands(settings) as redis:
        outcome = await obeyed(redis, settings.keys, name, timeout)
    message = outcome.message or outcome.result or ""
    if outcome.result != "ok":
        raise CommandError(f"{name}: {message}")
    print(f"{name}: {message}")


async def obeyed(redis: CommandBatch, keys: Keys, name: CommandName, timeout: float) -> Event:
    """Send a command and return the event in which the worker says what came of it.

    Raises:
        NoWorkerError: nobody would obey.
        DeadlineExceededError: nobody did within `timeout` seconds.
    """
    if not await redis.call("EXISTS", keys.lease):
        raise NoWorkerError(f"no worker lives for terminal {keys.terminal}; start one first")
    events = EventStream(redis, keys)
    cursor = (await events.last(1)).cursor
    command = OperatorCommand(new_request_id(), name)
    await redis.call(
        *("XADD", keys.commands, "MAXLEN", "~", KEPT_COMMANDS, "*"),
        *("command", msgspec.json.encode(command)),
    )
    try:
        async with asyncio.timeout(timeout):
            return await _answer(events, cursor, command.id)
    except TimeoutError:
        raise DeadlineExceededError(
            f"{name}: the worker did not say within {timeout:g} s that it obeyed; it still may:"
            " see `mt5relay events`"
        ) from None


async def _answer(events: EventStream, cursor: str, command_id: str) -> Event:
    while True:
        page = await events.after(cursor)
        for event in page.events:
            if event.kind == "command" and event.id == command_id:
                return event
        cursor = page.cursor
