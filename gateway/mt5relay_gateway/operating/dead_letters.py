"""Requests given up because they crashed the worker or made no sense."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from mt5relay_gateway.batch import CommandBatch
from mt5relay_shared.accounts import shorten
from mt5relay_shared.decoding import UnreadableError, read_json
from mt5relay_shared.errors import MT5ValidationError, NotFoundError
from mt5relay_shared.ids import new_request_id
from mt5relay_shared.keys import Keys
from mt5relay_shared.messages import Request, decode_request

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
            return read_json(self.error, _Cause)
        except UnreadableError:
            return _Cause(message=self.error.decode(errors="replace"))

    @property
    def buried_at_ms(self) -> int:
        return int(self.entry_id.partition("-")[0])


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


def fresh_copy(letter: DeadLetter) -> Request:
    """The letter's request under a new id, for nobody in particular.

    Raises:
        MT5ValidationError: it can't be read or asks for what does not exist, so asking it again is
            of no use.
    """
    request = decode_request(letter.request)
    request.question()
    return msgspec.structs.replace(request, id=new_request_id(), reply_to=None)
