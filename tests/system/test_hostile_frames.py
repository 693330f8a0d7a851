"""Whatever the terminal process says, the worker ends it and goes on: a real process each time."""

from __future__ import annotations

import struct
import sys

import pytest

from mt5relay_shared.errors import MT5InitError
from mt5relay_worker.terminal.options import TerminalOptions
from mt5relay_worker.terminal.process import TerminalProcess
from mt5relay_worker.terminal.protocol import MAX_FRAME_BYTES

pytestmark = pytest.mark.integration

SAYS = "import sys; sys.stdout.buffer.write(bytes.fromhex(sys.argv[1])); sys.stdout.flush()"
OPTIONS = {
    name: "simulated" if name == "terminal" else "off" if name == "journal" else "x"
    for name in TerminalOptions.__struct_fields__
}


def framed(body: bytes) -> bytes:
    return struct.pack("<I", len(body)) + body


HOSTILE = {
    "nothing": b"",
    "half a prefix": b"\x01\x00",
    "half a frame": struct.pack("<I", 100) + b"\x80",
    "a frame above the limit": struct.pack("<I", MAX_FRAME_BYTES + 1),
    "a frame of 4 GB": b"\xff\xff\xff\xff",
    "no msgpack": framed(b"\xc1\xc1\xc1"),
    "another kind of message": framed(b"\x81\xa4type\xa5visit"),
    "a text that is no UTF-8": framed(b"\x81\xa4type\xa1\xff"),
    "a map of four billion fields": framed(b"\xdf\xff\xff\xff\xff"),
    "what is nested too deeply": framed(b"\x81\xa4type" + b"\x91" * 3_000),
    "what a library printed": b"Warning: something is deprecated\n",
}


@pytest.mark.parametrize("said", HOSTILE.values(), ids=HOSTILE)
async def test_a_process_that_says_what_it_must_not_is_ended(said: bytes) -> None:
    options = TerminalOptions(**OPTIONS)  # type: ignore[arg-type] # the process does not read them
    command = (sys.executable, "-c", SAYS, said.hex())
    process = TerminalProcess(options, start_limit=20.0, command=command)
    with pytest.raises(MT5InitError) as failed:
        await process.start()
    assert len(failed.value.message) < 200
    assert not process.is_running
