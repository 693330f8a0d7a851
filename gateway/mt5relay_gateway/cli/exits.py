"""Exit codes, and the failure that is none of the contract's."""

from __future__ import annotations

OK = 0
FAILURE = 1
USAGE = 2
UNAVAILABLE = 69  # EX_UNAVAILABLE of sysexits.h
INTERRUPTED = 130  # 128 + SIGINT


class CommandError(Exception):
    """A command can't do its work; the message is one line for the operator."""
