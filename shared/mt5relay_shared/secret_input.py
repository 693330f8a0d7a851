"""A secret that arrives as a line of standard input, in whatever encoding a shell pipes."""

from __future__ import annotations

import codecs
from typing import BinaryIO

from mt5relay_shared.accounts import MAX_PASSWORD_UNITS
from mt5relay_shared.errors import MT5ValidationError

LONGEST_LINE = 8 * MAX_PASSWORD_UNITS  # bytes; more can only be the wrong file


def read_secret_line(stream: BinaryIO) -> str:
    """Read one line without its end, and without the byte order mark that Windows PowerShell pipes.

    UTF-8, or UTF-16 where its byte order mark says so. A mark that became a part of a password
    would be enrolled, refused by the broker, and lock the account out.

    Raises:
        MT5ValidationError: the line is in another encoding. Never quotes it.
    """
    line = stream.readline(LONGEST_LINE)
    try:
        if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            # A byte 0x0A ends the line for `readline`, but may be half of another character.
            text, _, _ = (line + stream.read(LONGEST_LINE)).decode("utf-16").partition("\n")
        else:
            text = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise MT5ValidationError(
            "standard input: the line is not UTF-8; in PowerShell set"
            " $OutputEncoding = [Text.UTF8Encoding]::new() before the pipe, or type the password"
        ) from None
    return text.rstrip("\r\n")
