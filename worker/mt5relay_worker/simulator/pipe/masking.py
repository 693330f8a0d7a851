"""Takes out of frames what is nobody's business, and leaves their form as it was.

Passwords go; logins become numbers from 10000001 on, the same login always the same number; names,
comments, paths and external ids become as many x. What can't be read is withheld as a whole.
Amounts, tickets, symbols and the server's name stay: use an account that you do not mind showing.
"""

from __future__ import annotations

import struct
from typing import Final, cast

from mt5relay_worker.simulator.pipe.codec import (
    Reply,
    Request,
    decode_data,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)
from mt5relay_worker.simulator.pipe.commands import COMMANDS, Code, Shape
from mt5relay_worker.simulator.pipe.errors import CodecError
from mt5relay_worker.simulator.pipe.records import Layout
from mt5relay_worker.simulator.structures import TradeRequest

FIRST_LOGIN: Final = 10_000_001
_PRIVATE: Final = frozenset(
    {"name", "comment", "external_id", "path", "data_path", "commondata_path"}
)
_PUBLIC_NAMES: Final = frozenset({"SymbolInfo", "TerminalInfo"})  # of symbols, of the program
_X: Final = "x".encode("utf-16-le")


class Mask:
    """Masks the frames of one recording."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}

    def __repr__(self) -> str:
        return f"<Mask of {len(self._numbers)} logins>"

    def request(self, frame: bytes) -> bytes | None:
        """The frame as it may be stored; None where it must not be."""
        try:
            request = decode_request(frame)
        except CodecError:
            return None
        if request.command == Code.LOGIN:
            flag, login, _, server = request.parameters
            masked = (flag, self._number(cast("int", login)), "", server)
            return encode_request(Request(Code.LOGIN, masked))
        if request.command in (Code.ORDER_CHECK, Code.ORDER_SEND):
            asked = cast("TradeRequest", request.parameters[0])
            hidden = asked._replace(comment="x" * len(asked.comment))
            return encode_request(Request(request.command, (hidden,)))
        return frame

    def reply(self, frame: bytes) -> bytes | None:
        """The frame as it may be stored; None where it must not be."""
        try:
            reply = decode_reply(frame)
            answer = COMMANDS[reply.command].answer
            if reply.status >= 0:
                decode_data(answer, reply.data)
        except (CodecError, KeyError):
            return None
        if reply.status < 0:
            return encode_reply(Reply(reply.command, reply.status))
        if answer.layout is None:
            return frame
        start = 4 if answer.shape is Shape.LIST else 0
        data = bytearray(reply.data)
        for at in range(start, len(data), answer.layout.size):
            self._hide(answer.layout, data, at)
        return encode_reply(Reply(reply.command, reply.status, bytes(data)))

    def _hide(self, layout: Layout, data: bytearray, record: int) -> None:
        for name, kind, offset, width in layout.places():
            start, end = record + offset, record + offset + width
            if layout.name == "AccountInfo" and name == "login":
                (login,) = struct.unpack_from("<Q", data, start)
                struct.pack_into("<Q", data, start, self._number(login))
            elif kind.startswith("text"):
                is_private = name in _PRIVATE and not _is_public(layout.name, name)
                data[start:end] = _crossed_out(bytes(data[start:end]), all_of_it=is_private)

    def _number(self, login: int) -> int:
        """0 is nobody, and stays so."""
        if login == 0:
            return 0
        return self._numbers.setdefault(login, FIRST_LOGIN + len(self._numbers))


def _is_public(layout: str, field: str) -> bool:
    return layout in _PUBLIC_NAMES and (field == "name" or layout == "SymbolInfo")


def _crossed_out(slot: bytes, *, all_of_it: bool) -> bytes:
    """What stands behind the NUL is memory that nobody meant to send: that always goes."""
    units = [slot[at : at + 2] for at in range(0, len(slot), 2)]
    end = units.index(b"\0\0") if b"\0\0" in units else len(units)
    first = 0 if all_of_it else end
    return b"".join(unit if at < first or unit == b"\0\0" else _X for at, unit in enumerate(units))
