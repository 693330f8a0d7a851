"""What comes from the terminal: its journal, and the frames of the process that holds it."""

from __future__ import annotations

import atexit
import itertools
import tempfile
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from tests.fuzz.mutating import hostile_bytes
from tests.fuzz.target import ALICE, BOB, Target, check_said

from mt5relay_worker.terminal import protocol
from mt5relay_worker.terminal.journal import Journal
from mt5relay_worker.terminal.journal_lines import MAX_LINE, MAX_REASON, Refused, parse_line

NOON = datetime.fromisoformat("2026-03-27T12:00:00")

# The journal

SAID = (
    "authorized on MetaQuotes-Demo through Access Point DE 1 (ping: 31.50 ms, build 5100)",
    "authorization on MetaQuotes-Demo failed (Invalid account)",
    "authorization on MetaQuotes-Demo failed",
    "no connection to MetaQuotes-Demo",
    "terminal synchronized with MetaQuotes Ltd: 2 positions, 1 order, 50 symbols, 0 spreads",
    "terminal synchronized with MetaQuotes Ltd: 99999999999 positions, 0 orders",
    "trading has been enabled - hedging mode",
    "authorized on " + "through " * 300,
    "authorization on " + " failed (" * 220 + ")" * 20,
    "terminal synchronized with " + ": 1 positions, " * 130,
)
ENCODINGS = ("utf-16-le", "utf-16-le", "utf-16-be", "utf-8")
Pieces = Sequence[bytes]


def _journal_line(random: Random) -> str:
    login = random.choice((str(ALICE.login), str(BOB.login), "0", "9" * 19, "9" * 30, ""))
    at = random.choice(("12:00:00.000", "11:59:59.999", "25:61:61.000", "12:00", "-1:00:00.000"))
    source = random.choice(("Network", "Network", "Network", "Terminal", ""))
    end = random.choice(("\r\n", "\r\n", "\n", "\r", "\0\r\n", "", "\u2028"))
    return f"AB\t{random.randint(0, 11)}\t{at}\t{source}\t'{login}': {random.choice(SAID)}{end}"


def make_journal(random: Random) -> Pieces:
    """A file as it grows: torn anywhere, lines of others, of all kinds and encodings."""
    text = "".join(_journal_line(random) for _ in range(random.randint(0, 12)))
    if random.randrange(4) == 0:
        text = text[: random.randint(0, len(text))] + random.choice(
            ("x" * 5_000, "\0" * 50, "\t" * 9)
        )
    body = (random.choice(("\ufeff", "")) + text).encode(random.choice(ENCODINGS))
    if random.randrange(2):
        body = hostile_bytes(random, body)
    cuts = sorted(random.randint(0, len(body)) for _ in range(random.randint(0, 4)))
    bounds = [0, *cuts, len(body)]
    return [body[start:end] for start, end in itertools.pairwise(bounds)]


def check_journal(pieces: Pieces) -> None:
    """However the file grew, the same is read of it, and nothing that is no line of a login."""
    torn, whole = _read(pieces), _read([b"".join(pieces)])
    if not _begins_short(pieces):
        assert torn == whole
    for at, login, said in whole:
        assert at.date() == NOON.date()
        assert 0 <= login < 10**19
        if isinstance(said, Refused):
            assert len(said.reason) <= MAX_REASON
            assert said.reason == "" or said.reason.isprintable()


def _begins_short(pieces: Pieces) -> bool:
    """By fewer than two bytes no encoding can be told; the journal waits for more of them."""
    return any(0 < len(b"".join(pieces[:count])) < 3 for count in range(1, len(pieces)))


def _read(pieces: Pieces) -> list[tuple[datetime, int, Any]]:
    path = _folder() / "20260327.log"
    path.unlink(missing_ok=True)
    journal = Journal(path.parent, now=lambda: NOON)
    journal.skip()
    said: list[tuple[datetime, int, Any]] = []
    for piece in pieces:
        with path.open("ab") as file:
            file.write(piece)
        said += journal.read()
    return said


@cache
def _folder() -> Path:
    """One for all, which goes with the process: making one takes longer than reading."""
    made = tempfile.TemporaryDirectory()
    atexit.register(made.cleanup)
    return Path(made.name)


def make_line(random: Random) -> str:
    return hostile_bytes(random, _journal_line(random).encode()).decode("utf-8", "replace")


def check_line(text: str) -> None:
    """Nothing, or what was said of a login; long lines are none."""
    found = parse_line(text)
    if found is not None:
        assert len(text) <= MAX_LINE
        assert 0 <= found.login < 10**19
        assert f"{found.login}'" in text


# Frames

VISIT = protocol.Visit(
    ALICE.login, ALICE.server, "f" * 32, b"{}", 5_000, [protocol.Read("positions")]
)
RESULT = protocol.ReadResult("value", 1.5, b"[]")
VISITED = protocol.Visited(ALICE.login, ALICE.server, True, 3.5, "confirmed", [RESULT])
FRAMES = (
    protocol.frame(VISIT),
    protocol.frame(protocol.Probe()),
    protocol.frame(VISITED),
    protocol.frame(protocol.Done()),
)
_PACKED = (
    *(b"\x91" * 3_000, b"\x81\xa1x" * 2_000, b"\xdf\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff"),
    *(b"\xdb\xff\xff\xff\xff", b"\xc1", b"\xcb\x7f\xf8" + bytes(6), b"\xcf" + b"\xff" * 8),
    *(b"\xc7\x00\x01", b"\xd6\xff\xff\xff\xff\xff", b"\xa1\xff", b""),
)


def make_frame(random: Random) -> bytes:
    frame = random.choice(FRAMES)
    if random.randrange(3):
        return hostile_bytes(random, frame)
    at = random.randint(protocol.LENGTH_BYTES, len(frame))
    return frame[:at] + random.choice(_PACKED) + frame[at:]


def check_frame(frame: bytes) -> None:
    """A message of the protocol or an error that ends the process; no endless wait is asked for."""
    prefix, body = frame[: protocol.LENGTH_BYTES], frame[protocol.LENGTH_BYTES :]
    if len(prefix) == protocol.LENGTH_BYTES:
        try:
            assert 0 <= protocol.frame_length(prefix) <= protocol.MAX_FRAME_BYTES
        except ValueError as error:
            check_said(error, "a frame of ")
    for decoder in (protocol.command_decoder, protocol.answer_decoder, protocol.options_decoder):
        try:
            message = decoder.decode(body)
        except (ValueError, RecursionError):
            continue
        assert isinstance(message, msgspec.Struct)


TARGETS = (
    Target("journal", make_journal, check_journal),
    Target("journal-line", make_line, check_line),
    Target("frame", make_frame, check_frame),
)
