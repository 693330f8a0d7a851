"""What can go wrong with bytes from the pipe."""

from __future__ import annotations


class CodecError(ValueError):
    """Bytes, or a value, that the pipe's protocol has no place for. Quotes no text it was given."""
