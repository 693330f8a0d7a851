"""`mt5relay dead`: requests given up because they crashed the worker or made no sense."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec
from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.table import Table

from mt5relay_gateway.batch import CommandBatch
from mt5relay_gateway.cli.connection import redis_commands
from mt5relay_gateway.cli.output import AsJson, print_json, print_view, printable, utc_text
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_gateway.submitter import Submitter
from mt5relay_shared.accounts import shorten
from mt5relay_shared.errors import MT5ValidationError, NotFoundError
from mt5relay_shared.ids import new_request_id
from mt5relay_shared.keys import Keys
from mt5relay_shared.messages import Request, decode_request
from mt5relay_shared.settings import load_settings

app = App(name="dead", help="Look at requests that were given up; ask them again or drop them.")

_ENTRY_ID = re.compile(r"\d{1,20}-\d{1,20}\Z", re.ASCII)


class _Cause(msgspec.Struct, frozen=True):
    code: str = ""
    message: str = ""


@dataclass(frozen=True)
class DeadLetter:
    """One entry of the dead-letter stream; `request` is the body as it came."""

    entry_id: str
    request: bytes
    error: bytes
    deliveries: int

    @property
    def cause(self) -> _Cause:
        try:
            return msgspec.json.decode(self.error, type=_Cause)
        except msgspec.DecodeError:
            return _Cause(message=self.error.decode(errors="replace"))

    @property
    def buried_at_ms(self) -> int:
        return int(self.entry_id.partition("-")[0])

    def fields(self) -> dict[str, object]:
        """For a program; the request as text, since it may be no JSON at all."""
        return {
            "entry_id": self.entry_id,
            "buried_at": utc_text(self.buried_at_ms),
            "deliveries": self.deliveries,
            "error": {"code": self.cause.code, "message": self.cause.message},
            "request": self.request.decode(errors="replace"),
        }


class DeadLetters:
    """The dead-letter stream of one terminal."""

    def __init__(self, redis: CommandBatch, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def newest(self, count: int) -> list[DeadLetter]:
        entries = await self._redis.call("XREVRANGE", self._keys.dead, "+", "-", "COUNT", count)
        return [_letter(entry_id, fields) for entry_id, fields in entries]

    async def get(self, entry_id: str) -> DeadLetter:
        """One letter.

        Raises:
            NotFoundError: there is none with this id.
        """
        entries = await self._redis.call(
            "XRANGE", self._keys.dead, _checked(entry_id), entry_id, "COUNT", 1
        )
        if not entries:
            raise _no_letter(entry_id)
        return _letter(*entries[0])

    async def drop(self, entry_id: str) -> None:
        """Remove one letter. Raises as `get` does."""
        if not await self._redis.call("XDEL", self._keys.dead, _checked(entry_id)):
            raise _no_letter(entry_id)


def _letter(entry_id: bytes, fields: Mapping[bytes, bytes]) -> DeadLetter:
    deliveries = fields.get(b"deliveries", b"")
    return DeadLetter(
        entry_id.decode(),
        fields.get(b"request", b""),
        fields.get(b"error", b""),
        int(deliveries) if deliveries.isdigit() else 0,
    )


def _checked(entry_id: str) -> str:
    if not _ENTRY_ID.match(entry_id):
        raise MT5ValidationError(
            f"ENTRY_ID: {shorten(entry_id)!r} is not of the form 1718000000000-0;"
            " see `mt5relay dead list`"
        )
    return entry_id


def _no_letter(entry_id: str) -> NotFoundError:
    return NotFoundError(f"no dead letter {entry_id}; see `mt5relay dead list`")


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
            print_json(letter.fields())
    elif letters:
        print_view(_table(letters))
    else:
        print("no dead letters")


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
    print_json(letter.fields())


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


def fresh_copy(letter: DeadLetter) -> Request:
    """The letter's request under a new id, for nobody in particular.

    Raises:
        MT5ValidationError: it can't be read or asks for what does not exist, so asking it again is
            of no use.
    """
    request = decode_request(letter.request)
    request.question()
    return msgspec.structs.replace(request, id=new_request_id(), reply_to=None)


async def _submit(redis: CommandBatch, settings: GatewaySettings, request: Request) -> None:
    submitter = Submitter(redis, settings.keys, queue_limit=settings.queue_limit)
    now = asyncio.get_running_loop().time()
    await submitter.submit(request, now + settings.request_timeout)
