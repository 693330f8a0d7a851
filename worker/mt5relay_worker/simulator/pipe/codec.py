"""Frames of the terminal's pipe, both ways, without a pipe.

A request is u32 length of the rest, u32 command, parameters; a reply is u32 length of the rest,
u32 command, i32 status, data. Little-endian, packed; a text is u32 count of UTF-16 units and the
units. Bytes that make no sense raise CodecError, and nothing is made as large as a length in them
says before so many bytes have come.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from mt5relay_worker.simulator.pipe.commands import COMMANDS, Answer, Code, Kind, Shape
from mt5relay_worker.simulator.pipe.errors import CodecError
from mt5relay_worker.simulator.pipe.records import TRADE_REQUEST, Layout, Value
from mt5relay_worker.simulator.structures import TradeRequest

MAX_REQUEST_BYTES: Final = 64 * 1024
SUCCESS: Final = 1
_LENGTH = struct.Struct("<I")
_REPLY = struct.Struct("<IIi")
_FORMATS: Final = {
    Kind.U8: struct.Struct("<B"),
    Kind.U32: struct.Struct("<I"),
    Kind.I64: struct.Struct("<q"),
    Kind.U64: struct.Struct("<Q"),
    Kind.F64: struct.Struct("<d"),
}

Parameter = int | float | str | TradeRequest


@dataclass(frozen=True, slots=True)
class Request:
    """A command and its parameters; `repr` shows no parameter, since one may be a password."""

    command: int
    parameters: tuple[Parameter, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """A status, at least 0 for success or an error code of the package, and data."""

    command: int
    status: int
    data: bytes = field(default=b"", repr=False)


class ParametersError(CodecError):
    """A command came with parameters that are not its own."""

    def __init__(self, command: int, reason: str) -> None:
        super().__init__(f"command {command}: {reason}")
        self.command = command


class UnknownCommandError(CodecError):
    """A command that nothing is known of."""

    def __init__(self, command: int) -> None:
        super().__init__(f"command {command} is not known")
        self.command = command


# -- frames ---------------------------------------------------------------------------------------


class FrameBuffer:
    """Puts together what comes in pieces."""

    def __init__(self, limit: int = MAX_REQUEST_BYTES) -> None:
        self._limit = limit
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Add bytes; gives the frames that are complete, with their length.

        Raises:
            CodecError: a length below that of a command or above the limit. What follows can't be
                read: close the pipe.
        """
        self._bytes += data
        while (frame := self._take()) is not None:
            yield frame

    def _take(self) -> bytes | None:
        if len(self._bytes) < _LENGTH.size:
            return None
        (rest,) = _LENGTH.unpack_from(self._bytes)
        if not _LENGTH.size <= rest <= self._limit:
            raise CodecError(f"a frame of {rest} bytes")
        end = _LENGTH.size + rest
        if len(self._bytes) < end:
            return None
        frame = bytes(self._bytes[:end])
        del self._bytes[:end]
        return frame

    def __repr__(self) -> str:
        return f"<FrameBuffer with {len(self._bytes)} bytes>"


def _rest(frame: bytes, least: int) -> bytes:
    """A frame without its length, which is checked."""
    if len(frame) < _LENGTH.size + least or _LENGTH.unpack_from(frame)[0] != len(frame) - 4:
        raise CodecError("a frame's length is not what it says")
    return frame[_LENGTH.size :]


def _framed(rest: bytes) -> bytes:
    return _LENGTH.pack(len(rest)) + rest


# -- requests -------------------------------------------------------------------------------------


def decode_request(frame: bytes) -> Request:
    """Read a whole frame.

    Raises:
        UnknownCommandError: the command is none of `COMMANDS`.
        ParametersError: its parameters are not what it takes.
        CodecError: it is no frame.
    """
    rest = _rest(frame, _LENGTH.size)
    (command,) = _LENGTH.unpack_from(rest)
    if command not in COMMANDS:
        raise UnknownCommandError(command)
    reader = _Reader(rest[_LENGTH.size :])
    try:
        parameters = tuple(reader.take(kind) for kind in COMMANDS[command].parameters)
        reader.finish()
    except CodecError as error:
        raise ParametersError(command, str(error)) from None
    return Request(command, parameters)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, kind: Kind) -> Parameter:
        if kind is Kind.TEXT:
            return self._text()
        if kind is Kind.TRADE_REQUEST:
            found = TRADE_REQUEST.decode(self._bytes(TRADE_REQUEST.size))
            return TradeRequest(**cast("dict[str, Any]", dict(found)))
        form = _FORMATS[kind]
        return cast("int | float", form.unpack(self._bytes(form.size))[0])

    def _text(self) -> str:
        (units,) = _LENGTH.unpack(self._bytes(_LENGTH.size))
        try:
            return self._bytes(units * 2).decode("utf-16-le")
        except UnicodeError:
            raise CodecError("a text is not UTF-16") from None

    def _bytes(self, count: int) -> bytes:
        if count > len(self._data) - self._at:
            raise CodecError("it ends too early")
        self._at += count
        return self._data[self._at - count : self._at]

    def finish(self) -> None:
        if self._at != len(self._data):
            raise CodecError("it has more than its parameters")


