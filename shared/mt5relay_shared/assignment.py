"""Which terminal serves an account: a pin, or the account's server by rendezvous hashing.

Hashing goes by server because a terminal switches faster between accounts of one server. With
rendezvous hashing every server ranks all terminals for itself, so a terminal that comes takes only
what now ranks it first, and one that goes leaves only its own to the next in rank.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import NoWorkerError


def assign(account: AccountId, active: Collection[str], pins: Mapping[str, str]) -> str:
    """The terminal of an account among the active ones; `pins` maps `login@server` to a terminal.

    Raises:
        NoWorkerError: no terminal is active.
    """
    pinned = pins.get(str(account))
    if pinned is not None and pinned in active:
        return pinned
    if not active:
        raise NoWorkerError(
            "no terminal is active; register one with `mt5relay terminals add`, or `resume` one"
        )
    return max(active, key=lambda terminal: _rank(account.server, terminal))


def _rank(server: str, terminal: str) -> bytes:
    """Stable across processes and languages: compared byte by byte, the highest wins."""
    return hashlib.sha256(f"{terminal}\0{server}".encode()).digest()
