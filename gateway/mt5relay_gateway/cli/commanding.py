"""Tells the running worker something and waits until it says what came of it."""

from __future__ import annotations

import asyncio

import msgspec

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


async def command_worker(name: CommandName, timeout: float, account: str | None = None) -> None:
    """Send a command, wait `timeout` seconds at most, and print what the worker says."""
    timeout_as_ms(timeout)
    settings = load_settings(GatewaySettings)
    command = OperatorCommand(new_request_id(), name, account)
    async with redis_commands(settings) as redis:
        outcome = await obeyed(redis, settings.keys, command, timeout)
    message = outcome.message or outcome.result or ""
    if outcome.result != "ok":
        raise CommandError(f"{name}: {message}")
    print(f"{name}: {message}")


async def obeyed(
    redis: CommandBatch, keys: Keys, command: OperatorCommand, timeout: float
) -> Event:
    """Send a command and return the event in which the worker says what came of it.

    Raises:
        NoWorkerError: nobody would obey.
        DeadlineExceededError: nobody did within `timeout` seconds.
    """
    if not await redis.call("EXISTS", keys.lease):
        raise NoWorkerError(f"no worker lives for terminal {keys.terminal}; start one first")
    events = EventStream(redis, keys)
    cursor = (await events.last(1)).cursor
    await redis.call(
        *("XADD", keys.commands, "MAXLEN", "~", KEPT_COMMANDS, "*"),
        *("command", msgspec.json.encode(command)),
    )
    try:
        async with asyncio.timeout(timeout):
            return await _answer(events, cursor, command.id)
    except TimeoutError:
        raise DeadlineExceededError(
            f"{command.command}: the worker did not say within {timeout:g} s that it obeyed;"
            " it still may: see `mt5relay events`"
        ) from None


async def _answer(events: EventStream, cursor: str, command_id: str) -> Event:
    while True:
        page = await events.after(cursor)
        for event in page.events:
            if event.kind == "command" and event.id == command_id:
                return event
        cursor = page.cursor
