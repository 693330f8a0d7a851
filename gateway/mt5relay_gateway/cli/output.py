"""What commands print: JSON lines for programs, tables for people."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Console, RenderableType

PIPE_WIDTH = 200  # columns; a pipe has none, and tables cut to 80 would lose figures

AsJson = Annotated[
    bool, Parameter(name="--json", negative="", help="Print JSON, one object a line.")
]


def console() -> Console:
    """Made when it is needed, for the standard output of that moment."""
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(markup=False, emoji=False, highlight=False, width=width)


def print_view(view: RenderableType) -> None:
    console().print(view)


def print_json(record: object) -> None:
    """Print one line of ASCII, which every console and pipe can carry, at once."""
    print(json.dumps(msgspec.to_builtins(record)), flush=True)


def printable(text: str) -> str:
    """Foreign text without what would move a terminal's cursor or change its colours."""
    return "".join(
        char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def utc_text(epoch_ms: int) -> str:
    return iso_text(datetime.fromtimestamp(epoch_ms / 1000, UTC))


def iso_text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
