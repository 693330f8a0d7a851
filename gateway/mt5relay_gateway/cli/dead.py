"""`mt5relay dead`: requests given up because they crashed the worker or made no sense."""

from __future__ import annotations

import asyncio
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.table import Table

from mt5relay_gateway.batch import CommandBatch
from mt5relay_gateway.cli.output import AsJson, print_json, print_view, printable, utc_text
from mt5relay_gateway.operating.connection import redis_commands
from mt5relay_gateway.operating.dead_letters import DeadLetter, DeadLetters, fresh_copy
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_gateway.submitter import Submitter
from mt5relay_shared.accounts import shorten
from mt5relay_shared.messages import Request
from mt5relay_shared.settings import load_settings

app = App(name="dead", help="Look at requests that were given up; ask them again or drop them.")


@app.command(name="list")
async def list_letters(
    *,
    last: Annotated[int, Parameter(validator=Number(gte=1, lte=10_000))] = 50,
    as_json: AsJson = False,
) -> None:
    """List dead letters, newest first.

    Args:
        last: How many, at most 10000.
        as_json: Print JSON, one letter a line.
    """
    settings = load_settings(GatewaySettings)
    async with redis_commands(settings) as redis:
        letters = await DeadLetters(redis, settings.keys).newest(last)
    if as_json:
        for letter in letters:
            print_json(_fields(letter))
    elif letters:
        print_view(_table(letters))
    else:
        print("no dead letters")


def _fields(letter: DeadLetter) -> dict[str, object]:
    """For a program; the request as text, since it may be no JSON at all."""
    return {
        "entry_id": letter.entry_id,
        "buried_at": utc_text(letter.buried_at_ms),
        "deliveries": letter.deliveries,
        "error": {"code": letter.cause.code, "message": letter.cause.message},
        "request": letter.request.decode(errors="replace"),
    }


def _table(letters: list[DeadLetter]) -> Table:
    table = Table("entry id", "buried at", "deliveries", "error", "request")
    for letter in letters:
        table.add_row(
            letter.entry_id,
            utc_text(letter.buried_at_ms),
            str(letter.deliveries),
            printable(letter.cause.code),
            printable(shorten(letter.request.decode(errors="replace"))),
        )
    return table


@app.command
async def show(entry_id: str, /) -> None:
    """Show one dead letter in full, as JSON.

    Args:
        entry_id: As `mt5relay dead list` shows it.
    """
    settings = load_settings(GatewaySettings)
    async with redis_commands(settings) as redis:
        letter = await DeadLetters(redis, settings.keys).get(entry_id)
    print_json(_fields(letter))


@app.command
async def drop(entry_id: str, /) -> None:
    """Remove one dead letter.

    Args:
        entry_id: As `mt5relay dead list` shows it.
    """
    settings = load_settings(GatewaySettings)
    async with redis_commands(settings) as redis:
        await DeadLetters(redis, settings.keys).drop(entry_id)
    print(f"dropped {entry_id}")


@app.command
async def replay(entry_id: str, /) -> None:
    """Ask the request of a dead letter again under a new id, and drop the letter.

    Its reply is kept for a minute past its timeout, under the id that is printed.

    Args:
        entry_id: As `mt5relay dead list` shows it.
    """
    settings = load_settings(GatewaySettings)
    async with redis_commands(settings) as redis:
        letters = DeadLetters(redis, settings.keys)
        request = fresh_copy(await letters.get(entry_id))
        await _submit(redis, settings, request)
        await letters.drop(entry_id)  # last: a letter asked twice is better than one lost
    print(f"asked {request.operation} of {request.account} again as {request.id}")


async def _submit(redis: CommandBatch, settings: GatewaySettings, request: Request) -> None:
    submitter = Submitter(redis, settings.keys, queue_limit=settings.queue_limit)
    now = asyncio.get_running_loop().time()
    await submitter.submit(request, now + settings.request_timeout)
