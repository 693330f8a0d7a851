"""What a fuzzer is: how hostile input is made, and what must hold whatever is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5Error

MAX_MESSAGE = 1_000
"""Characters that an error message may have, however long what it complains of is."""

ALICE = AccountId(25_115_284, "MetaQuotes-Demo")
BOB = AccountId(25_115_285, "MetaQuotes-Demo")
NOW_MS = 1_795_000_000_000


@dataclass(frozen=True)
class Target:
    """`check` passes quietly or raises; whatever it raises is a finding. It takes what `make`
    makes, and whatever was found before."""

    name: str
    make: Callable[[Random], Any]
    check: Callable[[Any], None]

    def play(self, seed: int) -> Any:
        """Make one input and check it; the same seed makes the same input."""
        made = self.make(Random(seed))
        try:
            self.check(made)
        except Exception as error:
            error.add_note(f"target {self.name}, seed {seed}, input {made!r:.2000}")
            raise
        return made


def check_said(error: Exception, *beginnings: str) -> None:
    """An error names what it is about, and does not repeat all that it complains of."""
    text = error.message if isinstance(error, MT5Error) else str(error)
    assert 0 < len(text) <= MAX_MESSAGE, f"{len(text)} characters"
    assert len(str(error)) <= 2 * MAX_MESSAGE, f"{len(str(error))} characters"
    assert text.startswith(beginnings or ""), text
    assert not any(letter in text for letter in "\0\x1b"), ascii(text)
