"""Request ids: ULIDs, unique and sortable by time."""

from __future__ import annotations

import os
import time

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in _CROCKFORD for second in _CROCKFORD]


def new_request_id() -> str:
    """26 characters: 48 bits of wall-clock milliseconds, 80 random bits, Crockford base 32."""
    value = (time.time_ns() // 1_000_000 << 80) | int.from_bytes(os.urandom(10))
    return "".join([_PAIRS[value >> shift & 1023] for shift in range(120, -10, -10)])
