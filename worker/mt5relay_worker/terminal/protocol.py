"""What the worker and its terminal process say to each other: length-prefixed msgpack frames.

The worker begins with the options; the terminal process says hello, and answers commands.

Everything that runs on the terminal for one visit is one message, so that a slow pipe costs once.
The binding's named tuples do not pickle; results cross as the JSON that the reply will carry.
"""

from __future__ import annotations

import struct
from typing import Any, Literal

import msgspec

from mt5relay_shared.envelopes import ENVELOPE_VERSION
from mt5relay_shared.errors import Mt5Code
from mt5relay_worker.terminal.options import TerminalOptions

MAX_FRAME_BYTES = 64 * 1024 * 1024

_LENGTH = struct.Struct("<I")
LENGTH_BYTES = _LENGTH.size


class Initialize(msgspec.Struct, frozen=True, tag="initialize"):
    """Attach to the terminal, or start it."""

    timeout_ms: int


class Read(msgspec.Struct, frozen=True):
    operation: str
    arguments: dict[str, Any] = {}


class Visit(msgspec.Struct, frozen=True, tag="visit"):
    """Be logged in to an account, verified, and make these reads.

    `envelope` is the sealed credential; it is opened only where `fingerprint` is not known yet.
    A `traced` visit answers `Reading` before each read, so that it is known which one ended the
    process.
    """

    login: int
    server: str
    fingerprint: str
    envelope: bytes
    timeout_ms: int
    reads: list[Read] = []
    traced: bool = False

    def __repr__(self) -> str:
        return f"<Visit {self.login}@{self.server} {[read.operation for read in self.reads]}>"


class Probe(msgspec.Struct, frozen=True, tag="probe"):
    """Ask how the terminal is, without logging in to anything."""


class Forget(msgspec.Struct, frozen=True, tag="forget"):
    """Drop the unsealed credentials of these accounts, as [login, server]."""

    accounts: list[tuple[int, str]]


class Detach(msgspec.Struct, frozen=True, tag="detach"):
    """`shutdown()` of the binding; the terminal itself keeps running."""


class ReadKeys(msgspec.Struct, frozen=True, tag="read_keys"):
    """Read the private keys' file anew; the answer is a `Hello`."""


class Reseal(msgspec.Struct, frozen=True, tag="reseal"):
    """Seal a credential anew, for the current key; the answer is `Resealed`."""

    login: int
    server: str
    envelope: bytes

    def __repr__(self) -> str:
        return f"<Reseal {self.login}@{self.server}>"


class Enrolled(msgspec.Struct, frozen=True, tag="enrolled"):
    """All accounts that have a credential now, as [login, server]: drop what is of others."""

    accounts: list[tuple[int, str]]


Command = Initialize | Visit | Probe | Forget | Detach | ReadKeys | Reseal | Enrolled


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """First words of a new process: the public half of its sealing key, and which keys it holds.

    `warnings` are for the log.
    """

    key_id: str
    public_key: str
    envelope_version: int = ENVELOPE_VERSION
    key_ids: list[str] = []
    warnings: list[str] = []


class Resealed(msgspec.Struct, frozen=True, tag="resealed"):
    """The same credential for the current key."""

    envelope: bytes

    def __repr__(self) -> str:
        return "<Resealed>"


class Initialized(msgspec.Struct, frozen=True, tag="initialized"):
    terminal_build: int | None
    package_version: str | None


class ReadResult(msgspec.Struct, frozen=True):
    """A read ends as exactly one of these: an error is never an empty answer.

    `data` is the JSON of the records; `value` and `empty` have it. `code` is a wire error code.
    """

    kind: Literal["value", "empty", "not_ready", "error"]
    took_ms: float
    data: bytes | None = None
    code: str | None = None
    message: str = ""
    mt5: Mt5Code | None = None


class Reading(msgspec.Struct, frozen=True, tag="reading"):
    """The read of this index is made next; the visit's answer follows."""

    index: int


class Visited(msgspec.Struct, frozen=True, tag="visited"):
    """The visit went through; each read has its own result, in the order of the reads.

    Identity was compared before and after every read that has data. `synchronized` is of the login
    that these reads rest on, be it an earlier visit's. `server_utc_offset` is how many seconds the
    broker server's clock is ahead of UTC, None where that is not known. `sent_at` is the worker's
    own: the loop seconds at which it sent the command.
    """

    login: int
    server: str
    switched: bool
    switch_ms: float
    synchronized: Literal["confirmed", "assumed"]
    results: list[ReadResult]
    sent_at: float = 0.0
    server_utc_offset: int | None = None


class Probed(msgspec.Struct, frozen=True, tag="probed"):
    """`login` is 0 when nobody is logged in. `ping_ms` is the terminal's own last ping."""

    connected: bool
    trade_allowed: bool
    login: int
    server: str
    data_feed_ok: bool
    ping_ms: float
    terminal_build: int | None


class Done(msgspec.Struct, frozen=True, tag="done"):
    pass


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The command as a whole failed; `code` is a wire error code.

    `about_credential` says that it is the credential's own fault, whatever the terminal does.
    """

    code: str
    message: str
    mt5: Mt5Code | None = None
    identity_mismatch: bool = False
    about_credential: Literal["replayed", "trading_rights", "server_name"] | None = None


Answer = Hello | Initialized | Reading | Visited | Probed | Resealed | Done | Failed

_encoder = msgspec.msgpack.Encoder()
command_decoder: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
answer_decoder: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


options_decoder = msgspec.msgpack.Decoder(TerminalOptions)


def frame(message: TerminalOptions | Command | Answer) -> bytes:
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


def frame_length(prefix: bytes) -> int:
    """Read the length of the body that follows.

    Raises:
        ValueError: the peer is not speaking this protocol.
    """
    length = int(_LENGTH.unpack(prefix)[0])
    if length > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {length} bytes; at most {MAX_FRAME_BYTES} are read")
    return length
