"""What a terminal process is told at its start: as much of the settings as concerns it."""

from __future__ import annotations

from typing import Literal

import msgspec


class TerminalOptions(msgspec.Struct, frozen=True, kw_only=True, tag="options"):
    """First words to a new process, which reads no settings of its own: what can read and check
    them takes more memory than all that the process does. Times are seconds."""

    terminal: Literal["simulated", "metatrader5"]
    terminal_path: str | None
    terminal_portable: bool  # started with /portable, as it keeps its data beside the program
    journal: Literal["auto", "off"]
    private_key_file: str
    private_key: str | None  # as PEM, instead of the file
    seen_file: str  # which credentials were seen, so that old ones are refused
    old_envelopes: Literal["accept", "refuse"]  # of version 1
    investor_only: bool
    identity_timeout: float
    hydration_timeout: float
    sync_timeout: float
    simulator_book: str | None
    simulator_faults: str | None
    simulator_data: str | None
    simulator_speed: float

    def __repr__(self) -> str:
        return f"<TerminalOptions of a {self.terminal} terminal>"