def encode_request(request: Request) -> bytes:
    """The frame of a request, as the package sends it.

    Raises:
        CodecError: the command is not known, or a parameter does not fit.
    """
    if request.command not in COMMANDS:
        raise UnknownCommandError(request.command)
    kinds = COMMANDS[request.command].parameters
    if len(kinds) != len(request.parameters):
        raise ParametersError(request.command, f"{len(kinds)} parameters are needed")
    given = zip(kinds, request.parameters, strict=True)
    rest = b"".join(_encode_parameter(kind, value) for kind, value in given)
    return _framed(_LENGTH.pack(request.command) + rest)


def _encode_parameter(kind: Kind, value: Parameter) -> bytes:
    if kind is Kind.TRADE_REQUEST:
        return TRADE_REQUEST.encode(value)
    try:
        if kind is Kind.TEXT:
            return encode_text(cast("str", value))
        return _FORMATS[kind].pack(value)
    except (AttributeError, UnicodeError, struct.error):
        raise CodecError(f"a parameter is no {kind.name}") from None


def encode_text(text: str) -> bytes:
    units = text.encode("utf-16-le")
    return _LENGTH.pack(len(units) // 2) + units


# -- replies --------------------------------------------------------------------------------------


def encode_reply(reply: Reply) -> bytes:
    """The frame of a reply. It must reach the pipe in one write."""
    return _REPLY.pack(8 + len(reply.data), reply.command, reply.status) + reply.data


def decode_reply(frame: bytes) -> Reply:
    """Read a whole frame.

    Raises:
        CodecError: it is no frame of a reply.
    """
    _rest(frame, 8)
    _, command, status = _REPLY.unpack_from(frame)
    return Reply(command, status, frame[_REPLY.size :])


def encode_data(answer: Answer, found: object) -> bytes:
    """What a function of the package returned, as data of a reply.

    Raises:
        CodecError: it has not the form that the command answers in.
    """
    try:
        match answer.shape:
            case Shape.NOTHING:
                return b""
            case Shape.U32:
                return _LENGTH.pack(found)
            case Shape.F64:
                return struct.pack("<d", found)
            case Shape.VERSION:
                version, build, released = cast("tuple[int, int, str]", found)
                return struct.pack("<II", version, build) + encode_text(released)
            case Shape.RECORD:
                return _layout(answer).encode(found)
            case Shape.LIST:
                return _layout(answer).encode_list(cast("Collection[object]", found))
    except (AttributeError, TypeError, ValueError, struct.error) as error:
        raise CodecError(f"an answer is no {answer.shape.name}: {error}") from error


def decode_data(
    answer: Answer, data: bytes
) -> (
    int | float | tuple[int, int, str] | Mapping[str, Value] | Sequence[Mapping[str, Value]] | None
):
    """The data of a successful reply; None where there is none, records as mappings.

    Raises:
        CodecError: it has not the form that the command answers in.
    """
    reader = _Reader(data)
    found: Any = None
    match answer.shape:
        case Shape.NOTHING:
            pass
        case Shape.U32:
            found = reader.take(Kind.U32)
        case Shape.F64:
            found = reader.take(Kind.F64)
        case Shape.VERSION:
            found = (reader.take(Kind.U32), reader.take(Kind.U32), reader.take(Kind.TEXT))
        case Shape.RECORD:
            return _layout(answer).decode(data)
        case Shape.LIST:
            return _layout(answer).decode_list(data)
    reader.finish()
    return found  # type: ignore[no-any-return]


def _layout(answer: Answer) -> Layout:
    if answer.layout is None:
        raise CodecError("an answer with records needs their layout")
    return answer.layout


HELLO_FROM_PACKAGE: Final = Request(Code.HELLO, (3, "Python"))
