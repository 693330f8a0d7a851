"""A recording of the pipe: one JSON object a line, and what the codec makes of it.

    {"direction":"request","command":190,"at_ms":12.3,"client":1,"frame":"04000000be000000","bytes":8}

`frame` is hexadecimal and masked, or null where it could not be masked; `bytes` is the length
of what is stored, or else of what was withheld.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Literal

import msgspec

from mt5relay_worker.simulator.pipe.codec import (
    Reply,
    decode_data,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)
from mt5relay_worker.simulator.pipe.commands import COMMANDS, Answer, Shape
from mt5relay_worker.simulator.pipe.errors import CodecError
from mt5relay_worker.simulator.pipe.masking import Mask


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One frame of a recording. `at_ms` counts from its beginning."""

    direction: Literal["request", "reply"]
    command: int
    at_ms: float
    client: int
    frame: str | None
    bytes: int


class Recorder:
    """Writes masked frames. Times are seconds of any clock."""

    def __init__(self, out: IO[bytes], began: float) -> None:
        self._out = out
        self._began = began
        self._mask = Mask()

    def __repr__(self) -> str:
        return f"<Recorder, {self._mask!r}>"

    def request(self, client: int, frame: bytes, now: float) -> None:
        self._write("request", client, frame, self._mask.request(frame), now)

    def reply(self, client: int, frame: bytes, now: float) -> None:
        self._write("reply", client, frame, self._mask.reply(frame), now)

    def _write(
        self,
        direction: Literal["request", "reply"],
        client: int,
        frame: bytes,
        masked: bytes | None,
        now: float,
    ) -> None:
        entry = Entry(
            direction,
            int.from_bytes(frame[4:8], "little"),
            round((now - self._began) * 1000, 3),
            client,
            None if masked is None else masked.hex(),
            len(
                frame if masked is None else masked
            ),  # the whole one would tell a password's length
        )
        self._out.write(msgspec.json.encode(entry) + b"\n")
        self._out.flush()


@dataclass(frozen=True, slots=True)
class Doubt:
    """A frame that the codec does not give back as it was."""

    line: int
    why: str


def read_recording(lines: Iterable[bytes]) -> Iterator[Entry]:
    """Raises msgspec.DecodeError where a line is no entry."""
    return (msgspec.json.decode(line, type=Entry) for line in lines)


def replay(entries: Iterable[Entry]) -> Iterator[Doubt]:
    """Decode every frame, encode it again, and tell where the bytes differ."""
    for line, entry in enumerate(entries, 1):
        if entry.frame is None:
            yield Doubt(line, f"command {entry.command}: withheld, it could not be read")
            continue
        try:
            frame = bytes.fromhex(entry.frame)
            again = _again_request(frame) if entry.direction == "request" else _again_reply(frame)
        except (CodecError, KeyError) as error:
            yield Doubt(line, f"command {entry.command}: {error}")
            continue
        if again != frame:
            yield Doubt(line, f"command {entry.command}: {_first_difference(frame, again)}")


def _again_request(frame: bytes) -> bytes:
    return encode_request(decode_request(frame))


def _again_reply(frame: bytes) -> bytes:
    reply = decode_reply(frame)
    if reply.status < 0:
        return encode_reply(reply)
    answer = COMMANDS[reply.command].answer
    return encode_reply(Reply(reply.command, reply.status, _again_data(answer, reply.data)))


def _again_data(answer: Answer, data: bytes) -> bytes:
    found = decode_data(answer, data)
    if answer.layout is None or answer.shape is Shape.VERSION:
        return data
    records = found if isinstance(found, list) else [found]
    encoded = b"".join(answer.layout.encode(_Fields(record)) for record in records)
    return data[:4] + encoded if answer.shape is Shape.LIST else encoded


class _Fields:
    def __init__(self, record: object) -> None:
        self.__dict__.update(record)  # type: ignore[call-overload]


def _first_difference(frame: bytes, again: bytes) -> str:
    if len(frame) != len(again):
        return f"{len(frame)} bytes become {len(again)}"
    at = next(at for at, (one, other) in enumerate(zip(frame, again, strict=True)) if one != other)
    return f"byte {at} is {frame[at]:#04x}, encoded again {again[at]:#04x}"
