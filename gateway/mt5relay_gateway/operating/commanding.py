"""Tells the running worker something and waits until it says what came of it."""

from __future__ import annotations

import asyncio

import msgspec

from mt5relay_gateway.batch import CommandBatch
from mt5relay_gateway.operating.event_stream import EventStream
from mt5relay_shared.errors import DeadlineExceededError, NoWorkerError
from mt5relay_shared.keys import Keys
from mt5relay_shared.operator import Event, OperatorCommand

KEPT_COMMANDS = 100  # about


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
